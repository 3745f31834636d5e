import { type Follower } from '../controller/list-watch.ts';
import { type IpRange } from '../identity/ip-range.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type NetworkFacts, type NodeFacts, type ServiceRanges } from '../identity/network.ts';

/** Services, Nodes and Service ranges as list and watch tell them. Pods are not kept: each is read when it asks. */
export interface ClusterView {
  readonly services: Follower<LiveService>;
  readonly nodes: Follower<NodeFacts>;
  readonly serviceRanges: Follower<ServiceRanges>;
  servicesOf(namespace: string): readonly LiveService[];
  network(): NetworkFacts;
}

/** `onServiceChange` is called with the namespace of each Service that appeared, changed or went. */
export function clusterView(
  configuredRanges: () => readonly IpRange[],
  onServiceChange: (namespace: string) => void,
): ClusterView {
  const byNamespace = new Map<string, Map<string, LiveService>>();
  const clusterIPs = new Map<string, string>();
  const nodes = new Map<string, NodeFacts>();
  const nodeAddresses = new Map<string, Set<string>>();
  const podRangesByNode = new Map<string, readonly IpRange[]>();
  const ranges = new Map<string, readonly IpRange[]>();

  const forgetService = ({ namespace, name }: LiveService): void => {
    const known = byNamespace.get(namespace)?.get(name);
    byNamespace.get(namespace)?.delete(name);
    if (byNamespace.get(namespace)?.size === 0) byNamespace.delete(namespace);
    for (const address of known?.clusterIPs ?? [])
      if (clusterIPs.get(address) === `${namespace}/${name}`) clusterIPs.delete(address);
  };
  const putService = (service: LiveService): void => {
    forgetService(service);
    const { namespace, name } = service;
    const siblings = byNamespace.get(namespace) ?? new Map<string, LiveService>();
    siblings.set(name, service);
    byNamespace.set(namespace, siblings);
    for (const address of service.clusterIPs) clusterIPs.set(address, `${namespace}/${name}`);
  };
  const forgetNode = ({ name }: NodeFacts): void => {
    for (const address of nodes.get(name)?.addresses ?? []) {
      nodeAddresses.get(address)?.delete(name);
      if (nodeAddresses.get(address)?.size === 0) nodeAddresses.delete(address);
    }
    nodes.delete(name);
    podRangesByNode.delete(name);
  };
  const putNode = (node: NodeFacts): void => {
    forgetNode(node);
    nodes.set(node.name, node);
    for (const address of node.addresses)
      nodeAddresses.set(address, (nodeAddresses.get(address) ?? new Set()).add(node.name));
    podRangesByNode.set(node.name, node.podRanges);
  };

  return {
    services: {
      replace(all) {
        const namespaces = new Set([...byNamespace.keys(), ...all.map((each) => each.namespace)]);
        byNamespace.clear();
        clusterIPs.clear();
        for (const service of all) putService(service);
        for (const namespace of namespaces) onServiceChange(namespace);
      },
      put(service) {
        putService(service);
        onServiceChange(service.namespace);
      },
      remove(service) {
        forgetService(service);
        onServiceChange(service.namespace);
      },
    },
    nodes: {
      replace(all) {
        for (const node of [...nodes.values()]) forgetNode(node);
        for (const node of all) putNode(node);
      },
      put: putNode,
      remove: forgetNode,
    },
    serviceRanges: {
      replace(all) {
        ranges.clear();
        for (const each of all) ranges.set(each.name, each.ranges);
      },
      put: (each) => void ranges.set(each.name, each.ranges),
      remove: (each) => void ranges.delete(each.name),
    },
    servicesOf: (namespace) => [...(byNamespace.get(namespace)?.values() ?? [])],
    network: () => ({
      nodeAddresses,
      clusterIPs,
      podRangesByNode,
      serviceRanges: [...configuredRanges(), ...[...ranges.values()].flat()],
    }),
  };
}
