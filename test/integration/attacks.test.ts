import { deepEqual, equal, ok } from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { parseDenial } from '../../src/certificates/denial.ts';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import {
  certificatesFromPem,
  subjectNamesIn,
  type Certificate,
} from '../../src/pki/certificate.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import { keyPairOf, type KeyPair } from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { type TestPod } from '../cluster/pod.ts';
import { administrator } from '../support/administrator.ts';
import {
  conditionOf,
  namesOf,
  readRequest,
  sendRequest,
  type SentSpec,
  type StoredRequest,
} from '../support/asking.ts';
import {
  attackStage,
  impersonated,
  type AttackStage,
  type PodChanges,
} from '../support/attack-stage.ts';
import { newKey, tlsUsages } from '../support/certificate-builders.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { controllerSystem, type ControllerSystem } from '../support/controllers.ts';
import { type ApiUser } from '../support/requester.ts';
import {
  contentAttacks,
  sentAttacks,
  type Sent,
  type SentAttack,
} from '../support/sent-attacks.ts';
import { until } from '../support/until.ts';

/**
 * Each attack is sent to the real API server with the attacker's own credential, and judged by a
 * `podseal approver` that has the rights of examples/rbac; a `podseal signer` stands ready to sign.
 */

const plane = sharedControlPlane();
const { api } = plane;
const newSigner = (): string => `test.podseal.dev/attacks-${randomBytes(4).toString('hex')}`;
const merge = 'application/merge-patch+json';

let stage: AttackStage;
let system: ControllerSystem;
const signerName = newSigner();
/** The names of the requests that were sent, and the pods that had to do with them. */
const sentBy = new Map<SentAttack, Promise<{ readonly name: string; readonly pod: TestPod }>>();

before(async () => {
  stage = await attackStage(plane);
  system = await controllerSystem(plane, { signerNames: [signerName] });
  await system.start('approver');
  // So many requests of a pod would be removed before anybody looked.
  await system.start('signer', { PODSEAL_MAX_OPEN_REQUESTS: '1000' });
  await Promise.all(system.running.map((each) => each.ready()));
  await system.bundle();
  const pods = { shop: await stage.pod('shop'), evil: await stage.pod('evil') };
  // Those that have ten seconds for it first.
  for (const isUrgent of [true, false]) {
    const next = sentAttacks.filter(({ meanwhile }) => (meanwhile !== undefined) === isUrgent);
    for (const attack of next) sentBy.set(attack, launch(attack, pods));
    await Promise.allSettled(sentBy.values());
  }
});
after(async () => {
  await system.close();
  await stage.close();
  api.close();
});

async function launch(
  { from = 'shop', pod: changes, as, meanwhile, sent = {} }: SentAttack,
  pods: Readonly<Record<'shop' | 'evil', TestPod>>,
): Promise<{ readonly name: string; readonly pod: TestPod }> {
  const pod = changes ? await stage.pod(from, changes) : pods[from];
  const user = (await as?.(stage, pod)) ?? { token: pod.token };
  await meanwhile?.(stage, pod);
  return { name: await send(user, pod, sent, signerName), pod };
}

/** The pod's own names and what is asked besides. */
function askedNames(pod: TestPod, more: Partial<SubjectNames>): SubjectNames {
  const [own, filled] = [namesOf(pod, 'web'), filledNames(more)];
  return {
    dnsNames: [...own.dnsNames, ...filled.dnsNames],
    ipAddresses: filled.ipAddresses,
    uris: [...own.uris, ...filled.uris],
  };
}

/** With what the placeholders stand for. */
function filledNames(names: Partial<SubjectNames> = {}): SubjectNames {
  const filled = (texts: readonly string[] = []): string[] => texts.map((each) => stage.fill(each));
  return {
    dnsNames: filled(names.dnsNames),
    ipAddresses: filled(names.ipAddresses),
    uris: filled(names.uris),
  };
}

function send(user: ApiUser, pod: TestPod, sent: Sent, signer: string): Promise<string> {
  const { craft, commonName, usages, expirationSeconds, name } = sent;
  const content = {
    names: askedNames(pod, sent),
    commonName: commonName === undefined ? undefined : stage.fill(commonName),
    usages: tlsUsages,
  };
  const request =
    craft?.(namesOf(pod, 'web')) ??
    encodePem('CERTIFICATE REQUEST', buildCertificationRequest(content, newKey()));
  const spec: SentSpec = {
    signerName: signer,
    ...(usages && { usages }),
    ...(expirationSeconds !== undefined && { expirationSeconds }),
  };
  return sendRequest(stage.users, user, spec, { request, ...(name !== undefined && { name }) });
}

async function eventOf(pod: TestPod, reason: string): Promise<string | undefined> {
  const selector = encodeURIComponent(`involvedObject.uid=${pod.uid},reason=${reason}`);
  const path = `/api/v1/namespaces/${pod.namespace}/events?fieldSelector=${selector}`;
  const { items } = (await api.must('GET', path)) as { items: { message: string }[] };
  return items[0]?.message;
}

function valueOf({ value }: SentAttack, pod: TestPod): string | undefined {
  return value === undefined
    ? undefined
    : stage.fill(typeof value === 'string' ? value : value(pod));
}

/** The message names the rule and the value, in a form that programs can take apart. */
function checkMessage(message: string, attack: SentAttack, pod: TestPod): void {
  const denial = parseDenial(message);
  ok(denial, message);
  const rules = attack.rule.split(' or ');
  const value = valueOf(attack, pod);
  ok(
    denial.reasons.some((each) => rules.includes(each.rule) && each.value === value),
    `${attack.rule} ${JSON.stringify(value)} is not in:\n${message}`,
  );
}

function isSettled(request: StoredRequest | undefined): boolean {
  return (request?.status.conditions ?? []).length > 0;
}

describe('an attack', { concurrency: 8 }, () => {
  for (const attack of sentAttacks)
    test(`by ${attack.who}: ${attack.what}`, async () => {
      const sent = await sentBy.get(attack);
      ok(sent);
      const { name, pod } = sent;
      if (attack.waits) {
        const event = await until('an Event', () => eventOf(pod, 'CertificateWaiting'), 60);
        const [head, ...lines] = event.split('\n');
        equal(head, `Waiting ${name}:`);
        checkMessage(lines.join('\n'), attack, pod);
        equal(isSettled(await readRequest(api, name)), false);
        return;
      }
      const request = await until('a verdict', async () => {
        const read = await readRequest(api, name);
        return isSettled(read) && read;
      });
      const message = conditionOf(request, 'Denied');
      ok(message !== undefined, JSON.stringify(request.status));
      checkMessage(message, attack, pod);
    });
});

test('no attack was approved, none got a certificate, and each rule was broken that can be', async () => {
  const requests = await Promise.all(
    [...sentBy.values()].map(async (sent) => readRequest(api, (await sent).name)),
  );
  const granted = requests.filter(
    (each) => conditionOf(each, 'Approved') !== undefined || each?.status.certificate !== undefined,
  );
  deepEqual(granted, []);
  ok(requests.length > 250, `${requests.length} requests`);
});

test('a request for a signer name of others is left alone', async () => {
  const pod = await stage.pod('shop');
  const [foreign, own] = [
    await send({ token: pod.token }, pod, { dnsNames: ['google.com'] }, newSigner()),
    await send({ token: pod.token }, pod, { dnsNames: ['google.com'] }, signerName),
  ];
  await until('a verdict on the other', async () => isSettled(await readRequest(api, own)));
  equal(isSettled(await readRequest(api, foreign)), false);
});

describe('a person who approves all the same', () => {
  test('gets no certificate for what no certificate may say', async (context) => {
    const careless = newSigner();
    const own = await controllerSystem(plane, { signerNames: [careless] });
    context.after(() => own.close());
    const signer = await own.start('signer', { PODSEAL_MAX_OPEN_REQUESTS: '1000' });
    await own.bundle();
    const pod = await stage.pod('shop');
    const person = administrator(api, careless);
    await Promise.all(
      contentAttacks.map(async (attack) => {
        const name = await send({ token: pod.token }, pod, attack.sent ?? {}, careless);
        await person.decide(name, 'Approved');
        const request = await until('an end', async () => {
          const read = await readRequest(api, name);
          return read?.status.conditions?.length === 2 && read;
        });
        checkMessage(conditionOf(request, 'Failed') ?? '', attack, pod);
        equal(request.status.certificate, undefined);
      }),
    );
    equal(await signer.metric('podseal_signer_certificates_total'), 0);
  });
});

interface Honest {
  readonly what: string;
  readonly pod?: PodChanges;
  /** Besides the names of Service `web`; instead of them when `alone`. */
  readonly asks?: Partial<SubjectNames>;
  readonly alone?: true;
  readonly key?: () => KeyPair;
  readonly spec?: Partial<SentSpec>;
  readonly commonName?: string;
  readonly as?: (pod: TestPod) => ApiUser;
  readonly inPem?: (pem: string) => string;
  /** When it has waited for it. */
  readonly later?: (pod: TestPod) => Promise<void>;
}

const statefulSet = { nodeName: 'node-1', hostname: 'db-0', subdomain: 'db' };

const honest: readonly Honest[] = [
  { what: 'the names of its Service' },
  { what: 'its address', asks: { ipAddresses: ['10.97.0.10'] } },
  { what: 'the cluster IP of its Service', asks: { ipAddresses: ['{web-ip}'] } },
  {
    what: 'a headless Service',
    asks: { dnsNames: ['db.{shop}.svc', 'db.{shop}.svc.cluster.local'] },
  },
  {
    what: 'the hostname of a StatefulSet',
    pod: { spec: statefulSet },
    asks: {
      dnsNames: ['db.{shop}.svc', 'db-0.db.{shop}.svc', 'db-0.db.{shop}.svc.cluster.local'],
    },
  },
  {
    what: 'a client that belongs to no Service',
    pod: { labels: {} },
    alone: true,
    asks: {
      ipAddresses: ['10.97.0.10'],
      uris: ['spiffe://cluster.local/ns/{shop}/sa/default'],
    },
  },
  {
    what: 'both addresses of a dual-stack pod',
    pod: { podIPs: ['10.97.0.30', 'fd00:97::30'] },
    asks: { ipAddresses: ['10.97.0.30', 'fd00:97::30'] },
  },
  {
    what: 'both cluster IPs of a dual-stack Service',
    asks: {
      dnsNames: ['dual.{shop}.svc'],
      ipAddresses: ['{dual-ip}', '{dual-ip-2}'],
    },
  },
  {
    what: 'a pod in the network of its node: the names and addresses of its Service',
    pod: { podIPs: ['{node-ip}'], spec: { nodeName: 'node-1', hostNetwork: true } },
    asks: { ipAddresses: ['{web-ip}'] },
  },
  { what: 'a common name that is one of its names', commonName: 'web.{shop}.svc' },
  { what: 'a key P-384', key: () => keyPairOf(ec('P-384')) },
  { what: 'a key Ed25519', key: () => keyPairOf(generateKeyPairSync('ed25519').privateKey) },
  {
    what: 'an RSA key that enciphers keys',
    key: () => keyPairOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
    spec: { usages: [...tlsUsages, 'key encipherment'] },
  },
  { what: 'a client alone', spec: { usages: ['client auth'] } },
  { what: 'ninety days', spec: { expirationSeconds: 90 * 86_400 } },
  { what: 'lines that end as on Windows', inPem: (pem) => pem.replaceAll('\n', '\r\n') },
  { what: 'an administrator who tells the truth about a pod', as: (pod) => impersonated(pod) },
  {
    what: 'a token of a cluster that does not tell the node',
    as: (pod) => impersonated(pod, { claims: { 'node-name': [] } }),
  },
  {
    what: 'a Service that is made after the request',
    pod: { labels: { app: 'late' } },
    alone: true,
    asks: { dnsNames: ['late.{shop}.svc', 'late.{shop}.svc.cluster.local'] },
    later: ({ namespace }) =>
      stage.edit(`/api/v1/namespaces/${namespace}/services`, {
        metadata: { name: 'late' },
        spec: { selector: { app: 'late' }, ports: [{ port: 443 }] },
      }),
  },
  {
    what: 'a Service whose selector comes to mean the pod',
    pod: { labels: { app: 'web', role: 'leader' } },
    asks: { dnsNames: ['leader.{shop}.svc'] },
    later: async ({ namespace }) => {
      const path = `/api/v1/namespaces/${namespace}/services/leader`;
      await api.must('PATCH', path, { spec: { selector: { role: 'leader' } } }, merge);
    },
  },
  {
    what: 'a label that comes to the pod after the request',
    pod: { labels: { app: 'web' } },
    asks: { dnsNames: ['promoted.{shop}.svc'] },
    later: async (pod) => {
      const labels = { metadata: { labels: { role: 'promoted' } } };
      await api.must('PATCH', podPath(pod), labels, merge);
    },
  },
  {
    what: 'an address that is reported after the request',
    pod: { podIPs: [] },
    asks: { ipAddresses: ['10.97.0.31'] },
    later: async (pod) => {
      const status = { podIP: '10.97.0.31', podIPs: [{ ip: '10.97.0.31' }] };
      await api.must('PATCH', `${podPath(pod)}/status`, { status }, merge);
    },
  },
  {
    what: 'a pod that is scheduled after the request',
    pod: { spec: { nodeName: undefined }, podIPs: [], phase: 'Pending' },
    later: async (pod) => {
      const target = { apiVersion: 'v1', kind: 'Node', name: 'node-1' };
      await api.must('POST', `${podPath(pod)}/binding`, { metadata: { name: pod.name }, target });
    },
  },
];

function podPath(pod: TestPod): string {
  return `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
}

function ec(namedCurve: string): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

/** Sends it, gives it what it waits for, and resolves to its certificate and the milliseconds that this took. */
async function certificateFor(
  each: Honest,
): Promise<{ readonly certificate: Certificate; readonly asked: SubjectNames; ms: number }> {
  const pod = await stage.pod('shop', each.pod);
  const asked = each.alone ? filledNames(each.asks) : askedNames(pod, { ...each.asks });
  const commonName = each.commonName === undefined ? undefined : stage.fill(each.commonName);
  const content = { names: asked, commonName, usages: [] };
  const key = each.key?.() ?? newKey();
  const pem = encodePem('CERTIFICATE REQUEST', buildCertificationRequest(content, key));
  const user = each.as?.(pod) ?? { token: pod.token };
  const request = each.inPem?.(pem) ?? pem;
  const name = await sendRequest(stage.users, user, { signerName, ...each.spec }, { request });
  if (each.later) {
    await until('it to wait', () => eventOf(pod, 'CertificateWaiting'), 60);
    equal(isSettled(await readRequest(api, name)), false);
  }
  const startedAt = Date.now();
  await each.later?.(pod);
  const issued = await until(
    'a certificate',
    async () => {
      const read = await readRequest(api, name);
      equal(conditionOf(read, 'Denied'), undefined);
      return read?.status.certificate;
    },
    60,
  );
  const [certificate] = certificatesFromPem(Buffer.from(issued, 'base64').toString());
  ok(certificate);
  deepEqual(certificate.publicKeyDer, key.publicKeyDer);
  return { certificate, asked, ms: Date.now() - startedAt };
}

describe('an honest pod gets a certificate', { concurrency: 4 }, () => {
  for (const each of honest)
    test(each.what, async (context) => {
      const { certificate, asked, ms } = await certificateFor(each);
      deepEqual(subjectNamesIn(certificate), asked);
      if (each.later) context.diagnostic(`${ms} ms after that`);
      // Looked at again after 15 s at the latest; what is watched is seen at once.
      ok(ms < 30_000, `${ms} ms`);
    });
});
