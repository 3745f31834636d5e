import { type NameForm } from '../identity/wanted-names.ts';
import { type IpRange } from '../identity/ip-range.ts';
import { type Limits, grantableUsages } from '../vetting/asked.ts';

/** Which addresses of its own a pod may have in its certificate. */
export const addressRules = ['podIPs', 'podCIDRs', 'none'] as const;
export type AddressRule = (typeof addressRules)[number];

/** What the administrator allows the pods of one namespace. */
export interface Allowance extends Omit<Limits, 'maximumNames' | 'defaultLifetimeMs'> {
  readonly nameForms: readonly NameForm[];
  /** Names that are one of these or end with `.` and one of these. */
  readonly dnsSuffixes: readonly string[];
  readonly wildcards: boolean;
  readonly extraAddresses: readonly IpRange[];
  readonly addresses: AddressRule;
  /** Whether a hostNetwork pod may have its node's addresses. */
  readonly hostNetwork: boolean;
  readonly services: readonly ServiceHolding[];
}

/** Who may hold a Service's names. */
export interface ServiceHolding {
  readonly name: string;
  /** Only these service accounts may hold it, against a selector flipped for a moment. */
  readonly serviceAccounts: readonly string[];
  /** They hold it also while it does not select them: a database whose leader is chosen by label. */
  readonly whileUnselected: boolean;
}

/** What an administrator may say for every namespace or for some. */
export type AllowanceChanges = Partial<Allowance>;

export interface Policy {
  readonly defaults: Allowance;
  /** Later ones win, setting by setting. */
  readonly namespaces: readonly NamespaceRule[];
  /** Ranges of Service addresses besides those that the cluster tells. */
  readonly serviceRanges: readonly IpRange[];
  readonly maximumNames: number;
  /** How long a request waits for what may still become true. */
  readonly waitLimitMs: number;
}

export interface NamespaceRule {
  /** Names of namespaces; `*` stands for any run of characters. */
  readonly names: readonly string[];
  readonly changes: AllowanceChanges;
}

const dayMs = 86_400_000;

/** What holds without a policy file: names and addresses that follow from pod and Services, nothing else. */
export const defaultPolicy: Policy = {
  defaults: {
    nameForms: [],
    dnsSuffixes: [],
    wildcards: false,
    extraAddresses: [],
    addresses: 'podIPs',
    hostNetwork: false,
    keyAlgorithms: ['ECDSAP256', 'ECDSAP384', 'ED25519', 'RSA2048', 'RSA3072', 'RSA4096'],
    usages: grantableUsages,
    maximumLifetimeMs: 90 * dayMs,
    services: [],
  },
  namespaces: [],
  serviceRanges: [],
  maximumNames: 250,
  waitLimitMs: 5 * 60_000,
};

/** The allowance of one namespace: the defaults, changed by each rule that names it. */
export function allowanceFor(policy: Policy, namespace: string): Allowance {
  return policy.namespaces
    .filter(({ names }) => names.some((pattern) => matches(pattern, namespace)))
    .reduce<Allowance>((sum, { changes }) => ({ ...sum, ...changes }), policy.defaults);
}

function matches(pattern: string, namespace: string): boolean {
  // Names of namespaces are DNS labels, so the star is the only character with a meaning of its own.
  return new RegExp(`^${pattern.replaceAll('*', '[a-z0-9-]*')}$`).test(namespace);
}
