import { randomBytes } from 'node:crypto';
import { noNames, type SubjectNames } from '../../src/identity/subject-names.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { type ApiClient } from '../cluster/api-client.ts';
import { type TestPod } from '../cluster/pod.ts';
import { newKey, tlsUsages } from './certificate-builders.ts';
import { type ApiUser, type Requester } from './requester.ts';

/** A signing request as it stands on the API server. */
export interface StoredRequest {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: {
    readonly certificate?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
}

/** What is sent besides the certification request; an agent's by default. */
export interface SentSpec {
  readonly signerName: string;
  readonly usages?: readonly string[];
  readonly expirationSeconds?: number;
}

const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** Sends a signing request with a certification request of any content; resolves to its name. */
export async function sendRequest(
  users: Requester,
  user: ApiUser,
  spec: SentSpec,
  sent: { readonly request: string | Buffer; readonly name?: string },
): Promise<string> {
  const name = sent.name ?? `podseal-test-${randomBytes(16).toString('hex')}`;
  const { status, body } = await users.post(user, collection, {
    metadata: { name },
    spec: {
      usages: tlsUsages,
      expirationSeconds: 86_400,
      ...spec,
      request: Buffer.from(sent.request).toString('base64'),
    },
  });
  if (status !== 201)
    throw new Error(`Cannot create signing request ${name}: ${status} ${JSON.stringify(body)}`);
  return name;
}

/** A certification request for these names as an agent makes it, with a key of its own; PEM. */
export function requestFor(names: Partial<SubjectNames>): string {
  const der = buildCertificationRequest(
    { names: { ...noNames, ...names }, usages: tlsUsages },
    newKey(),
  );
  return encodePem('CERTIFICATE REQUEST', der);
}

/** The names that a Service gives to its pods, whatever their addresses are. */
export function namesOf(pod: TestPod, service: string): SubjectNames {
  const inNamespace = `${service}.${pod.namespace}.svc`;
  return {
    dnsNames: [inNamespace, `${inNamespace}.cluster.local`],
    ipAddresses: [],
    uris: [`spiffe://cluster.local/ns/${pod.namespace}/sa/${pod.serviceAccount}`],
  };
}

/** Undefined: there is none of that name. */
export async function readRequest(
  api: ApiClient,
  name: string,
): Promise<StoredRequest | undefined> {
  const { status, body } = await api.request('GET', `${collection}/${name}`);
  if (status === 404) return undefined;
  if (status !== 200) throw new Error(`Cannot read signing request ${name}: ${status}`);
  return body as StoredRequest;
}

/** The message of a condition; undefined: it is not there. */
export function conditionOf(request: StoredRequest | undefined, type: string): string | undefined {
  return request?.status.conditions?.find((each) => each.type === type)?.message;
}
