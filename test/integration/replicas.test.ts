import { deepEqual, equal, ok } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test, type TestContext } from 'node:test';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { createPod, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { namesOf, requestFor, sendRequest, type StoredRequest } from '../support/asking.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import {
  controllerSystem,
  removeNamespace,
  type ControllerName,
  type ControllerSystem,
  type RunningController,
} from '../support/controllers.ts';
import { requester } from '../support/requester.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
const { api } = plane;
const users = requester(plane.serverUrl, plane.caPem, '');
const shop = `shop-replicas-${randomBytes(4).toString('hex')}`;
const controllers = ['approver', 'signer'] as const;
const requestCount = 150;

let pods: readonly TestPod[] = [];

before(async () => {
  await prepareNamespace(api, shop);
  await api.must('POST', `/api/v1/namespaces/${shop}/services`, {
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
  });
  pods = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      createPod(api, { namespace: shop, name: `web-${index}`, labels: { app: 'web' } }),
    ),
  );
});
after(async () => {
  users.close();
  await removeNamespace(api, shop);
  api.close();
});

type Replicas = Readonly<Record<ControllerName, readonly RunningController[]>>;

interface Scene {
  readonly system: ControllerSystem;
  readonly signerName: string;
  readonly replicas: Replicas;
}

/** Two replicas of each program, ready, with a CA. */
async function scene(context: TestContext, lease: string): Promise<Scene> {
  const signerName = `test.podseal.dev/replicas-${randomBytes(4).toString('hex')}`;
  const system = await controllerSystem(plane, { signerNames: [signerName] });
  context.after(() => system.close());
  const two = (name: ControllerName): Promise<RunningController[]> => {
    // The requests of all these pods at once are more than three.
    const more = name === 'signer' ? { PODSEAL_MAX_OPEN_REQUESTS: '1000' } : {};
    const start = () => system.startInPod(name, { PODSEAL_LEASE: lease, ...more });
    return Promise.all([start(), start()]);
  };
  const replicas = { approver: await two('approver'), signer: await two('signer') };
  await Promise.all(system.running.map((each) => each.ready()));
  await system.bundle();
  for (const name of controllers) await leaderOf(replicas[name]);
  return { system, signerName, replicas };
}

function leaderOf(replicas: readonly RunningController[]): Promise<RunningController> {
  return until('a leader', async () => {
    for (const each of replicas)
      if (each.child.exitCode === null && (await each.metric('podseal_leader')) === 1) return each;
    return undefined;
  });
}

/** The other one of two. */
function standby(
  replicas: readonly RunningController[],
  leader: RunningController,
): RunningController {
  const other = replicas.find((each) => each !== leader);
  ok(other);
  return other;
}

/** Requests that are sent while the test goes on, and what was seen of them. */
interface Burst {
  readonly requests: ReadonlyMap<string, StoredRequest>;
  /** Waits until so many have a certificate. */
  issued(count: number): Promise<void>;
  /** Sends the second half, and waits until all have a certificate. */
  finish(): Promise<void>;
}

/** Sends the first half. */
function burst({ signerName }: Scene, count = requestCount): Burst {
  const requests = new Map<string, StoredRequest>();
  const send = async (index: number): Promise<void> => {
    const pod = pods[index % pods.length];
    ok(pod);
    const request = requestFor(namesOf(pod, 'web'));
    await sendRequest(users, { token: pod.token }, { signerName }, { request });
  };
  const half = (): Promise<unknown> =>
    Promise.all(Array.from({ length: count / 2 }, (_, index) => send(index)));
  const firstHalf = half();
  // Looked at in the end.
  firstHalf.catch(() => undefined);
  const query = `?fieldSelector=${encodeURIComponent(`spec.signerName=${signerName}`)}`;
  const path = `/apis/certificates.k8s.io/v1/certificatesigningrequests${query}`;
  const issued = (wanted: number): Promise<unknown> =>
    until(
      `${wanted} certificates`,
      async () => {
        const { items } = (await api.must('GET', path)) as { items: StoredRequest[] };
        for (const item of items) note(requests, item);
        const { length } = [...requests.values()].filter(isIssued);
        return length >= wanted;
      },
      90,
    );
  return {
    requests,
    async issued(wanted) {
      await issued(wanted);
    },
    async finish() {
      await half();
      await firstHalf;
      await issued(count);
    },
  };
}

const isIssued = ({ status }: StoredRequest): boolean => status.certificate !== undefined;

/** What was decided stays, and what was issued stays. */
function note(requests: Map<string, StoredRequest>, request: StoredRequest): void {
  const types = (request.status.conditions ?? []).map(({ type }) => type);
  ok(types.length <= 1, `${request.metadata.name} is ${types.join(' and ')}`);
  const before = requests.get(request.metadata.name);
  if (before?.status.certificate !== undefined)
    equal(request.status.certificate, before.status.certificate);
  requests.set(request.metadata.name, request);
}

/** Each certificate was stored once, and is the one that the log tells of. */
function checkIssued({ system }: Scene, { requests }: Burst): void {
  const lines = system.running.flatMap((each) => each.lines());
  const told = lines.filter(({ event }) => event === 'certificate.issued');
  const stored = [...requests.values()].map(({ metadata, status }) => {
    const pem = Buffer.from(status.certificate ?? '', 'base64').toString();
    return [metadata.name, certificatesFromPem(pem)[0]?.fingerprint];
  });
  const fingerprints = new Map(stored as [string, string][]);
  for (const { request, fingerprint } of told)
    equal(fingerprint, fingerprints.get(String(request)), String(request));
  equal(new Set(told.map(({ request }) => request)).size, told.length);
}

/** How many requests a replica decided about, or signed. */
function doneBy(replica: RunningController): number {
  const isDone = /^(request\.approved|certificate\.issued)$/;
  return replica.lines().filter(({ event }) => isDone.test(event)).length;
}

/** The sum over all replicas that run. */
async function total(
  { system }: Scene,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const alive = system.running.filter(
    ({ child }) => child.exitCode === null && child.signalCode === null,
  );
  const counts = await Promise.all(alive.map((each) => each.metric(name, labels)));
  return counts.reduce((sum, each) => sum + each, 0);
}

/** Milliseconds until the replica works, counted from `since`. */
async function takeover(next: RunningController, since: number): Promise<number> {
  await next.logged('leadership.gained', 60);
  return Date.now() - since;
}

describe('two replicas of each', () => {
  for (const name of controllers)
    test(`the leading ${name} is killed in a burst: another works within seconds, and nothing is lost`, async (context) => {
      const all = await scene(context, '2s');
      const leader = await leaderOf(all.replicas[name]);
      const next = standby(all.replicas[name], leader);
      const flood = burst(all);
      await flood.issued(20);
      const killedAt = Date.now();
      await leader.kill();
      const [tookOverMs] = await Promise.all([takeover(next, killedAt), flood.finish()]);
      checkIssued(all, flood);
      const inVain = await total(all, 'podseal_signer_in_vain_total');
      context.diagnostic(`took over after ${tookOverMs} ms; signed in vain: ${inVain}`);
      ok(tookOverMs < 10_000, `${tookOverMs} ms`);
      // Those that were under way when it was killed, at most: one for each worker.
      ok(inVain <= 32, `${inVain} signed in vain`);
      ok(doneBy(leader) > 0 && doneBy(next) > 0, 'both had a part');
    });

  for (const name of controllers)
    test(`the leading ${name} is told to end in a burst: it hands over before its lease ends`, async (context) => {
      const all = await scene(context, '20s');
      const leader = await leaderOf(all.replicas[name]);
      const next = standby(all.replicas[name], leader);
      const flood = burst(all);
      await flood.issued(20);
      const toldAt = Date.now();
      const [tookOverMs, exitCode] = await Promise.all([
        takeover(next, toldAt),
        leader.stop(),
        flood.finish(),
      ]);
      equal(exitCode, 0);
      context.diagnostic(`handed over after ${tookOverMs} ms`);
      ok(tookOverMs < 15_000, `${tookOverMs} ms`);
      checkIssued(all, flood);
      ok(doneBy(leader) > 0 && doneBy(next) > 0, 'both had a part');
    });

  for (const name of controllers)
    test(`the leading ${name} is frozen for longer than its lease: then it stands by, and nothing is issued twice`, async (context) => {
      const all = await scene(context, '2s');
      const leader = await leaderOf(all.replicas[name]);
      const next = standby(all.replicas[name], leader);
      const flood = burst(all);
      await flood.issued(20);
      leader.child.kill('SIGSTOP');
      const wake = async (): Promise<void> => {
        await next.logged('leadership.gained', 60);
        await until('the other to work', () => doneBy(next) > 0);
        leader.child.kill('SIGCONT');
        await leader.logged('leadership.lost');
      };
      await Promise.all([wake(), flood.finish()]);
      checkIssued(all, flood);
      // Whichever it is.
      await until('one leader', async () => {
        const both = all.replicas[name].map((each) => each.metric('podseal_leader'));
        return (await Promise.all(both)).reduce((sum, each) => sum + each, 0) === 1;
      });
    });

  test('a lease that whoever installs has made is taken, handed over and keeps its marks', async (context) => {
    const signerName = `test.podseal.dev/replicas-${randomBytes(4).toString('hex')}`;
    const system = await controllerSystem(plane, { signerNames: [signerName] });
    context.after(() => system.close());
    const leases = `/apis/coordination.k8s.io/v1/namespaces/${system.namespace}/leases`;
    const marks = { labels: { part: 'of-it' }, annotations: { 'last-applied': 'so' } };
    await api.must('POST', leases, { metadata: { name: 'podseal-approver', ...marks } });
    const read = async () =>
      (await api.must('GET', `${leases}/podseal-approver`)) as {
        metadata: typeof marks;
        spec: { holderIdentity?: string; renewTime?: string };
      };
    const renewals = async (): Promise<void> => {
      const times = new Set<string>();
      await until('renewals', async () => times.add((await read()).spec.renewTime ?? '').size > 3);
    };
    const first = await system.start('approver', { PODSEAL_LEASE: '2s' });
    await leaderOf([first]);
    await renewals();
    await first.stop();
    equal((await read()).spec.holderIdentity, undefined);
    await leaderOf([await system.start('approver', { PODSEAL_LEASE: '2s' })]);
    await renewals();
    const { labels, annotations } = (await read()).metadata;
    deepEqual({ labels, annotations }, marks);
  });

  for (const lease of ['6s', 'off'])
    test(`every request is issued once with PODSEAL_LEASE=${lease}`, async (context) => {
      const all = await scene(context, lease);
      const calls = (labels = {}) => total(all, 'podseal_controller_api_requests_total', labels);
      const [callsBefore, conflictsBefore] = [await calls(), await calls({ status: '409' })];
      const startedAt = Date.now();
      const flood = burst(all);
      await flood.finish();
      const seconds = (Date.now() - startedAt) / 1000;
      checkIssued(all, flood);
      const perCertificate = ((await calls()) - callsBefore) / requestCount;
      const conflicts = (await calls({ status: '409' })) - conflictsBefore;
      const inVain = await total(all, 'podseal_signer_in_vain_total');
      context.diagnostic(
        `PODSEAL_LEASE=${lease}: ${JSON.stringify({ requestCount, seconds, perCertificate, conflicts, inVain })}`,
      );
      equal(await total(all, 'podseal_signer_certificates_total'), requestCount);
      if (lease !== 'off') equal(inVain, 0);
    });
});
