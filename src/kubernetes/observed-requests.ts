import { conditionReasons, type Decisions, type Issuance } from '../certificates/decisions.ts';
import { type ObservedRequest, standingOf } from '../certificates/observed-request.ts';
import { renewalLabel } from '../certificates/signing-request.ts';
import { type Listing } from '../controller/list-watch.ts';
import { PodsealError } from '../errors.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, listOf, needed, objectOf, textMapOf, textOf, textsOf, timeOf } from './json.ts';
import { listingOf } from './listing.ts';

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
    read: (object) => withoutBallast(readObservedRequest(object)),
  });
}

/** Ten thousand finished requests may be listed: their texts are of no use any more. */
function withoutBallast(request: ObservedRequest): ObservedRequest {
  const standing = standingOf(request);
  if (standing === 'pending' || standing === 'approved') return request;
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
    request: requestText(textOf(spec['request']) ?? ''),
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
    hasCertificate: textOf(status['certificate']) !== undefined,
    isRenewal: textMapOf(metadata['labels'])[renewalLabel] === 'true',
  };
}

/** More than anybody reads on (vetting/asked.ts): what follows is cut off, so that ten of them do not fill the memory. */
const longestText = 256 * 1024;

function requestText(base64: string): string {
  // Four characters of base64 are three bytes.
  return Buffer.from(base64.slice(0, (longestText / 3) * 4), 'base64').toString('latin1');
}

type Call = Pick<Parameters<ApiCalls['call']>[0], 'method' | 'body'> & {
  readonly verb: string;
  readonly subresource?: 'approval' | 'status';
};

function caller(calls: ApiCalls, by: Caller) {
  return (name: string, { verb, subresource, method, body }: Call): Promise<unknown> =>
    calls.call({
      method,
      path: `${path}/${encodeURIComponent(name)}${subresource ? `/${subresource}` : ''}`,
      body,
      attempted: {
        verb,
        resource: subresource ? `${resource}/${subresource}` : resource,
        what: `signing request ${JSON.stringify(name)}`,
        rbac: `apply ${rbacFileOf(by)}; approving and signing also need the signer name in its resourceNames.`,
      },
    });
}

/** A merge patch replaces the list whole, so conditions of others are written back as they were read. */
function withCondition(
  request: ObservedRequest,
  added: { readonly type: string; readonly reason: string; readonly message: string },
): Json {
  const conditions = [
    ...request.conditions.map(({ asRead }) => asRead),
    { ...added, status: 'True' },
  ];
  return { metadata: preconditions(request), status: { conditions } };
}

const preconditions = ({ uid, resourceVersion }: ObservedRequest): Json => ({
  uid,
  resourceVersion,
});

export function apiDecisions(calls: ApiCalls): Decisions {
  const call = caller(calls, 'approver');
  const decide = async (request: ObservedRequest, body: Json): Promise<void> => {
    await call(request.name, { verb: 'patch', subresource: 'approval', method: 'PATCH', body });
  };
  return {
    approve: (request, message) =>
      decide(
        request,
        withCondition(request, { type: 'Approved', reason: conditionReasons.approved, message }),
      ),
    deny: (request, message) =>
      decide(
        request,
        withCondition(request, { type: 'Denied', reason: conditionReasons.denied, message }),
      ),
  };
}

export function apiIssuance(calls: ApiCalls): Issuance {
  const call = caller(calls, 'signer');
  const write = async (request: ObservedRequest, body: Json): Promise<void> => {
    await call(request.name, { verb: 'patch', subresource: 'status', method: 'PATCH', body });
  };
  return {
    async read(name) {
      try {
        return readObservedRequest(objectOf(await call(name, { verb: 'get', method: 'GET' })));
      } catch (error) {
        if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
        throw error;
      }
    },
    issue: (request, chainPem) =>
      write(request, {
        metadata: preconditions(request),
        status: { certificate: Buffer.from(chainPem).toString('base64') },
      }),
    fail: (request, message) =>
      write(
        request,
        withCondition(request, { type: 'Failed', reason: conditionReasons.failed, message }),
      ),
    async remove({ name, uid }) {
      const body = { preconditions: { uid } };
      await call(name, { verb: 'delete', method: 'DELETE', body });
    },
  };
}
