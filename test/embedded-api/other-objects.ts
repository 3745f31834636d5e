import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  type ApiAnswer,
  type ApiRequest,
  isJsonObject,
  type Json,
  mergePatch,
  parseJson,
  parsePatch,
  preconditionsOf,
  refuseNewUid,
  refuseUnoffered,
  removedStatus,
  requireType,
  selectorOf,
  verbOf,
} from './api-request.ts';
import { authorizeEverything, type User } from './authorization.ts';
import { checkIdentity, checkPreconditions, type Identity } from './preconditions.ts';
import { timestamp } from './signing-request-object.ts';
import {
  alreadyExists,
  apiVersionOf,
  badRequest,
  cause,
  invalid,
  notFound,
  type Resource,
} from './status.ts';
import { type History } from './watching.ts';

interface OtherKind extends Resource {
  readonly isNamespaced: boolean;
}

const certificates = 'certificates.k8s.io';

/**
 * What approver and signer read and write besides signing requests. Objects are kept as they are sent:
 * nothing is defaulted, validated, or controlled by anybody.
 */
const kinds: readonly OtherKind[] = [
  { group: '', version: 'v1', plural: 'nodes', kind: 'Node', isNamespaced: false },
  { group: '', version: 'v1', plural: 'pods', kind: 'Pod', isNamespaced: true },
  { group: '', version: 'v1', plural: 'services', kind: 'Service', isNamespaced: true },
  { group: '', version: 'v1', plural: 'secrets', kind: 'Secret', isNamespaced: true },
  { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap', isNamespaced: true },
  { group: '', version: 'v1', plural: 'events', kind: 'Event', isNamespaced: true },
  {
    group: 'coordination.k8s.io',
    version: 'v1',
    plural: 'leases',
    kind: 'Lease',
    isNamespaced: true,
  },
  {
    group: certificates,
    version: 'v1',
    plural: 'clustertrustbundles',
    kind: 'ClusterTrustBundle',
    isNamespaced: false,
  },
];

/** A path of one of these kinds. */
export interface OtherTarget {
  readonly of: OtherKind;
  /** Empty: cluster-scoped, or all of them. */
  readonly namespace: string;
  /** Empty for the collection. */
  readonly name: string;
}

/** Of a decoded path; undefined for every other one. */
export function parseOtherPath(path: string): OtherTarget | undefined {
  const [, group = '', version, namespace = '', plural, name = ''] =
    /^\/(?:api|apis\/([^/]+))\/([^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?$/.exec(
      path,
    ) ?? [];
  const of = kinds.find(
    (kind) => kind.group === group && kind.version === version && kind.plural === plural,
  );
  if (!of) return undefined;
  const isPlaced = of.isNamespaced ? name === '' || namespace !== '' : namespace === '';
  return isPlaced ? { of, namespace, name } : undefined;
}

interface Stored extends Json {
  readonly metadata: Json & Identity & { readonly namespace?: string };
}

export interface OtherObjects {
  /** Answers administrators alone; throws ApiFailures. */
  answer(request: ApiRequest, target: OtherTarget, user: User): ApiAnswer;
}

export function otherObjects(now: () => Date, history: History): OtherObjects {
  const stored = new Map<string, Stored>();
  const keyOf = ({ of, namespace, name }: OtherTarget): string =>
    [of.group, of.plural, namespace, name].join('/');
  const get = (target: OtherTarget): Stored => {
    const found = stored.get(keyOf(target));
    if (!found) throw notFound(target.name, target.of);
    return found;
  };
  const put = (target: OtherTarget, type: 'ADDED' | 'MODIFIED', object: Stored): Stored => {
    const metadata = { ...object.metadata, resourceVersion: history.next() };
    const written = { ...object, metadata };
    stored.set(keyOf(target), written);
    history.tell(target.of, type, written);
    return written;
  };
  const create = (target: OtherTarget, wanted: Json): Stored => {
    const { of, namespace } = target;
    const { name, ...metadata } = metadataOf(wanted);
    if (name === '') throw invalid('', [cause.required('metadata.name')], of);
    const key = { ...target, name };
    if (stored.has(keyOf(key))) throw alreadyExists(name, of);
    return put(key, 'ADDED', {
      ...wanted,
      kind: of.kind,
      apiVersion: apiVersionOf(of),
      metadata: {
        name,
        ...(namespace === '' ? {} : { namespace }),
        ...metadata,
        uid: randomUUID(),
        creationTimestamp: timestamp(now()),
      },
    });
  };
  const update = (target: OtherTarget, wanted: Json): Stored => {
    const before = get(target);
    const metadata = metadataOf(wanted);
    checkIdentity(metadata, before.metadata, target.of);
    const { kind, apiVersion } = before;
    const { uid, creationTimestamp, resourceVersion, namespace } = before.metadata;
    const kept = { uid, creationTimestamp, resourceVersion, ...(namespace && { namespace }) };
    const changed = { ...wanted, kind, apiVersion, metadata: { ...metadata, ...kept } };
    return isDeepStrictEqual(changed, before) ? before : put(target, 'MODIFIED', changed);
  };
  const isIn =
    (namespace: string) =>
    (object: object): boolean =>
      namespace === '' || metadataOf(object as Json)['namespace'] === namespace;
  const all = ({ of, namespace }: OtherTarget): Stored[] =>
    [...stored.entries()]
      .filter(([, object]) => object['kind'] === of.kind && isIn(namespace)(object))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
  return {
    answer(request, target, user) {
      const { of, name } = target;
      const { query, body } = request;
      const verb = verbOf(request, name);
      authorizeEverything(user, verb, target);
      refuseUnoffered(query, name);
      const isSelected = selectorOf(query, ['metadata.name']);
      switch (verb) {
        case 'create':
          requireType(request, ['application/json']);
          return { code: 201, body: create(target, objectIn(body)) };
        case 'list':
          return { code: 200, body: listed(of, all(target).filter(isSelected), history) };
        case 'watch': {
          const isMeant = (object: object): boolean =>
            isIn(target.namespace)(object) && isSelected(object);
          const present = (): Stored[] => all(target).filter(isSelected);
          return { watch: history.watch(query, { of, isMeant, present }) };
        }
        case 'get':
          return { code: 200, body: get(target) };
        case 'update':
          requireType(request, ['application/json']);
          return { code: 200, body: update(target, objectIn(body)) };
        case 'patch': {
          const before = get(target);
          const wanted = mergePatch(before, parsePatch(request)) as Json;
          refuseNewUid(metadataOf(wanted), before.metadata.uid, of);
          return { code: 200, body: update(target, wanted) };
        }
        case 'delete': {
          const removed = get(target);
          checkPreconditions(preconditionsOf(body), removed.metadata, of);
          stored.delete(keyOf(target));
          const metadata = { ...removed.metadata, resourceVersion: history.next() };
          history.tell(of, 'DELETED', { ...removed, metadata });
          return { code: 200, body: removedStatus(removed.metadata, of) };
        }
      }
    },
  };
}

function objectIn(body: Buffer): Json {
  const object = parseJson(body);
  if (!isJsonObject(object)) throw badRequest('the object provided is unrecognized');
  return object;
}

function metadataOf(object: Json): Json & Identity {
  const metadata = isJsonObject(object['metadata']) ? object['metadata'] : {};
  const text = (key: string): string => {
    const value = metadata[key] ?? '';
    if (typeof value !== 'string') throw badRequest(`metadata.${key} is no text`);
    return value;
  };
  return {
    ...metadata,
    name: text('name'),
    uid: text('uid'),
    resourceVersion: text('resourceVersion'),
  };
}

function listed(of: Resource, items: readonly Json[], history: History): object {
  return {
    kind: `${of.kind}List`,
    apiVersion: apiVersionOf(of),
    metadata: { resourceVersion: history.version() },
    // The members of a list go without kind and apiVersion.
    items: items.map((item) =>
      Object.fromEntries(
        Object.entries(item).filter(([key]) => key !== 'kind' && key !== 'apiVersion'),
      ),
    ),
  };
}

/** GET /apis/GROUP/VERSION: which kinds there are; undefined for any other path. */
export function discoveryAt(path: string): object | undefined {
  if (path !== `/apis/${certificates}/v1`) return undefined;
  const names = ['certificatesigningrequests', 'clustertrustbundles'];
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: `${certificates}/v1`,
    resources: names.map((name) => ({ name, namespaced: false })),
  };
}
