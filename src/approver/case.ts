import { noNames, type SubjectNames } from '../identity/subject-names.ts';
import { subjectNamesOf, wantedNames } from '../identity/wanted-names.ts';
import { type Asked } from '../vetting/asked.ts';
import { ownAddressFinding } from './address-finding.ts';
import { type ApproverSettings, type Facts } from './facts.ts';
import { type Holder, serviceFinding } from './holder.ts';
import { allowanceFor } from './policy.ts';

/** The facts of one request, with what follows from them for every rule. */
export interface Case extends Facts, Omit<Asked, 'request'> {
  /** Undefined when no pod asks, or there is none. */
  readonly holder: Holder | undefined;
  /** Every name that follows from pod and Services now; empty without a holder. */
  readonly provable: SubjectNames;
}

export function caseOf(facts: Facts): Case {
  const { requester, policy, pod, services, network, settings } = facts;
  // What is asked is held to the policy's defaults when the requester is no pod.
  const token = requester.kind === 'pod' ? requester.pod : undefined;
  const allowance = allowanceFor(policy, token?.namespace ?? '');
  const { clusterDomain } = settings;
  const holder =
    pod && token
      ? { pod, services, network, allowance, clusterDomain, serviceAccount: token.serviceAccount }
      : undefined;
  return {
    ...facts,
    limits: {
      ...allowance,
      maximumNames: policy.maximumNames,
      defaultLifetimeMs: settings.defaultLifetimeMs,
    },
    holder,
    provable: holder ? provableNames(holder, settings) : noNames,
  };
}

/** By the very function that the agent asks with; what an administrator allows besides is not among them. */
function provableNames(holder: Holder, settings: ApproverSettings): SubjectNames {
  const { pod, services, allowance } = holder;
  const follows = (address: string): boolean => !ownAddressFinding(address, holder);
  const names = wantedNames(
    { ...pod, ipAddresses: pod.ipAddresses.filter(follows) },
    services
      .filter((service) => !serviceFinding(service, holder))
      .map((service) => ({ ...service, clusterIPs: service.clusterIPs.filter(follows) })),
    { ...settings, forms: allowance.nameForms, extraDnsNames: [], extraIpAddresses: [] },
  );
  return subjectNamesOf(names);
}
