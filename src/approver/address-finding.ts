import { parseIpAddress } from '../identity/ip-address.ts';
import { ipRangeContains } from '../identity/ip-range.ts';
import { type NetworkFacts } from '../identity/network.ts';
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

/** The same without what policy adds: of addresses that other names are made of. */
export function ownAddressFinding(address: string, holder: Holder): Finding | undefined {
  return addressFinding(address, {
    ...holder,
    allowance: { ...holder.allowance, extraAddresses: [] },
  });
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
  holder: Holder,
): Finding | undefined {
  const { pod, network, allowance } = holder;
  if (pod.hostNetwork && !allowance.hostNetwork)
    return never('a hostNetwork pod has only the addresses of its Services', address);
  const ofNode = nodeAddressFinding(address, holder);
  if (ofNode) return ofNode;
  if (pod.ipAddresses.length === 0) return notYet("the pod's status has no address", address);
  if (!pod.ipAddresses.includes(address)) return never('it is not an address of the pod', address);
  return allowance.addresses === 'podCIDRs' && !pod.hostNetwork
    ? podRangeFinding(address, bytes, pod.nodeName ?? '', network)
    : undefined;
}

/** A node's address is for hostNetwork pods of that node alone. */
function nodeAddressFinding(address: string, { pod, network }: Holder): Finding | undefined {
  const nodes = [...(network.nodeAddresses.get(address) ?? [])];
  const ownNode = pod.hostNetwork ? pod.nodeName : undefined;
  const other = nodes.find((node) => node !== ownNode);
  // A node writes its own addresses, so a bad one could have others denied for good.
  if (other !== undefined)
    return notYet(`node ${JSON.stringify(other)} says that it is its own`, address);
  const isUnknown =
    ownNode !== undefined && nodes.length === 0 && pod.ipAddresses.includes(address);
  return isUnknown ? notYet("it is not known as an address of the pod's node", address) : undefined;
}

/** Some networks give pods addresses outside these ranges: so only where policy asks for it. */
function podRangeFinding(
  address: string,
  bytes: Uint8Array,
  nodeName: string,
  { podRangesByNode }: NetworkFacts,
): Finding | undefined {
  const ranges = podRangesByNode.get(nodeName) ?? [];
  if (ranges.length === 0) return notYet("the podCIDRs of the pod's node are not known", address);
  if (!ranges.some((range) => ipRangeContains(range, bytes)))
    return never("it is outside the podCIDRs of the pod's node", address);
  // A node may write podCIDRs of its own while it has none.
  for (const [other, othersRanges] of podRangesByNode)
    if (other !== nodeName && othersRanges.some((range) => ipRangeContains(range, bytes)))
      return notYet(`it is in the podCIDRs of node ${JSON.stringify(other)} too`, address);
  return undefined;
}
