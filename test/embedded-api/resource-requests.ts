import { isDeepStrictEqual } from 'node:util';
import {
  type ApiAnswer,
  type ApiRequest,
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
import { authorize, authorizeSigner, type User } from './authorization.ts';
import {
  readSigningRequest,
  wholeSigningRequest,
  writeSigningRequest,
  type SigningRequestObject,
} from './signing-request-object.ts';
import { type Admit, type SigningRequestStore } from './signing-requests.ts';
import { ApiFailure, apiVersionOf, invalidPatch, methodNotAllowed, resource } from './status.ts';
import { type Subresource } from './validation.ts';

/** A path of our resource. */
export interface Target {
  /** Empty for the collection. */
  readonly name: string;
  readonly subresource: Subresource;
}

export interface ResourceRequest extends ApiRequest {
  readonly target: Target;
}

const apiVersion = apiVersionOf(resource);
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
): ApiAnswer {
  const { target, query } = request;
  const verb = verbOf(request, target.name);
  if (verb === 'delete' && target.subresource !== '') throw methodNotAllowed();
  authorize(user, verb, target);
  refuseUnoffered(query, target.name);
  const found = (object: SigningRequestObject, code = 200): ApiAnswer => ({
    code,
    body: wholeSigningRequest(object),
  });
  switch (verb) {
    case 'create': {
      requireType(request, ['application/json']);
      return found(store.create(readSigningRequest(parseJson(request.body)), user), 201);
    }
    case 'list':
      return { code: 200, body: listed(store, query) };
    case 'watch':
      return { watch: store.watch(query, selectorOf(query, selectable)) };
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
      const patch = parsePatch(request);
      const wanted = (stored: SigningRequestObject): SigningRequestObject => patched(stored, patch);
      return found(store.update({ ...target, wanted, admit: admitFor(user, target) }));
    }
    case 'delete': {
      const { metadata } = store.remove(target.name, preconditionsOf(request.body));
      return { code: 200, body: removedStatus(metadata, resource) };
    }
  }
}

/** The stored object with a merge patch; where a PUT would answer 400 or 409, the API server says 422. */
function patched(stored: SigningRequestObject, patch: Json): SigningRequestObject {
  let wanted: SigningRequestObject;
  try {
    wanted = readSigningRequest(mergePatch(wholeSigningRequest(stored), patch));
  } catch (error) {
    throw error instanceof ApiFailure ? invalidPatch(error.message) : error;
  }
  refuseNewUid(wanted.metadata, stored.metadata.uid, resource);
  return wanted;
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

const selectable = ['metadata.name', 'spec.signerName'];

function listed(store: SigningRequestStore, query: URLSearchParams): unknown {
  return {
    kind: `${resource.kind}List`,
    apiVersion,
    metadata: { resourceVersion: store.resourceVersion() },
    items: store.list().map(writeSigningRequest).filter(selectorOf(query, selectable)),
  };
}
