import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { defaultPolicy } from '../src/approver/policy.ts';
import { type Facts } from '../src/approver/facts.ts';
import { verdictOn } from '../src/approver/verdict.ts';
import { type ObservedRequest } from '../src/certificates/observed-request.ts';
import { type LivePod } from '../src/identity/live-pod.ts';
import { type LiveService } from '../src/identity/live-service.ts';
import { boundPodOf } from '../src/identity/requester.ts';
import { subjectNamesOf, wantedNames } from '../src/identity/wanted-names.ts';
import { entropy } from '../src/node/entropy.ts';
import { generateKey } from '../src/node/key-generator.ts';
import { buildCertificationRequest } from '../src/pki/certification-request.ts';
import { encodePem } from '../src/pki/pem.ts';
import { answerTo } from '../src/signer/handle.ts';
import { makeOwnCa } from '../src/signer/own-ca.ts';
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

/** As the signer makes it on first start: below a root, with name constraints. */
async function ownCa(): Promise<SigningCa> {
  const moment = { now: new Date(), backDateMs: 300_000 };
  const world = { generateKey, randomBytes: entropy };
  return readSigningCa(await makeOwnCa(scope, moment, world), new Date());
}

/** Parsed, verified, held to the rules, signed, and written as the chain that the API gets. */
function issue({ request }: Pair, ca: SigningCa): void {
  const limits = { defaultLifetimeMs: dayMs, maximumLifetimeMs: 90 * dayMs, backDateMs: 300_000 };
  const moment = { now: new Date(), serial: entropy(16) };
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

/** What OpenSSL alone needs for them: a key read, a signature verified, and one made. */
function bounds(): Readonly<Record<'issue' | 'judge', Work>> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const data = randomBytes(600);
  const signature = sign('sha256', data, privateKey);
  const judge = (): boolean => verify('sha256', data, createPublicKey(pem), signature);
  return { issue: () => judge() && sign('sha256', data, privateKey), judge };
}

type Work = (pair: Pair, ca: SigningCa) => unknown;

/** How often a second of CPU time (user and system, every thread of the process) is enough. */
function perSecond(pairs: readonly Pair[], work: Work, ca: SigningCa): number {
  const before = process.cpuUsage();
  for (const pair of pairs) work(pair, ca);
  const { user, system } = process.cpuUsage(before);
  return pairs.length / ((user + system) / 1e6);
}

/** Until everything is compiled, as in a signer that has been up for a while. */
const warmUpRounds = 4;

/** CPU time is measured, because wall time also measures who else uses the machine. */
export async function benchSigner(say: (line: string) => void): Promise<object> {
  const rounds = Number(process.env['BENCH_ROUNDS'] ?? 21);
  const size = Number(process.env['BENCH_REQUESTS'] ?? 2000);
  const pairs: Pair[] = [];
  // Each has a key of its own: nothing can be had from the one before.
  for (let index = 0; index < size; index++) pairs.push(await pairOf(index));
  const ca = await ownCa();
  const bound = bounds();
  const work = {
    issuePerSecond: issue,
    verdictPerSecond: judge,
    issueBoundPerSecond: bound.issue,
    verdictBoundPerSecond: bound.judge,
  };
  const seen = Object.fromEntries(Object.keys(work).map((name) => [name, [] as number[]]));
  for (let round = 1 - warmUpRounds; round <= rounds; round++)
    for (const [name, each] of Object.entries(work)) {
      const figure = perSecond(pairs, each, ca);
      say(`round ${round}: ${name} ${Math.round(figure)}`);
      if (round > 0) seen[name]?.push(figure);
    }
  const medians = Object.entries(seen).map(([name, all]) => [name, Math.round(median(all))]);
  return { ...(Object.fromEntries(medians) as object), requests: size, rounds };
}
