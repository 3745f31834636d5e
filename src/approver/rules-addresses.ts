import { parseIpAddress } from '../identity/ip-address.ts';
import { ipRangeContains } from '../identity/ip-range.ts';
import { provablySelects } from '../identity/live-service.ts';
import { type Finding, never, notYet } from '../vetting/finding.ts';
import { type Case } from './case.ts';
import { specialRangeOf } from './special-addresses.ts';

/**
 * Rules about the addresses that are asked for. The kubelet writes `status.podIPs`, so one bad node
 * could claim any address: what is known to be somebody else's is refused although the pod's status has it.
 */
export function addressesFollow(each: Case): readonly Finding[] {
  const { content, pod, provable } = each;
  if (content.kind !== 'read' || !pod) return [];
  return content.value.names.ipAddresses.flatMap((address) => {
    const finding = addressFinding(address, each);
    return finding ? [{ ...finding, allowed: provable.ipAddresses }] : [];
  });
}

function addressFinding(address: string, each: Case): Finding | undefined {
  const bytes = parseIpAddress(address);
  if (!bytes) return never('it is no address', address);
  if (each.allowance.extraAddresses.some((range) => ipRangeContains(range, bytes)))
    return undefined;
  const special = specialRangeOf(bytes);
  if (special !== undefined) return never(`it is ${special}`, address);
  if (each.allowance.addresses === 'none')
    return never('policy leaves addresses out of certificates', address);
  const service = clusterIpFinding(address, bytes, each);
  return service ? service.finding : podAddressFinding(address, bytes, each);
}

/** Undefined: it is not the address of a Service, and cannot be. */
function clusterIpFinding(
  address: string,
  bytes: Uint8Array,
  each: Case,
): { readonly finding: Finding | undefined } | undefined {
  const { services, ownServices, network, pod } = each;
  if (ownServices.some(({ clusterIPs }) => clusterIPs.includes(address)))
    return { finding: undefined };
  const sibling = services.find(({ clusterIPs }) => clusterIPs.includes(address));
  if (sibling) {
    const name = JSON.stringify(sibling.name);
    const why =
      pod && provablySelects(sibling, pod.labels)
        ? `it is the cluster IP of Service ${name}, which policy gives to other service accounts`
        : `it is the cluster IP of Service ${name}, which does not select the pod`;
    return { finding: notYet(why, address) };
  }
  const owner = network.clusterIPs.get(address);
  if (owner !== undefined && !owner.startsWith(`${pod?.namespace ?? ''}/`))
    return { finding: never(`it is the cluster IP of Service ${owner}`, address) };
  if (network.serviceRanges.some((range) => ipRangeContains(range, bytes)))
    return {
      finding: notYet('it is in a Service range, and no Service of the namespace has it', address),
    };
  return undefined;
}

function podAddressFinding(address: string, bytes: Uint8Array, each: Case): Finding | undefined {
  const { pod, network, allowance } = each;
  if (!pod) return undefined;
  if (pod.hostNetwork && !allowance.hostNetwork)
    return never('a hostNetwork pod has only the addresses of its Services', address);
  const node = network.nodeAddresses.get(address);
  if (node !== undefined && !pod.hostNetwork)
    return never(`it is an address of node ${JSON.stringify(node)}`, address);
  if (!pod.ipAddresses.includes(address))
    return pod.ipAddresses.length === 0
      ? notYet("the pod's status has no address", address)
      : never('it is not an address of the pod', address);
  return allowance.addresses === 'podCIDRs' ? podRangeFinding(address, bytes, each) : undefined;
}

/** Some networks give pods addresses outside these ranges: so only where policy asks for it. */
function podRangeFinding(address: string, bytes: Uint8Array, each: Case): Finding | undefined {
  const { pod, network } = each;
  const ranges = network.podRangesByNode.get(pod?.nodeName ?? '') ?? [];
  return pod?.hostNetwork || ranges.some((range) => ipRangeContains(range, bytes))
    ? undefined
    : never("it is outside the podCIDRs of the pod's node", address);
}
