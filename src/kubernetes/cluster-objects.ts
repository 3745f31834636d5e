import { formatIpAddress, parseIpAddress } from '../identity/ip-address.ts';
import { type IpRange, parseIpRange } from '../identity/ip-range.ts';
import { type NodeFacts, type ServiceRanges } from '../identity/network.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type Listing } from '../controller/list-watch.ts';
import { PodsealError } from '../errors.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, listOf, needed, objectOf, textMapOf, textOf, textsOf } from './json.ts';
import { listingOf } from './listing.ts';
import { flag, list, message, objectMeta, type Shape, text } from './protobuf.ts';

/** Pods, Services, Nodes and ServiceCIDRs as the approver needs them: everything else of each object is dropped at once. */

/** A live, consistent read of one pod; undefined when there is none. */
export async function readPod(
  calls: ApiCalls,
  pod: { readonly namespace: string; readonly name: string },
  rbacFile: string,
): Promise<LivePod | undefined> {
  try {
    const object = await calls.call({
      method: 'GET',
      path: `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}/pods/${encodeURIComponent(pod.name)}`,
      shape: podShape,
      attempted: {
        verb: 'get',
        resource: 'pods',
        what: `pod ${JSON.stringify(`${pod.namespace}/${pod.name}`)}`,
        rbac: `apply ${rbacFile}.`,
      },
    });
    return livePodOf(objectOf(object));
  } catch (error) {
    if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
    throw error;
  }
}

/** core/v1 Pod */
const podShape: Shape = {
  1: ['metadata', message(objectMeta)],
  2: [
    'spec',
    message({
      8: ['serviceAccountName', text],
      10: ['nodeName', text],
      11: ['hostNetwork', flag],
      16: ['hostname', text],
      17: ['subdomain', text],
    }),
  ],
  3: [
    'status',
    message({
      1: ['phase', text],
      6: ['podIP', text],
      12: ['podIPs', list(message({ 1: ['ip', text] }))],
    }),
  ],
};

export function livePodOf(object: Json): LivePod {
  const metadata = objectOf(object['metadata']);
  const spec = objectOf(object['spec']);
  const status = objectOf(object['status']);
  const addresses = listOf(status['podIPs']).map((each) => textOf(objectOf(each)['ip']));
  return {
    namespace: needed(metadata['namespace'], 'metadata.namespace'),
    name: needed(metadata['name'], 'metadata.name'),
    uid: needed(metadata['uid'], 'metadata.uid'),
    serviceAccount: textOf(spec['serviceAccountName']) ?? '',
    nodeName: textOf(spec['nodeName']),
    phase: textOf(status['phase']) ?? 'Pending',
    isTerminating: textOf(metadata['deletionTimestamp']) !== undefined,
    isMirror: textMapOf(metadata['annotations'])['kubernetes.io/config.mirror'] !== undefined,
    hostNetwork: spec['hostNetwork'] === true,
    ipAddresses: [...new Set([textOf(status['podIP']), ...addresses])].flatMap(canonical),
    hostname: textOf(spec['hostname']),
    subdomain: textOf(spec['subdomain']),
    labels: new Map(Object.entries(textMapOf(metadata['labels']))),
  };
}

/** An address as we compare it; what is none (`None`, empty) is dropped. */
function canonical(text: string | undefined): string[] {
  const bytes = text === undefined ? undefined : parseIpAddress(text);
  return bytes ? [formatIpAddress(bytes)] : [];
}

export function serviceListing(
  calls: ApiCalls,
  namespace?: string,
  rbacFile = 'examples/rbac/approver.yaml',
): Listing<LiveService> {
  const inNamespace = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return listingOf(calls, {
    what: namespace === undefined ? 'Services' : `Services of namespace ${namespace}`,
    resource: 'services',
    path: `/api/v1${inNamespace}/services`,
    rbacFile,
    read: liveServiceOf,
  });
}

export function liveServiceOf(object: Json): LiveService {
  const metadata = objectOf(object['metadata']);
  const spec = objectOf(object['spec']);
  return {
    namespace: needed(metadata['namespace'], 'metadata.namespace'),
    name: needed(metadata['name'], 'metadata.name'),
    selector: textMapOf(spec['selector']),
    clusterIPs: [...new Set([textOf(spec['clusterIP']), ...textsOf(spec['clusterIPs'])])].flatMap(
      canonical,
    ),
    headless: spec['clusterIP'] === 'None',
    isExternalName: spec['type'] === 'ExternalName',
    isBeingDeleted: textOf(metadata['deletionTimestamp']) !== undefined,
  };
}

export function nodeListing(calls: ApiCalls): Listing<NodeFacts> {
  return listingOf(calls, {
    what: 'Nodes',
    resource: 'nodes',
    path: '/api/v1/nodes',
    rbacFile: 'examples/rbac/approver.yaml',
    read: nodeFactsOf,
  });
}

export function nodeFactsOf(object: Json): NodeFacts {
  const spec = objectOf(object['spec']);
  const addresses = listOf(objectOf(object['status'])['addresses']).map(objectOf);
  const ranges = new Set([textOf(spec['podCIDR']), ...textsOf(spec['podCIDRs'])]);
  return {
    name: needed(objectOf(object['metadata'])['name'], 'metadata.name'),
    // Hostname and DNS entries are names, not addresses.
    addresses: addresses.flatMap(({ address }) => canonical(textOf(address))),
    podRanges: [...ranges].flatMap(rangeOf),
  };
}

function rangeOf(text: string | undefined): IpRange[] {
  const range = text === undefined ? undefined : parseIpRange(text);
  return range ? [range] : [];
}

/** networking.k8s.io/v1, from Kubernetes 1.33; before, there are none to see. */
export function serviceRangeListing(calls: ApiCalls): Listing<ServiceRanges> {
  return whereServed(
    listingOf(calls, {
      what: 'ServiceCIDRs',
      resource: 'servicecidrs',
      path: '/apis/networking.k8s.io/v1/servicecidrs',
      rbacFile: 'examples/rbac/approver.yaml',
      read: serviceRangesOf,
    }),
  );
}

export function serviceRangesOf(object: Json): ServiceRanges {
  return {
    name: needed(objectOf(object['metadata'])['name'], 'metadata.name'),
    ranges: textsOf(objectOf(object['spec'])['cidrs']).flatMap(rangeOf),
  };
}

/** Nothing where the API server does not serve the kind; asked again with each periodic list, as it may have been upgraded. */
function whereServed<T>(listing: Listing<T>): Listing<T> {
  return {
    ...listing,
    async list(page) {
      try {
        return await listing.list(page);
      } catch (error) {
        if (!(error instanceof PodsealError) || error.code !== 'API_NOT_FOUND') throw error;
        return { items: [], resourceVersion: undefined, next: undefined };
      }
    },
  };
}
