import { acceptChain } from '../src/certificates/accept.ts';
import { requestName } from '../src/certificates/signing-request.ts';
import { type SubjectNames } from '../src/identity/subject-names.ts';
import { generateKey } from '../src/node/key-generator.ts';
import { buildCertificationRequest } from '../src/pki/certification-request.ts';
import { type Usage } from '../src/pki/extensions.ts';
import { encodePem } from '../src/pki/pem.ts';
import { sha256Hex } from '../src/pki/signature.ts';
import { type TrustBundle } from '../src/trust/bundle.ts';
import { type ApiClient } from '../test/cluster/api-client.ts';
import { createPod, prepareNamespace } from '../test/cluster/pod.ts';
import { type ApiRequest } from '../test/support/administrator.ts';
import { type Answer, type Order, type PlainClient } from './burst-requesters.ts';

/** A pod that will ask, with all that can be made before the clock starts. */
export interface ReadyPod {
  readonly token: string;
  /** Its request's. */
  readonly name: string;
  readonly names: SubjectNames;
  readonly publicKeyDer: Buffer;
  /** PEM, base64. */
  readonly request: string;
}

/** Who gives the certificates, and what a plain client does for that. */
export interface Rival {
  readonly name: string;
  readonly signerName: string;
  readonly usages: readonly Usage[];
  readonly plainClient: PlainClient;
  /** What its certificates must lead to. */
  readonly bundle: TrustBundle;
}

/** A namespace with a Service and a service account, because priority and fairness queues by user. */
interface Place {
  readonly namespace: string;
  /** Of its Service `web`. */
  readonly clusterIP: string;
}

const placeCount = 20;
const serviceAccount = 'web';

/** Pods go to the places in turn. */
function placeOf(podIndex: number): Place {
  const index = podIndex % placeCount;
  return { namespace: `burst-${index}`, clusterIP: `10.96.200.${index + 1}` };
}

export async function makePlaces(api: ApiClient): Promise<void> {
  const make = async (_: unknown, index: number): Promise<void> => {
    const { namespace, clusterIP } = placeOf(index);
    await prepareNamespace(api, namespace, serviceAccount);
    await api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
      metadata: { name: 'web' },
      spec: { clusterIP, selector: { app: 'web' }, ports: [{ port: 443 }] },
    });
  };
  await Promise.all(Array.from({ length: placeCount }, make));
}

/** Pods with their tokens, keys and certification requests, numbered from `first`. */
export async function makePods(
  api: ApiClient,
  { first, count }: { readonly first: number; readonly count: number },
): Promise<readonly ReadyPod[]> {
  const atOnce = 20;
  const pods: ReadyPod[] = [];
  while (pods.length < count) {
    const length = Math.min(atOnce, count - pods.length);
    const begin = first + pods.length;
    pods.push(...(await Promise.all(Array.from({ length }, (_, i) => readyPod(api, begin + i)))));
  }
  return pods;
}

async function readyPod(api: ApiClient, index: number): Promise<ReadyPod> {
  const { namespace, clusterIP } = placeOf(index);
  const pod = await createPod(api, {
    namespace,
    name: `web-${index}`,
    serviceAccount,
    labels: { app: 'web' },
    podIPs: [`10.97.${index >> 8}.${index & 255}`],
  });
  const keyPair = await generateKey('ECDSAP256');
  const names = {
    dnsNames: [`web.${namespace}.svc`, `web.${namespace}.svc.cluster.local`],
    ipAddresses: [...pod.podIPs, clusterIP],
    uris: [`spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`],
  };
  const usages = ['digital signature', 'server auth', 'client auth'] as const;
  const der = buildCertificationRequest({ names, usages }, keyPair);
  return {
    token: pod.token,
    name: requestName(pod.uid, sha256Hex(keyPair.publicKeyDer)),
    names,
    publicKeyDer: keyPair.publicKeyDer,
    request: Buffer.from(encodePem('CERTIFICATE REQUEST', der)).toString('base64'),
  };
}

/** What the requesters send for a pod; `sign` makes the certificate that the plain client writes. */
export function orderOf(
  pod: ReadyPod,
  { signerName, usages, plainClient }: Rival,
  sign: (request: ApiRequest) => string,
): Order {
  const { name, token, request } = pod;
  const spec = { request, signerName, usages: [...usages], expirationSeconds: 86_400 };
  const asked = { metadata: { name, uid: '' }, spec: { ...spec, username: '' }, status: {} };
  const isWritten = plainClient === 'approves and writes the certificate';
  return {
    name,
    token,
    body: JSON.stringify({ metadata: { name }, spec }),
    certificate: isWritten ? Buffer.from(sign(asked as ApiRequest)).toString('base64') : '',
  };
}

/** Every certificate as the agent checks its own; throws the first refusal. */
export function checkAll(
  pods: readonly ReadyPod[],
  answers: readonly Answer[],
  { usages, bundle }: Rival,
): void {
  const now = new Date();
  for (const [index, { name: requestName, publicKeyDer, names }] of pods.entries()) {
    const chain = answers[index]?.chain ?? '';
    acceptChain(chain, { requestName, publicKeyDer, names, usages, bundle, now });
  }
}
