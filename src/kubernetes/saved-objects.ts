import { parseAllDocuments } from 'yaml';
import { type ObservedRequest } from '../certificates/observed-request.ts';
import { PodsealError } from '../errors.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type NodeFacts, type ServiceRanges } from '../identity/network.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { type NameConstraints, nameConstraintsOf } from '../pki/name-constraints.ts';
import { publishedNames } from '../trust/publication.ts';
import { livePodOf, liveServiceOf, nodeFactsOf, serviceRangesOf } from './cluster-objects.ts';
import { type Json, listOf, objectOf, textOf } from './json.ts';
import { readObservedRequest } from './observed-requests.ts';

/** Objects as `kubectl get -o yaml` prints them, saved in one file. */
export interface SavedObjects {
  readonly requests: readonly ObservedRequest[];
  /** Undefined: the file holds requests alone, so the rest is to be asked of the API. */
  readonly cluster:
    | {
        readonly pods: readonly LivePod[];
        readonly services: readonly LiveService[];
        readonly nodes: readonly NodeFacts[];
        readonly serviceRanges: readonly ServiceRanges[];
        readonly caConstraints: readonly NameConstraints[] | undefined;
      }
    | undefined;
}

/** Reads YAML or JSON, several documents and Lists too. Throws CONFIG_INVALID with the line of what is wrong. */
export function readSavedObjects(text: string, path: string): SavedObjects {
  const objects = documentsOf(text, path).flatMap(unlisted);
  const of = (kind: string): readonly Json[] => objects.filter((each) => each['kind'] === kind);
  const requests = of('CertificateSigningRequest').map((object) => readRequest(object, path));
  if (requests.length === 0) throw invalid(path, 'it holds no CertificateSigningRequest');
  if (requests.length === objects.length) return { requests, cluster: undefined };
  const [trust] = of('ConfigMap').filter(
    (each) => objectOf(each['metadata'])['name'] === publishedNames.configMap,
  );
  const chain = textOf(objectOf(trust?.['data'])[publishedNames.signingChain]);
  return {
    requests,
    cluster: {
      pods: of('Pod').map(livePodOf),
      services: of('Service').map(liveServiceOf),
      nodes: of('Node').map(nodeFactsOf),
      serviceRanges: of('ServiceCIDR').map(serviceRangesOf),
      caConstraints:
        chain === undefined
          ? undefined
          : certificatesFromPem(chain).flatMap((each) => nameConstraintsOf(each) ?? []),
    },
  };
}

function documentsOf(text: string, path: string): readonly Json[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (!('contents' in document)) return [];
    const [error] = document.errors;
    if (error) throw invalid(path, error.message.split('\n')[0] ?? 'it is not YAML');
    const value: unknown = document.toJS({ maxAliasCount: 0 });
    return value === null ? [] : [objectOf(value)];
  });
}

function unlisted(object: Json): readonly Json[] {
  return textOf(object['kind'])?.endsWith('List')
    ? listOf(object['items']).map(objectOf).flatMap(unlisted)
    : [object];
}

function readRequest(object: Json, path: string): ObservedRequest {
  try {
    // A request that was never sent has none of these, and its verdict does not depend on them.
    const metadata = { uid: '-', resourceVersion: '-', ...objectOf(object['metadata']) };
    return readObservedRequest({ ...object, metadata });
  } catch (error) {
    throw invalid(path, error instanceof Error ? error.message : String(error));
  }
}

function invalid(path: string, why: string): PodsealError {
  return new PodsealError('CONFIG_INVALID', `Cannot explain ${JSON.stringify(path)}: ${why}`, {
    hint: 'Save a request with: kubectl get csr NAME -o yaml > FILE',
  });
}
