import { isDeepStrictEqual } from 'node:util';
import { authorize, authorizeSigner, type User } from './authorization.ts';
import {
  readSigningRequest,
  writeSigningRequest,
  type SigningRequestObject,
} from './signing-request-object.ts';
import { type Admit, type SigningRequestStore } from './signing-requests.ts';
import {
  ApiFailure,
  badRequest,
  cause,
  invalid,
  invalidPatch,
  methodNotAllowed,
  notOffered,
  resource,
  unsupportedMediaType,
} from './status.ts';
import { type Subresource } from './validation.ts';

/** A path of our resource. */
export interface Target {
  /** Empty for the collection. */
  readonly name: string;
  readonly subresource: Subresource;
}

export interface ResourceRequest {
  readonly method: string;
  readonly target: Target;
  readonly query: URLSearchParams;
  readonly contentType: string | undefined;
  readonly body: Buffer;
}

const apiVersion = `${resource.group}/${resource.version}`;
const collection = `/apis/${apiVersion}/${resource.plural}`;

/** Of a decoded path; undefined for every other one. */
export function parseResourcePath(path: string): Target | undefined {
  if (path === collection) return { name: '', subresource: '' };
  if (!path.startsWith(`${collection}/`)) return undefined;
  const [name = '', subresource = '', ...more] = path.slice(collection.length + 1).split('/');
  if (more.length > 0) return undefined;
  if (subresource !== '' && subresource !== 'approval' && subresource !== 'status')
    return undefined;
  return { name, subresource };
}

/** Answers what the user may ask; throws ApiFailures. */
export function answerResource(
  request: ResourceRequest,
  user: User,
  store: SigningRequestStore,
): { code: number; body: unknown } {
  const { target, query } = request;
  const verb = verbOf(request);
  authorize(user, verb, target);
  refuseUnoffered(query, target);
  const found = (object: SigningRequestObject): { code: number; body: unknown } => ({
    code: 200,
    body: { kind: resource.kind, apiVersion, ...writeSigningRequest(object) },
  });
  switch (verb) {
    case 'create': {
      requireType(request, ['application/json']);
      return {
        ...found(store.create(readSigningRequest(parseJson(request.body)), user)),
        code: 201,
      };
    }
    case 'list':
      return { code: 200, body: listed(store, query.get('fieldSelector') ?? '') };
    case 'get':
      return found(store.get(target.name));
    case 'update': {
      requireType(request, ['application/json']);
      const wanted = readSigningRequest(parseJson(request.body));
      return found(
        store.update({ ...target, wanted: () => wanted, admit: admitFor(user, target) }),
      );
    }
    case 'patch': {
      requireType(request, ['application/merge-patch+json']);
      const patch = parseJson(request.body);
      const wanted = (stored: SigningRequestObject): SigningRequestObject => patched(stored, patch);
      return found(store.update({ ...target, wanted, admit: admitFor(user, target) }));
    }
    case 'delete': {
      const removed = store.remove(target.name, preconditionsOf(request.body));
      return { code: 200, body: removedStatus(removed) };
    }
  }
}

type Verb = 'create' | 'list' | 'get' | 'update' | 'patch' | 'delete';

/** Verbs by method, on the collection and on one object. */
const verbs: Readonly<Record<string, readonly [Verb | undefined, Verb | undefined]>> = {
  POST: ['create', undefined],
  GET: ['list', 'get'],
  PUT: [undefined, 'update'],
  PATCH: [undefined, 'patch'],
  DELETE: [undefined, 'delete'],
};

function verbOf({ method, target }: ResourceRequest): Verb {
  const verb = verbs[method]?.[target.name === '' ? 0 : 1];
  if (verb === undefined && method === 'DELETE') throw notOffered('deletecollection');
  if (verb === undefined || (verb === 'delete' && target.subresource !== ''))
    throw methodNotAllowed();
  return verb;
}

/** Without effect on what is offered. */
const harmless = ['fieldManager', 'fieldValidation', 'pretty', 'timeout', 'timeoutSeconds'];

function refuseUnoffered(query: URLSearchParams, target: Target): void {
  const known = target.name === '' ? [...harmless, 'fieldSelector'] : harmless;
  for (const name of query.keys())
    if (!known.includes(name)) throw notOffered(`the query parameter ${name}`);
}

function requireType({ contentType }: ResourceRequest, accepted: readonly string[]): void {
  const [type = ''] = (contentType ?? accepted[0] ?? '').split(';');
  if (!accepted.includes(type.trim().toLowerCase())) throw unsupportedMediaType(accepted);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch (error) {
    throw badRequest(`the object provided is unrecognized: ${(error as Error).message}`);
  }
}

/** The stored object with a merge patch; where a PUT would answer 400 or 409, the API server says 422. */
function patched(stored: SigningRequestObject, patch: unknown): SigningRequestObject {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch))
    throw badRequest('error decoding patch: it is not an object');
  const whole = { kind: resource.kind, apiVersion, ...writeSigningRequest(stored) };
  let wanted: SigningRequestObject;
  try {
    wanted = readSigningRequest(mergePatch(whole, patch));
  } catch (error) {
    throw error instanceof ApiFailure ? invalidPatch(error.message) : error;
  }
  if (wanted.metadata.uid === stored.metadata.uid) return wanted;
  const { name, uid } = wanted.metadata;
  throw invalid(name, [cause.invalid('metadata.uid', uid, 'field is immutable')]);
}

/** RFC 7386. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target);
  const merged: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch))
    if (value === null) Reflect.deleteProperty(merged, key);
    else merged[key] = mergePatch(merged[key], value);
  return merged;
}

/** The admission plugins CertificateApproval and CertificateSigning; the latter asks only when something changes. */
function admitFor(user: User, { name, subresource }: Target): Admit {
  return (changed, stored) => {
    const { signerName } = stored.spec;
    if (subresource === 'approval') authorizeSigner(user, 'approve', { name, signerName });
    if (subresource === 'status' && !isDeepStrictEqual(changed.status, stored.status))
      authorizeSigner(user, 'sign', { name, signerName });
  };
}

function listed(store: SigningRequestStore, fieldSelector: string): unknown {
  const tests = fieldSelector
    .split(',')
    .filter((each) => each !== '')
    .map(parseRequirement);
  const items = store.list().filter((object) => tests.every((test) => test(object)));
  return {
    kind: `${resource.kind}List`,
    apiVersion,
    metadata: { resourceVersion: store.resourceVersion() },
    items: items.map(writeSigningRequest),
  };
}

function parseRequirement(text: string): (object: SigningRequestObject) => boolean {
  const [, field, operator, value] = /^(.+?)(!=|==|=)(.*)$/.exec(text) ?? [];
  if (field === undefined)
    throw badRequest(`invalid selector: '${text}'; can't understand '${text}'`);
  if (field !== 'metadata.name' && field !== 'spec.signerName')
    throw badRequest(`field label not supported: ${field}`);
  return ({ metadata, spec }) => {
    const found = field === 'metadata.name' ? metadata.name : spec.signerName;
    return (found === value) === (operator !== '!=');
  };
}

/** From DeleteOptions, if there are any. */
function preconditionsOf(body: Buffer): { uid: string; resourceVersion: string } {
  const options = body.length === 0 ? {} : (parseJson(body) as Record<string, unknown>);
  const { uid, resourceVersion } = (options['preconditions'] ?? {}) as Record<string, unknown>;
  const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
  return { uid: textOf(uid), resourceVersion: textOf(resourceVersion) };
}

function removedStatus({ metadata: { name, uid } }: SigningRequestObject): unknown {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, group: resource.group, kind: resource.plural, uid },
  };
}
