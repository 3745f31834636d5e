import { parseIpAddress } from '../identity/ip-address.ts';
import { ipRangeContains } from '../identity/ip-range.ts';
import { type Finding, never, notYet } from '../vetting/finding.ts';
import { type Holder, serviceFinding } from './holder.ts';
import { specialRangeOf } from './special-addresses.ts';

/**
 * Why the pod may not have this address in its certificate; undefined: it may. The kubelet writes
 * `status.podIPs`, so one bad node could claim any address: what is known to be somebody else's is
 * refused although the pod's status has it. Policy adds addresses, but never those of other Services.
 */
export function addressFinding(address: string, holder: Holder): Finding | undefined {
  const bytes = parseIpAddress(address);
  if (!bytes) return never('it is no address', address);
  const special = specialRangeOf(bytes);
  if (special !== undefined) return never(`it is ${special}`, address);
  const { addresses, extraAddresses } = holder.allowance;
  const isExtra = extraAddresses.some((range) => ipRangeContains(range, bytes));
  if (addresses === 'none' && !isExtra)
    return never('policy leaves addresses out of certificates', address);
  const service = clusterIpFinding(address, bytes, holder);
  if (service) return service.finding;
  return isExtra ? undefined : podAddressFinding(address, bytes, holder);
}

/** Undefined: it is not the address of a Service, and cannot be. */
function clusterIpFinding(
  address: string,
  bytes: Uint8Array,
  holder: Holder,
): { readonly finding: Finding | undefined } | undefined {
  const { services, network, pod } = holder;
  const owners = services.filter(({ clusterIPs }) => clusterIPs.includes(address));
  const findings = owners.map((service) => serviceFinding(service, holder));
  if (findings.includes(undefined)) return { finding: undefined };
  const [first] = findings;
  if (first)
    return { finding: { ...first, value: address, why: `it is a cluster IP, and ${first.why}` } };
  const owner = network.clusterIPs.get(address);
  if (owner !== undefined && !owner.startsWith(`${pod.namespace}/`))
    return { finding: never(`it is the cluster IP of Service ${owner}`, address) };
  if (network.serviceRanges.some((range) => ipRangeContains(range, bytes)))
    return {
      finding: notYet('it is in a Service range, and no Service of the namespace has it', address),
    };
  return undefined;
}

function podAddressFinding(
  address: string,
  bytes: Uint8Array,
  { pod, network, allowance }: Holder,
): Finding | undefined {
  if (pod.hostNetwork && !allowance.hostNetwork)
    return never('a hostNetwork pod has only the addresses of its Services', address);
  const node = network.nodeAddresses.get(address);
  const ownNode = pod.hostNetwork ? pod.nodeName : undefined;
  if (node !== undefined && node !== ownNode)
    return never(`it is an address of node ${JSON.stringify(node)}`, address);
  if (pod.ipAddresses.length === 0) return notYet("the pod's status has no address", address);
  if (!pod.ipAddresses.includes(address)) return never('it is not an address of the pod', address);
  if (node !== ownNode) return notYet("it is not known as an address of the pod's node", address);
  return allowance.addresses === 'podCIDRs' && !pod.hostNetwork
    ? podRangeFinding(address, bytes, network.podRangesByNode.get(pod.nodeName ?? ''))
    : undefined;
}

/** Some networks give pods addresses outside these ranges: so only where policy asks for it. */
function podRangeFinding(
  address: string,
  bytes: Uint8Array,
  ranges: Holder['network']['serviceRanges'] = [],
): Finding | undefined {
  if (ranges.length === 0) return notYet("the podCIDRs of the pod's node are not known", address);
  return ranges.some((range) => ipRangeContains(range, bytes))
    ? undefined
    : never("it is outside the podCIDRs of the pod's node", address);
}
