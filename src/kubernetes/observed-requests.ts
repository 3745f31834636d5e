import { conditionReasons, type Decisions, type Issuance } from '../certificates/decisions.ts';
import { type ObservedRequest, standingOf } from '../certificates/observed-request.ts';
import { renewalLabel } from '../certificates/signing-request.ts';
import { type Listing } from '../controller/list-watch.ts';
import { PodsealError } from '../errors.ts';
import { type ApiCall, type ApiCalls } from './api-calls.ts';
import {
  bytesOf,
  type Json,
  listOf,
  needed,
  objectOf,
  textMapOf,
  textOf,
  textsOf,
  timeOf,
} from './json.ts';
import { listingOf } from './listing.ts';
import {
  bytes,
  encodedOf,
  field,
  keptMessage,
  list,
  map,
  message,
  number,
  objectMeta,
  protobufObject,
  type Shape,
  text,
  texts,
  time,
} from './protobuf.ts';

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const resource = 'certificatesigningrequests';

/** Who calls: decides which file of examples/rbac a message names. */
export type Caller = 'approver' | 'signer' | 'injector';

const rbacFileOf = (caller: Caller): string => `examples/rbac/${caller}.yaml`;

/** The signing requests of one signer name. */
export function requestListing(
  calls: ApiCalls,
  signerName: string,
  caller: Caller,
): Listing<ObservedRequest> {
  return listingOf(calls, {
    what: `signing requests of ${signerName}`,
    resource,
    path,
    fieldSelector: `spec.signerName=${signerName}`,
    rbacFile: rbacFileOf(caller),
    shape: requestShape,
    read: withoutBallast,
  });
}

const requestKind = { apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest' };
/** k8s.io/api/certificates/v1: CertificateSigningRequest, its spec, status and conditions. */
const requestShape: Shape = {
  1: ['metadata', keptMessage(objectMeta)],
  2: [
    'spec',
    message({
      1: ['request', bytes],
      2: ['username', text],
      5: ['usages', list(text)],
      6: ['extra', map(texts)],
      7: ['signerName', text],
      8: ['expirationSeconds', number],
    }),
  ],
  3: [
    'status',
    keptMessage({
      1: [
        'conditions',
        list(
          message({
            1: ['type', text],
            2: ['reason', text],
            3: ['message', text],
            4: ['lastUpdateTime', time],
            5: ['lastTransitionTime', time],
            6: ['status', text],
          }),
        ),
      ],
      2: ['certificate', bytes],
    }),
  ],
};

/** Metadata and status of a request as the API server encoded them: all of it that a write can change. */
interface Encoded {
  readonly metadata: Buffer;
  readonly status: Buffer;
}

/** Of those requests that may still be written to, when they came as protobuf. */
const encodings = new WeakMap<ObservedRequest, Encoded>();

function keepEncoding(request: ObservedRequest, object: Json): ObservedRequest {
  const metadata = encodedOf(objectOf(object['metadata']));
  const status = encodedOf(objectOf(object['status'])) ?? Buffer.alloc(0);
  // Copied: they are parts of a whole page.
  if (metadata)
    encodings.set(request, { metadata: Buffer.from(metadata), status: Buffer.from(status) });
  return request;
}

/** Ten thousand finished requests may be listed: their texts are of no use any more. */
function withoutBallast(object: Json): ObservedRequest {
  const request = readObservedRequest(object);
  const standing = standingOf(request);
  if (standing === 'pending' || standing === 'approved') return keepEncoding(request, object);
  const conditions = request.conditions.map((condition) => ({
    ...condition,
    message: '',
    asRead: {},
  }));
  return { ...request, request: '', conditions };
}

/** Throws API_UNREACHABLE when it is no CertificateSigningRequest. */
export function readObservedRequest(object: Json): ObservedRequest {
  const metadata = objectOf(object['metadata']);
  const spec = objectOf(object['spec']);
  const status = objectOf(object['status']);
  const extra = objectOf(spec['extra']);
  const { expirationSeconds } = spec;
  return {
    name: needed(metadata['name'], 'metadata.name'),
    uid: needed(metadata['uid'], 'metadata.uid'),
    resourceVersion: needed(metadata['resourceVersion'], 'metadata.resourceVersion'),
    createdAt: timeOf(metadata['creationTimestamp']),
    request: bytesOf(spec['request'], longestBytes)?.toString('latin1') ?? '',
    signerName: needed(spec['signerName'], 'spec.signerName'),
    usages: textsOf(spec['usages']),
    expirationSeconds: typeof expirationSeconds === 'number' ? expirationSeconds : undefined,
    requester: {
      username: textOf(spec['username']) ?? '',
      extra: Object.fromEntries(Object.entries(extra).map(([key, value]) => [key, textsOf(value)])),
    },
    conditions: listOf(status['conditions']).map((each) => {
      const condition = objectOf(each);
      return {
        type: textOf(condition['type']) ?? '',
        reason: textOf(condition['reason']) ?? '',
        message: textOf(condition['message']) ?? '',
        updatedAt: timeOf(condition['lastUpdateTime']),
        asRead: condition,
      };
    }),
    hasCertificate: bytesOf(status['certificate'], 1) !== undefined,
    isRenewal: textMapOf(metadata['labels'])[renewalLabel] === 'true',
  };
}

/** More than anybody reads on (vetting/asked.ts): what follows is cut off, so that ten of them do not fill the memory. */
const longestBytes = 256 * 1024;

type Call = Pick<ApiCall, 'method' | 'body' | 'shape'> & {
  readonly verb: string;
  readonly subresource?: 'approval' | 'status';
};

function caller(calls: ApiCalls, by: Caller) {
  return (name: string, { verb, subresource, ...call }: Call): Promise<unknown> =>
    calls.call({
      ...call,
      path: `${path}/${encodeURIComponent(name)}${subresource ? `/${subresource}` : ''}`,
      attempted: {
        verb,
        resource: subresource ? `${resource}/${subresource}` : resource,
        what: `signing request ${JSON.stringify(name)}`,
        rbac: `apply ${rbacFileOf(by)}; approving and signing also need the signer name in its resourceNames.`,
      },
    });
}

interface NewCondition {
  readonly type: 'Approved' | 'Denied' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

/** What a write adds to the status of a request. */
type Addition = { readonly condition: NewCondition } | { readonly certificatePem: string };

/**
 * Writes in the encoding in which the request came; both hold for its version alone. Protobuf is an update,
 * and JSON a merge patch: it keeps the fields that we do not know.
 */
function write(
  request: ObservedRequest,
  subresource: 'approval' | 'status',
  addition: Addition,
): Call {
  const encoded = encodings.get(request);
  return encoded
    ? { verb: 'update', subresource, method: 'PUT', body: updated(encoded, addition), shape: {} }
    : { verb: 'patch', subresource, method: 'PATCH', body: patch(request, addition) };
}

/** Without the spec, which never changes: the API server takes its own (registry/certificates/certificates/strategy.go). */
function updated({ metadata, status }: Encoded, addition: Addition): Buffer {
  const added =
    'condition' in addition
      ? field(1, encodedCondition(addition.condition))
      : field(2, addition.certificatePem);
  return protobufObject(requestKind, [field(1, metadata), field(3, [status, added])]);
}

function encodedCondition({ type, reason, message }: NewCondition): readonly Buffer[] {
  return [field(1, type), field(2, reason), field(3, message), field(6, 'True')];
}

function patch({ uid, resourceVersion, conditions }: ObservedRequest, addition: Addition): Json {
  return {
    metadata: { uid, resourceVersion },
    status:
      'condition' in addition
        ? {
            // A merge patch replaces the list whole, so conditions of others are written back as they were read.
            conditions: [
              ...conditions.map(({ asRead }) => asRead),
              { ...addition.condition, status: 'True' },
            ],
          }
        : { certificate: Buffer.from(addition.certificatePem).toString('base64') },
  };
}

export function apiDecisions(calls: ApiCalls): Decisions {
  const call = caller(calls, 'approver');
  const decide = async (request: ObservedRequest, condition: NewCondition): Promise<void> => {
    await call(request.name, write(request, 'approval', { condition }));
  };
  return {
    approve: (request, message) =>
      decide(request, { type: 'Approved', reason: conditionReasons.approved, message }),
    deny: (request, message) =>
      decide(request, { type: 'Denied', reason: conditionReasons.denied, message }),
  };
}

export function apiIssuance(calls: ApiCalls): Issuance {
  const call = caller(calls, 'signer');
  const add = async (request: ObservedRequest, addition: Addition): Promise<void> => {
    await call(request.name, write(request, 'status', addition));
  };
  return {
    async read(name) {
      try {
        const get = { verb: 'get', method: 'GET', shape: requestShape } as const;
        const object = objectOf(await call(name, get));
        return keepEncoding(readObservedRequest(object), object);
      } catch (error) {
        if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
        throw error;
      }
    },
    issue: (request, certificatePem) => add(request, { certificatePem }),
    fail: (request, message) =>
      add(request, { condition: { type: 'Failed', reason: conditionReasons.failed, message } }),
    async remove({ name, uid }) {
      const body = { preconditions: { uid } };
      await call(name, { verb: 'delete', method: 'DELETE', body });
    },
  };
}
