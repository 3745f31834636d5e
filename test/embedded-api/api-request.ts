import {
  badRequest,
  invalid,
  cause,
  methodNotAllowed,
  notOffered,
  type Resource,
  unsupportedMediaType,
} from './status.ts';
import { type Watch } from './watching.ts';

/** One call about a kind of object, as it came. */
export interface ApiRequest {
  readonly method: string;
  readonly query: URLSearchParams;
  readonly contentType: string | undefined;
  readonly body: Buffer;
}

export type ApiAnswer =
  | {
      readonly code: number;
      /** Sent as JSON; a string as plain text. */
      readonly body: unknown;
    }
  | { readonly watch: Watch };

export type Verb = 'create' | 'list' | 'watch' | 'get' | 'update' | 'patch' | 'delete';

/** Verbs by method, on the collection and on one object. */
const verbs: Readonly<Record<string, readonly [Verb | undefined, Verb | undefined]>> = {
  POST: ['create', undefined],
  GET: ['list', 'get'],
  PUT: [undefined, 'update'],
  PATCH: [undefined, 'patch'],
  DELETE: [undefined, 'delete'],
};

/** The verb as RBAC names it; `name` is empty for the collection. */
export function verbOf({ method, query }: ApiRequest, name: string): Verb {
  const verb = verbs[method]?.[name === '' ? 0 : 1];
  if (verb === undefined && method === 'DELETE') throw notOffered('deletecollection');
  if (verb === undefined) throw methodNotAllowed();
  return verb === 'list' && query.get('watch') === 'true' ? 'watch' : verb;
}

/** Without effect on what is offered. */
const harmless = ['fieldManager', 'fieldValidation', 'pretty', 'timeout', 'timeoutSeconds'];
/** `limit` may be: a server is free to answer with more. Every list is of now, so no `resourceVersion` is too new. */
const ofCollections = ['fieldSelector', 'limit', 'resourceVersion', 'watch', 'allowWatchBookmarks'];

export function refuseUnoffered(query: URLSearchParams, name: string): void {
  const known = name === '' ? [...harmless, ...ofCollections] : harmless;
  for (const each of query.keys())
    if (!known.includes(each)) throw notOffered(`the query parameter ${each}`);
}

export function requireType({ contentType }: ApiRequest, accepted: readonly string[]): void {
  const [type = ''] = (contentType ?? accepted[0] ?? '').split(';');
  if (!accepted.includes(type.trim().toLowerCase())) throw unsupportedMediaType(accepted);
}

export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch (error) {
    throw badRequest(`the object provided is unrecognized: ${(error as Error).message}`);
  }
}

export type Json = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The patch of the body, which must be an object. */
export function parsePatch(request: ApiRequest): Json {
  requireType(request, ['application/merge-patch+json']);
  const patch = parseJson(request.body);
  if (!isJsonObject(patch)) throw badRequest('error decoding patch: it is not an object');
  return patch;
}

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isJsonObject(patch)) return patch;
  const merged: Record<string, unknown> = isJsonObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch))
    if (value === null) Reflect.deleteProperty(merged, key);
    else merged[key] = mergePatch(merged[key], value);
  return merged;
}

/** Where a PUT would answer 409 to another uid, the API server says 422 to a patch. */
export function refuseNewUid(
  patched: { readonly name: string; readonly uid: string },
  storedUid: string,
  of: Resource,
): void {
  const { name, uid } = patched;
  if (uid === storedUid) return;
  throw invalid(name, [cause.invalid('metadata.uid', uid, 'field is immutable')], of);
}

/** Whether an object, as answers show it, is one that was asked for. */
export type Selector = (object: object) => boolean;

/** Of `fieldSelector`; the fields are paths like `metadata.name`. */
export function selectorOf(query: URLSearchParams, fields: readonly string[]): Selector {
  const tests = (query.get('fieldSelector') ?? '')
    .split(',')
    .filter((each) => each !== '')
    .map((each) => parseRequirement(each, fields));
  return (object) => tests.every((test) => test(object));
}

function parseRequirement(text: string, fields: readonly string[]): Selector {
  const [, field, operator, value] = /^(.+?)(!=|==|=)(.*)$/.exec(text) ?? [];
  if (field === undefined)
    throw badRequest(`invalid selector: '${text}'; can't understand '${text}'`);
  if (!fields.includes(field)) throw badRequest(`field label not supported: ${field}`);
  return (object) => (valueAt(object, field) === value) === (operator !== '!=');
}

function valueAt(object: object, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (isJsonObject(value) ? value[key] : undefined), object);
}

export interface Preconditions {
  /** Empty: any. */
  readonly uid: string;
  readonly resourceVersion: string;
}

/** From DeleteOptions, if there are any. */
export function preconditionsOf(body: Buffer): Preconditions {
  const options = body.length === 0 ? {} : parseJson(body);
  const found = isJsonObject(options) ? options['preconditions'] : {};
  const { uid, resourceVersion } = isJsonObject(found) ? found : {};
  const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
  return { uid: textOf(uid), resourceVersion: textOf(resourceVersion) };
}

/** The answer to a DELETE. */
export function removedStatus(
  { name, uid }: { readonly name: string; readonly uid: string },
  { group, plural }: Resource,
): object {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...(group === '' ? {} : { group }), kind: plural, uid },
  };
}
