import { type Listing, listWhole } from '../controller/list-watch.ts';
import { type ListedPod, type PodLists, type PodQuery } from '../injection/listed-pod.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, listOf, needed, objectOf, textMapOf, textOf, timeOf } from './json.ts';
import { listingOf, type ListingOptions } from './listing.ts';

/** Pods by their labels, for the injector's rounds; each list is read anew. */
export function podLists(calls: ApiCalls): PodLists {
  return {
    pods: (query, isKept) =>
      listWhole(
        listing(calls, query, {
          read(object) {
            const pod = listedPodOf(object);
            return isKept(pod) ? pod : undefined;
          },
        }),
      ),
    async namespaces(query) {
      const found = new Set<string>();
      const read = (object: Json): undefined => {
        found.add(needed(objectOf(object['metadata'])['namespace'], 'metadata.namespace'));
      };
      await listWhole(listing<never>(calls, query, { metadataOnly: true, read }));
      return found;
    },
  };
}

function listing<T>(
  calls: ApiCalls,
  { labelSelector, namespace }: PodQuery,
  how: Pick<ListingOptions<T>, 'read' | 'metadataOnly'>,
): Listing<T> {
  const inNamespace = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return listingOf(calls, {
    what: namespace === undefined ? 'Pods' : `Pods of namespace ${namespace}`,
    resource: 'pods',
    path: `/api/v1${inNamespace}/pods`,
    labelSelector,
    fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed',
    rbacFile: 'examples/rbac/injector.yaml',
    ...how,
  });
}

export function listedPodOf(object: Json): ListedPod {
  const metadata = objectOf(object['metadata']);
  const spec = objectOf(object['spec']);
  const containers = [...listOf(spec['initContainers']), ...listOf(spec['containers'])];
  return {
    namespace: needed(metadata['namespace'], 'metadata.namespace'),
    name: needed(metadata['name'], 'metadata.name'),
    uid: needed(metadata['uid'], 'metadata.uid'),
    createdAt: timeOf(metadata['creationTimestamp']),
    isTerminating: textOf(metadata['deletionTimestamp']) !== undefined,
    labels: textMapOf(metadata['labels']),
    annotations: textMapOf(metadata['annotations']),
    containerNames: containers.map((each) => textOf(objectOf(each)['name']) ?? ''),
    os: textOf(objectOf(spec['os'])['name']) ?? textMapOf(spec['nodeSelector'])['kubernetes.io/os'],
  };
}
