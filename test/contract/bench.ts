import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type PolicyRule } from '../embedded-api/authorization.ts';
import { type PodFacts } from '../embedded-api/server.ts';
import { makeServingPair } from '../embedded-api/serving-certificate.ts';
import { caller, type Answer, type Call, type Caller, type OpenWatch } from './api-call.ts';
import { certificationRequestPem } from './certification-requests.ts';

/** An API server to hold to the contract, and who may do what on it. */
export interface ContractApi {
  readonly serverUrl: string;
  /** PEM. */
  readonly caPem: string;
  /** Of a user who may do everything. */
  readonly adminToken: string;
  /** Of a scheduled pod whose service account may create and get signing requests. */
  readonly podToken: string;
  readonly pod: PodFacts;
  /** The token of a new user with exactly these permissions; resolves when they are in force. */
  tokenWith(rules: readonly PolicyRule[]): Promise<string>;
  close(): Promise<void>;
}

export const group = 'certificates.k8s.io';
export const plural = 'certificatesigningrequests';
export const collection = `/apis/${group}/v1/${plural}`;
export const mergePatch = 'application/merge-patch+json';
/** As Kubernetes writes times. */
export const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
export const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface ConditionJson {
  readonly type: string;
  readonly status?: string | undefined;
  readonly reason: string;
  readonly message: string;
  readonly lastUpdateTime?: string;
  readonly lastTransitionTime?: string;
}

export interface SigningRequestJson {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: {
    readonly name: string;
    readonly generateName?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly managedFields?: unknown;
  };
  readonly spec: {
    readonly username: string;
    readonly uid: string;
    readonly groups: readonly string[];
    readonly extra: Readonly<Record<string, readonly string[]>>;
  };
  readonly status: {
    readonly conditions?: readonly ConditionJson[];
    readonly certificate?: string;
  };
}

export interface StatusJson {
  readonly kind: string;
  readonly apiVersion: string;
  readonly status: string;
  readonly message: string;
  readonly reason: string;
  readonly code: number;
  readonly details: {
    readonly group?: string;
    readonly kind?: string;
    readonly causes?: readonly { readonly reason: string; readonly field: string }[];
  };
}

/** A request as a client sends it. */
export interface NewRequest {
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

export function condition(type: string, more: Partial<ConditionJson> = {}): ConditionJson {
  return { type, status: 'True', reason: 'Contract', message: 'said by the contract', ...more };
}

/** A certificate of nobody in particular, PEM. */
export const certificate = makeServingPair(new Date()).certificatePem;

/** What the tests of the contract share: an API server, and short ways to ask it. */
export interface Bench {
  /** Before every name, because a shared API server may hold requests of others. */
  readonly run: string;
  /** Of every request, unless said otherwise. */
  readonly signerName: string;
  /** Not before `open`. */
  readonly api: ContractApi;
  readonly open: () => Promise<void>;
  readonly call: (call: Call) => Promise<Answer>;
  readonly admin: Ask;
  readonly asPod: Ask;
  /** As administrator; `what` is a path with its query. */
  readonly watch: (what: string) => Promise<OpenWatch>;
  /** A good request with a new name and key, but for what is given. */
  readonly newRequest: (spec?: object, metadata?: object) => NewRequest;
  /** A stored request that got its status the regular way; the certificate as PEM. */
  readonly stored: (status?: SigningRequestJson['status']) => Promise<SigningRequestJson>;
  /** Removes what the tests created. */
  readonly close: () => Promise<void>;
}

type Ask = (method: string, path: string, body?: unknown, contentType?: string) => Promise<Answer>;

export function newBench(start: () => Promise<ContractApi>): Bench {
  const run = `contract-${randomUUID().slice(0, 8)}`;
  const signerName = `${run}.example.com/signer`;
  /** Paths. */
  const created = new Set<string>();
  const watches: OpenWatch[] = [];
  let opened: { api: ContractApi; client: Caller } | undefined;
  let count = 0;
  const bench = (): { api: ContractApi; client: Caller } => {
    if (!opened) throw new Error('Cannot run the contract: the API server did not start');
    return opened;
  };
  const call: Bench['call'] = async (asked) => {
    const answer = await bench().client.call(asked);
    if (answer.code === 201) {
      const { name } = (answer.body as SigningRequestJson).metadata;
      created.add(`${asked.path}/${encodeURIComponent(name)}`);
    }
    return answer;
  };
  const askAs =
    (token: () => string): Ask =>
    (method, path, body, contentType = 'application/json') =>
      call({ method, path, body, contentType, token: token() });
  const admin = askAs(() => bench().api.adminToken);
  const asPod = askAs(() => bench().api.podToken);
  const newRequest: Bench['newRequest'] = (spec = {}, metadata = {}) => ({
    apiVersion: `${group}/v1`,
    kind: 'CertificateSigningRequest',
    metadata: { name: `${run}-${(count += 1)}`, ...metadata },
    spec: {
      request: base64(certificationRequestPem()),
      signerName,
      usages: ['digital signature', 'server auth'],
      expirationSeconds: 3600,
      ...spec,
    },
  });
  return {
    ...{ run, signerName, call, admin, asPod, newRequest },
    async watch(what) {
      const { api, client } = bench();
      const opened = await client.watch(what, api.adminToken);
      watches.push(opened);
      return opened;
    },
    get api() {
      return bench().api;
    },
    async open() {
      const api = await start();
      opened = { api, client: caller(api.serverUrl, api.caPem) };
    },
    async stored({ conditions, certificate: pem } = {}) {
      let object = accepted(await asPod('POST', collection, newRequest()), 201);
      const write = async (subresource: string, part: object): Promise<void> => {
        const body = { ...object, status: { ...object.status, ...part } };
        object = accepted(await admin('PUT', pathOf(object, subresource), body));
      };
      if (conditions) await write('approval', { conditions });
      if (pem !== undefined) await write('status', { certificate: base64(pem) });
      return object;
    },
    async close() {
      if (!opened) return;
      for (const each of watches) each.stop();
      for (const path of created) await admin('DELETE', path);
      opened.client.close();
      await opened.api.close();
    },
  };
}

export function pathOf(object: NewRequest | SigningRequestJson, subresource = ''): string {
  const path = `${collection}/${object.metadata.name}`;
  return subresource === '' ? path : `${path}/${subresource}`;
}

/** The object of a successful answer; fails the test for another one. */
export function accepted(answer: Answer, code = 200): SigningRequestJson {
  assert.equal(answer.code, code, JSON.stringify(answer));
  const object = answer.body as SigningRequestJson;
  assert.equal(object.kind, 'CertificateSigningRequest');
  assert.equal(object.apiVersion, `${group}/v1`);
  return object;
}

/** The Status of an answer that must be a failure of this kind. */
export function refused(answer: Answer, code: number, reason: string): StatusJson {
  const seen = JSON.stringify(answer);
  assert.equal(answer.code, code, seen);
  const status = answer.body as StatusJson;
  assert.equal(status.kind, 'Status', seen);
  assert.equal(status.apiVersion, 'v1', seen);
  assert.equal(status.status, 'Failure', seen);
  assert.equal(status.code, code, seen);
  assert.equal(status.reason, reason, seen);
  assert.ok(typeof status.message === 'string' && status.message !== '', seen);
  return status;
}

/** Causes of a 422: which rule, on which field. */
export type Faults = readonly (readonly [reason: string, field: string])[];

/** Fails the test unless the answer is 422 with exactly these causes, in any order. */
export function invalid(answer: Answer, faults: Faults): void {
  const { details } = refused(answer, 422, 'Invalid');
  assert.equal(details.group, group);
  assert.equal(details.kind, 'CertificateSigningRequest');
  const seen = (details.causes ?? []).map((each) => `${each.reason} ${each.field}`);
  assert.deepEqual(
    seen.sort(),
    faults.map((each) => each.join(' ')).sort(),
    JSON.stringify(answer.body),
  );
}

/** Without the record of who set which field, which the embedded API does not keep. */
export function comparable<T extends { metadata: { managedFields?: unknown } }>(object: T): T {
  return { ...object, metadata: { ...object.metadata, managedFields: undefined } };
}
