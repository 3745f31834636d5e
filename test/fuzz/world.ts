import { type Facts } from '../../src/approver/facts.ts';
import { type Allowance, type AllowanceChanges, defaultPolicy } from '../../src/approver/policy.ts';
import { formatIpAddress, parseIpAddress } from '../../src/identity/ip-address.ts';
import { parseIpRange, type IpRange } from '../../src/identity/ip-range.ts';
import { boundPodOf } from '../../src/identity/requester.ts';
import { noSubtrees } from '../../src/pki/name-constraints.ts';
import { readContent } from '../../src/vetting/asked.ts';
import { aRequest, settings } from '../support/approval-builders.ts';

/**
 * Everything that a verdict rests on but the certification request, as plain JSON: it is the question
 * to the oracle too (test/oracle/question.go).
 */
export interface World {
  usages: string[];
  expirationSeconds: number | null;
  username: string;
  extra: Record<string, string[]>;
  pod: WorldPod | null;
  services: WorldService[];
  nodes: { name: string; addresses: string[]; podCIDRs: string[] }[];
  clusterIPs: Record<string, string>;
  serviceCIDRs: string[];
  policy: {
    defaults: WorldAllowance;
    namespaces: { names: string[]; changes: Partial<WorldAllowance> }[];
    maximumNames: number;
  };
  ca: { dns: string[]; uri: string[] } | null;
  clusterDomain: string;
  trustDomain: string;
}

export interface WorldPod {
  namespace: string;
  name: string;
  uid: string;
  serviceAccount: string;
  nodeName: string;
  phase: string;
  terminating: boolean;
  mirror: boolean;
  hostNetwork: boolean;
  ips: string[];
  hostname: string;
  subdomain: string;
  labels: Record<string, string>;
}

export interface WorldService {
  name: string;
  selector: Record<string, string>;
  clusterIPs: string[];
  headless: boolean;
  externalName: boolean;
  deleting: boolean;
}

export type WorldAllowance = Omit<Allowance, 'extraAddresses' | 'maximumLifetimeMs'> & {
  extraAddresses: readonly string[];
  maximumSeconds: number;
};

/** As the approver would have gathered them. */
export function factsOfWorld(world: World, requestText: string): Facts {
  const { pod, services, nodes, policy, ca, clusterDomain, trustDomain } = world;
  const request = {
    ...aRequest({
      pem: requestText,
      usages: world.usages,
      expirationSeconds: world.expirationSeconds ?? undefined,
    }),
    requester: { username: world.username, extra: world.extra },
  };
  const requester = boundPodOf(request.requester);
  const namespace = pod?.namespace ?? '';
  return {
    request,
    content: readContent(requestText),
    requester,
    // The read is of the pod that the token names; another one cannot come back.
    pod:
      pod && requester.kind === 'pod'
        ? {
            ...pod,
            nodeName: pod.nodeName || undefined,
            hostname: pod.hostname || undefined,
            subdomain: pod.subdomain || undefined,
            isTerminating: pod.terminating,
            isMirror: pod.mirror,
            ipAddresses: pod.ips,
            labels: new Map(Object.entries(pod.labels)),
          }
        : undefined,
    services: services.map((service) => ({
      ...service,
      namespace,
      isExternalName: service.externalName,
      isBeingDeleted: service.deleting,
    })),
    network: {
      nodeAddresses: ownersOf(nodes),
      serviceRanges: world.serviceCIDRs.map(rangeOf),
      clusterIPs: new Map(Object.entries(world.clusterIPs)),
      podRangesByNode: new Map(nodes.map(({ name, podCIDRs }) => [name, podCIDRs.map(rangeOf)])),
    },
    caConstraints: ca
      ? [{ permitted: { ...noSubtrees, ...ca }, excluded: noSubtrees, otherKinds: [] }]
      : undefined,
    policy: {
      ...defaultPolicy,
      defaults: { ...defaultPolicy.defaults, ...changesOf(policy.defaults) },
      namespaces: policy.namespaces.map(({ names, changes }) => ({
        names,
        changes: changesOf(changes),
      })),
      maximumNames: policy.maximumNames,
    },
    settings: { ...settings, clusterDomain, trustDomain },
  };
}

/** The nodes that say an address is theirs. */
function ownersOf(nodes: World['nodes']): ReadonlyMap<string, ReadonlySet<string>> {
  const owners = new Map<string, Set<string>>();
  for (const { name, addresses } of nodes)
    for (const each of addresses) owners.set(each, (owners.get(each) ?? new Set()).add(name));
  return owners;
}

function changesOf({ extraAddresses, maximumSeconds, ...same }: Partial<WorldAllowance>) {
  return {
    ...same,
    ...(extraAddresses ? { extraAddresses: extraAddresses.map(rangeOf) } : {}),
    ...(maximumSeconds === undefined ? {} : { maximumLifetimeMs: maximumSeconds * 1000 }),
  } satisfies AllowanceChanges;
}

function rangeOf(text: string): IpRange {
  const range = parseIpRange(text);
  if (!range) throw new Error(text);
  return range;
}

/** Of both languages alike. */
export function canonicalAddress(text: string): string {
  const bytes = parseIpAddress(text);
  return bytes ? formatIpAddress(bytes) : text;
}
