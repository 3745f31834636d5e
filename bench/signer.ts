import { randomBytes } from 'node:crypto';
import { defaultPolicy } from '../src/approver/policy.ts';
import { type Facts } from '../src/approver/facts.ts';
import { verdictOn } from '../src/approver/verdict.ts';
import { type ObservedRequest } from '../src/certificates/observed-request.ts';
import { type LivePod } from '../src/identity/live-pod.ts';
import { type LiveService } from '../src/identity/live-service.ts';
import { boundPodOf } from '../src/identity/requester.ts';
import { subjectNamesOf, wantedNames } from '../src/identity/wanted-names.ts';
import { generateKey } from '../src/node/key-generator.ts';
import { buildCertificationRequest } from '../src/pki/certification-request.ts';
import { type KeyAlgorithm, privateKeyPem } from '../src/pki/key-pair.ts';
import { encodePem } from '../src/pki/pem.ts';
import { makeRoot } from '../src/signer/authority.ts';
import { answerTo } from '../src/signer/handle.ts';
import { readSigningCa, type SigningCa } from '../src/signer/signing-ca.ts';
import { readContent } from '../src/vetting/asked.ts';
import { median } from './agent.ts';

/** The pure path of approver and signer, without the API server: one thread, keys of the kind that pods have by default. */

const usages = ['digital signature', 'server auth', 'client auth'] as const;
const dayMs = 86_400_000;
const scope = { clusterDomain: 'cluster.local', trustDomain: 'cluster.local' };
const signerName = 'podseal.dev/serving';

const service: LiveService = {
  namespace: 'shop',
  name: 'web',
  selector: { app: 'web' },
  clusterIPs: ['10.96.0.20'],
  headless: false,
  isExternalName: false,
  isBeingDeleted: false,
};

interface Pair {
  readonly request: ObservedRequest;
  readonly pod: LivePod;
}

async function pairOf(index: number): Promise<Pair> {
  const pod: LivePod = {
    namespace: 'shop',
    name: `web-${index}`,
    uid: `6f1c6e0e-0000-4000-8000-${String(index).padStart(12, '0')}`,
    serviceAccount: 'web',
    nodeName: 'node-1',
    phase: 'Running',
    isTerminating: false,
    isMirror: false,
    hostNetwork: false,
    ipAddresses: [`10.97.${index >> 8}.${index & 0xff}`],
    hostname: undefined,
    subdomain: undefined,
    labels: new Map([['app', 'web']]),
  };
  const forms = { forms: [], extraDnsNames: [], extraIpAddresses: [] };
  const names = subjectNamesOf(wantedNames(pod, [service], { ...scope, ...forms }));
  const key = await generateKey('ECDSAP256');
  const claim = 'authentication.kubernetes.io';
  const request: ObservedRequest = {
    name: `podseal-${pod.uid}`,
    uid: pod.uid,
    resourceVersion: '1',
    createdAt: new Date(),
    request: encodePem('CERTIFICATE REQUEST', buildCertificationRequest({ names, usages }, key)),
    signerName,
    usages,
    expirationSeconds: 86_400,
    requester: {
      username: `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}`,
      extra: {
        [`${claim}/pod-name`]: [pod.name],
        [`${claim}/pod-uid`]: [pod.uid],
        [`${claim}/node-name`]: [pod.nodeName ?? ''],
      },
    },
    conditions: [],
    hasCertificate: false,
    isRenewal: false,
  };
  return { request, pod };
}

async function caOf(algorithm: KeyAlgorithm): Promise<SigningCa> {
  const now = Date.now();
  const keyPair = await generateKey(algorithm);
  const certificate = makeRoot(
    {
      ...scope,
      commonName: 'bench',
      notBefore: new Date(now - dayMs),
      notAfter: new Date(now + 3650 * dayMs),
      serial: randomBytes(16),
    },
    keyPair,
  );
  const secret = { certificate, key: privateKeyPem(keyPair), root: certificate };
  return readSigningCa(secret, new Date());
}

/** Parsed, verified, held to the rules, signed, and written as the chain that the API gets. */
function issue({ request }: Pair, ca: SigningCa): void {
  const limits = { defaultLifetimeMs: dayMs, maximumLifetimeMs: 90 * dayMs, backDateMs: 300_000 };
  const moment = { now: new Date(), serial: randomBytes(16) };
  const answer = answerTo(request, ca, limits, moment);
  if (answer.kind !== 'issue') throw new Error(`Cannot measure: ${JSON.stringify(answer)}`);
  ca.authority.chainOf(answer.leaf);
}

/** Parsed, verified, held to every rule. The facts are at hand: reading them is the API server's time. */
function judge({ request, pod }: Pair, ca: SigningCa): void {
  const facts: Facts = {
    request,
    content: readContent(request.request),
    requester: boundPodOf(request.requester),
    pod,
    services: [service],
    network: {
      nodeAddresses: new Map([['10.0.0.1', new Set(['node-1'])]]),
      serviceRanges: [],
      clusterIPs: new Map([['10.96.0.20', 'shop/web']]),
      podRangesByNode: new Map(),
    },
    caConstraints: ca.constraints,
    policy: defaultPolicy,
    settings: { signerNames: [signerName], defaultLifetimeMs: dayMs, ...scope },
  };
  const verdict = verdictOn(facts, 0);
  if (verdict.kind !== 'approve') throw new Error(`Cannot measure: ${JSON.stringify(verdict)}`);
}

/** How often a second of CPU time (user and system, every thread of the process) is enough. */
function perSecond(
  pairs: readonly Pair[],
  work: (pair: Pair, ca: SigningCa) => void,
  ca: SigningCa,
): number {
  const before = process.cpuUsage();
  for (const pair of pairs) work(pair, ca);
  const { user, system } = process.cpuUsage(before);
  return pairs.length / ((user + system) / 1e6);
}

/** CPU time is measured, because wall time also measures who else uses the machine. */
export async function benchSigner(say: (line: string) => void): Promise<object> {
  const rounds = Number(process.env['BENCH_ROUNDS'] ?? 15);
  const size = Number(process.env['BENCH_REQUESTS'] ?? 2000);
  const pairs: Pair[] = [];
  // Each has a key of its own: nothing can be had from the one before.
  for (let index = 0; index < size; index++) pairs.push(await pairOf(index));
  const ca = await caOf('ECDSAP256');
  const issued: number[] = [];
  const judged: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const figures = [perSecond(pairs, issue, ca), perSecond(pairs, judge, ca)] as const;
    const [issuePerSecond = 0, verdictPerSecond = 0] = figures.map(Math.round);
    say(`round ${round}: ${issuePerSecond} issued/s, ${verdictPerSecond} verdicts/s`);
    // The first warms up.
    if (round === 0) continue;
    issued.push(figures[0]);
    judged.push(figures[1]);
  }
  return {
    issuePerSecond: Math.round(median(issued)),
    verdictPerSecond: Math.round(median(judged)),
    requests: size,
    rounds,
    caKey: 'ECDSAP256',
  };
}
