import { deepEqual, equal, notEqual, ok } from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { restartPart, type NodePart } from '../cluster/node.ts';
import { podsealImage } from '../cluster/podseal-image.ts';
import {
  agentOf,
  isReady,
  killContainer,
  podsIn,
  requestsOf,
  settled,
  type Pod,
  type Request,
} from '../support/live-pods.ts';
import {
  nodeObstacle,
  nodeScene,
  podsealNamespace as system,
  type NodeScene,
} from '../support/node-scene.ts';
import {
  clientProgram,
  linesWith,
  perSecond,
  serverContainer,
  type Counts,
  type Seen,
  type Taken,
} from '../support/pod-traffic.ts';
import { shortLivedCas, type StoredCa } from '../support/short-lived-ca.ts';
import { until } from '../support/until.ts';

/**
 * What happens to pods in a life, on a real node, and what the agent costs them. Beneath most of it clients
 * connect a hundred times a second, while certificates live for two minutes and the root is replaced.
 * The tests build on one another.
 */

/**
 * Everything that takes minutes in a cluster, in the same proportion: the kubelet hands a bundle on within
 * 15 s rather than 90, and a new root has 20 s to get around rather than 120.
 */
const syncFrequency = '10s';
const settleSeconds = 20;
/** Certificates are not valid beyond their issuer, and renewed between one half and two thirds of that. */
const caLifetimeMs = 120_000;
const caGapMs = 20_000;
/** The third CA is below another root. */
const newRootAt = 2;
const trafficMs = 150_000;

const namespace = 'life';
/** There, while clients connect: alone, again, db-0, idle, and two of web. */
const podCount = 6;
const traffic = 'traffic';

describe('the life of a pod', { skip: nodeObstacle, timeout: 600_000 }, () => {
  let node: NodeScene;

  before(
    async () => {
      node = await nodeScene({ syncFrequency });
      await node.kubectl('apply', '-k', 'deploy/');
      await node.kubectl(
        ...['set', 'env', 'deployment/podseal-signer', '-n', system],
        `PODSEAL_CA_SETTLE=${settleSeconds}s`,
      );
      await node.installPodseal();
      await node.injectInto(namespace);
    },
    { timeout: 240_000 },
  );

  after(() => (node as NodeScene | undefined)?.end());

  const pods = (of: string): string => `/api/v1/namespaces/${of}/pods`;

  const createPod = (
    name: string,
    container: Readonly<Record<string, unknown>> = {},
    metadata: Readonly<Record<string, unknown>> = {},
    of = namespace,
  ): Promise<Pod> =>
    node.api.must('POST', pods(of), {
      metadata: { name, ...metadata },
      spec: podSpec(container),
    }) as Promise<Pod>;

  const logOf = (of: string, name: string): Promise<string> =>
    node.kubectl('logs', name, '-n', of, '-c=app');

  const readPod = async (name: string): Promise<Pod> =>
    (await node.api.must('GET', `${pods(namespace)}/${name}`)) as Pod;

  const readyPod = (name: string): Promise<Pod> =>
    until(
      `pod ${name} to be ready`,
      async () => {
        const pod = await readPod(name);
        return isReady(pod) && pod;
      },
      120,
    );

  async function gone(path: string): Promise<void> {
    await until(
      `${path} to be gone`,
      async () => (await node.api.request('GET', path)).status === 404,
      90,
    );
  }

  /** What the application of a pod finds. */
  async function facts({ metadata }: Pod): Promise<Facts> {
    const { name } = metadata;
    const inside = ['exec', name, '-n', namespace, '-c', 'app', '--', 'node', '-p', factsProgram];
    return JSON.parse(await node.kubectl(...inside)) as Facts;
  }

  describe('what the agent costs', () => {
    test('the time until the application starts', async (context) => {
      const started: Record<'with' | 'without', number[]> = { with: [], without: [] };
      // In turn, so that what else the machine does hits both.
      for (let i = 0; i < 5; i++)
        for (const how of ['with', 'without'] as const) {
          const name = `${how}-${i}`;
          const appliedAt = Date.now();
          const label = { 'podseal.dev/inject': how === 'with' ? 'true' : 'false' };
          await createPod(name, { command: ['node', '-p', startProgram] }, { labels: label });
          const startedAt = await until(
            `a line of ${name}`,
            async () => Number(await logOf(namespace, name).catch(() => '')) || undefined,
            60,
          );
          started[how].push(startedAt - appliedAt);
          await node.api.must('DELETE', `${pods(namespace)}/${name}?gracePeriodSeconds=0`);
          await gone(`${pods(namespace)}/${name}`);
        }
      const [withAgent, without] = [median(started.with), median(started.without)];
      say(context, 'from apply to the start of the application, without', `${without} ms`);
      say(context, 'with the agent', `${withAgent} ms, ${withAgent - without} ms more`);
      say(context, 'each', JSON.stringify(started));
      ok(withAgent - without < 10_000);
    });

    test('a pod is left alone for a minute', async () => {
      await createPod('idle');
      await readyPod('idle');
      await until('the kubelet to know what it uses', agentUsage, 60);
      idleSince = await agentUsage();
    });
  });

  let idleSince: Usage | undefined;

  /** What the kubelet measured of the agent of the idle pod. */
  async function agentUsage(): Promise<Usage | undefined> {
    const { pods: measured } = (await node.api.must(
      'GET',
      '/api/v1/nodes/node-1/proxy/stats/summary',
    )) as {
      pods: readonly {
        podRef: { name: string; namespace: string };
        containers?: readonly {
          name: string;
          cpu?: { time: string; usageCoreNanoSeconds?: number };
          memory?: { workingSetBytes?: number };
        }[];
      }[];
    };
    const agent = measured
      .find(({ podRef }) => podRef.namespace === namespace && podRef.name === 'idle')
      ?.containers?.find(({ name }) => name === 'podseal');
    const { cpu, memory } = agent ?? {};
    if (cpu?.usageCoreNanoSeconds === undefined || !memory?.workingSetBytes) return undefined;
    return {
      at: Date.parse(cpu.time),
      cpuMs: cpu.usageCoreNanoSeconds / 1e6,
      bytes: memory.workingSetBytes,
    };
  }

  describe('while nobody approves', () => {
    const dead: Pod[] = [];
    const scaleApprover = (replicas: number): Promise<string> =>
      node.kubectl(
        ...['scale', 'deployment/podseal-approver', '-n', system, `--replicas=${replicas}`],
      );
    const asked = ({ metadata }: Pod) =>
      until(
        `a request of ${metadata.name}`,
        async () => {
          const requests = await requestsOf(node.api, metadata.uid);
          return requests.length > 0 && requests;
        },
        60,
      );

    test('an agent that is killed while it waits goes on with its request', async () => {
      await scaleApprover(0);
      await until(
        'the approvers to be gone',
        async () => {
          const path = `app.kubernetes.io/component=approver`;
          return (await podsIn(node.api, system, path)).length === 0;
        },
        60,
      );
      const [request, ...others] = await asked(await createPod('waits'));
      deepEqual(others, []);
      const before = agentOf(await readPod('waits'));
      killContainer(before);
      await until(
        'the agent to be back',
        async () => {
          const pod = await readPod('waits');
          const path = `${pods(namespace)}/waits:9809/proxy/status`;
          const { status, body } = await node.api.request('GET', path);
          const { pending } = body as { pending?: { request: string } | null };
          const isBack = agentOf(pod).restartCount > before.restartCount && status === 200;
          return isBack && pending?.request === request?.name;
        },
        60,
      );
      deepEqual(await asked(await readPod('waits')), [request]);
    });

    test('a pod that is created anew under its name asks anew', async () => {
      const first = await createPod('again');
      await asked(first);
      await node.kubectl('delete', 'pod', 'again', '-n', namespace);
      dead.push(first);
      const second = await createPod('again');
      notEqual(second.metadata.uid, first.metadata.uid);
      await asked(second);
    });

    test('a namespace goes while its pods wait', async () => {
      await node.injectInto('doomed');
      const doomed = [
        await createPod('one', {}, {}, 'doomed'),
        await createPod('two', {}, {}, 'doomed'),
      ];
      await Promise.all(doomed.map(asked));
      await node.kubectl('delete', 'namespace', 'doomed', '--timeout=90s');
      dead.push(...doomed);
    });

    test('then the living get their certificates, and the dead none', async () => {
      await scaleApprover(2);
      for (const name of ['waits', 'again']) {
        const requests = await requestsOf(node.api, (await readyPod(name)).metadata.uid);
        deepEqual(
          requests.map(({ standing }) => standing),
          ['issued'],
          name,
        );
      }
      for (const { metadata } of dead) {
        const standings = await until(`the end of the request of ${metadata.name}`, async () => {
          const requests = await requestsOf(node.api, metadata.uid);
          return requests.every(({ standing }) => standing !== 'pending') && requests;
        });
        for (const { standing } of standings) equal(standing, 'denied');
      }
      await node.api.must('DELETE', `${pods(namespace)}/waits?gracePeriodSeconds=1`);
    });
  });

  describe(`while ${perSecond} clients connect each second`, () => {
    const stop = new AbortController();
    let rotation: Promise<void>;
    let startedAt: number;

    before(
      async () => {
        // Before the rotation begins: these certificates live for a day, and nothing but a restart could change them.
        await createPod('alone');
        await node.api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
          metadata: { name: 'db' },
          spec: { clusterIP: 'None', selector: { app: 'db' }, ports: [{ port: 8443 }] },
        });
        const { spec, ...db } = deployment('db', 1);
        await node.api.must('POST', `/apis/apps/v1/namespaces/${namespace}/statefulsets`, {
          ...db,
          kind: 'StatefulSet',
          spec: { ...spec, serviceName: 'db' },
        });
        await node.api.must(
          'POST',
          `/apis/apps/v1/namespaces/${namespace}/deployments`,
          deployment('web', 2),
        );
        await settled(node.api, namespace, podCount);
        let isShort: () => void = () => undefined;
        const short = new Promise<void>((resolve) => (isShort = resolve));
        rotation = rotateCas(isShort);
        await Promise.race([short, rotation]);
        await node.injectInto(traffic);
        await node.api.must('POST', `/api/v1/namespaces/${traffic}/services`, {
          metadata: { name: 'server' },
          spec: { clusterIP: 'None', selector: { app: 'server' }, ports: [{ port: 8443 }] },
        });
        await node.api.must(
          'POST',
          `/apis/apps/v1/namespaces/${traffic}/deployments`,
          deployment('server', 3, serverContainer),
        );
        const servers = await settled(node.api, traffic, 3);
        const addresses = servers.map(({ status }) => status.podIP);
        const command = ['node', '-e', clientProgram, `server.${traffic}.svc`, ...addresses];
        await createPod('client', { command }, {}, traffic);
        await until(
          'an answer',
          async () => {
            const log = await node
              .kubectl('logs', 'client', '-n', traffic, '-c=app')
              .catch(() => '');
            return linesWith<Counts>(log, 'answered').some(({ answered }) => answered > 0);
          },
          60,
        );
        startedAt = Date.now();
      },
      { timeout: 180_000 },
    );

    after(async () => {
      stop.abort();
      await rotation;
    });

    /** Gives the signer one CA after the other; the third has another root. */
    async function rotateCas(onFirst: () => void): Promise<void> {
      let cas = await shortLivedCas('first');
      for (let i = 0; !stop.signal.aborted; i++) {
        if (i === newRootAt) cas = await shortLivedCas('second');
        const ca = await cas.next(caLifetimeMs);
        // The API server is restarted meanwhile.
        await until(
          'the CA to be stored',
          () =>
            storeCa(ca).then(
              () => true,
              () => false,
            ),
          60,
        );
        // Another one before it signs would begin the wait for its root anew.
        await until('the CA to sign', () => signs(ca).catch(() => false), 120);
        if (i === 0) onFirst();
        await sleep(caGapMs, undefined, { signal: stop.signal }).catch(() => undefined);
      }
    }

    async function storeCa({ certificate, key, root }: StoredCa): Promise<void> {
      const data = {
        'tls.crt': base64(certificate),
        'tls.key': base64(key),
        'ca.crt': base64(root),
      };
      const path = `/api/v1/namespaces/${system}/secrets/podseal-ca`;
      await node.api.must('PATCH', path, { data }, 'application/merge-patch+json');
    }

    async function signs(ca: StoredCa): Promise<boolean> {
      const path = `/api/v1/namespaces/${system}/configmaps/podseal-trust`;
      const { data } = (await node.api.must('GET', path)) as { data: Record<string, string> };
      return (data['signing-ca.crt'] ?? '').startsWith(ca.certificate);
    }

    /** Each pod, with what its application finds and what it asked for, by its name. */
    async function snapshot(): Promise<Readonly<Record<string, Snapshot>>> {
      const all = await settled(node.api, namespace, podCount);
      const entries = all.map(async (pod): Promise<[string, Snapshot]> => {
        const { name, uid } = pod.metadata;
        const requests = await requestsOf(node.api, uid);
        const { restartCount } = agentOf(pod);
        return [name, { uid, restartCount, requests, files: await facts(pod) }];
      });
      return Object.fromEntries(await Promise.all(entries));
    }

    test('an agent is killed: it keeps the certificate, and asks for none', async () => {
      const before = await snapshot();
      const pod = await readPod('db-0');
      killContainer(agentOf(pod));
      await until(
        'the agent to be back',
        async () => agentOf(await readPod('db-0')).restartCount > 0,
      );
      const { 'db-0': killed, ...others } = before;
      deepEqual(await snapshot(), { ...others, 'db-0': { ...killed, restartCount: 1 } });
    });

    for (const part of ['containerd', 'kubelet', 'kube-apiserver'] satisfies NodePart[])
      test(`${part} crashes: nothing changes, and new pods get certificates`, async (context) => {
        const before = await snapshot();
        const crashedAt = Date.now();
        await restartPart(node.directory, part, node.api);
        say(context, 'back after', `${Date.now() - crashedAt} ms`);
        const name = `after-${part}`;
        // What the API server calls for each new pod has just lost it too.
        const { metadata } = await createPod(name);
        await readyPod(name);
        say(context, 'a new pod was ready after', `${Date.now() - crashedAt} ms`);
        await node.kubectl('delete', 'pod', name, '-n', namespace);
        deepEqual(await snapshot(), before);
        await noneWaits(metadata.uid);
      });

    const noneWaits = async (uid: string): Promise<void> => {
      const standings = (await requestsOf(node.api, uid)).map(({ standing }) => standing);
      deepEqual(
        standings.filter((each) => each === 'pending' || each === 'approved'),
        [],
      );
    };

    for (const name of ['db-0', 'alone'])
      test(`${name} is deleted and created anew: another certificate, for the new pod`, async () => {
        const { [name]: before } = await snapshot();
        ok(before);
        await node.kubectl('delete', 'pod', name, '-n', namespace);
        if (name === 'alone') await createPod(name);
        await until(`another pod ${name}`, async () => {
          const { body } = await node.api.request('GET', `${pods(namespace)}/${name}`);
          return ((body as Partial<Pod>).metadata?.uid ?? before.uid) !== before.uid;
        });
        const { [name]: after } = await snapshot();
        ok(after);
        const { serial, ...access } = before.files;
        notEqual(after.files.serial, serial);
        deepEqual(after.files, { ...access, serial: after.files.serial });
        deepEqual(await requestsOf(node.api, before.uid), before.requests);
      });

    test('a Deployment is rolled: every pod has a certificate of its own', async () => {
      const selector = 'app=web';
      const before = await podsIn(node.api, namespace, selector);
      await node.kubectl('rollout', 'restart', 'deployment/web', '-n', namespace);
      await node.rolledOut(namespace, 'web');
      const after = Object.values(await snapshot());
      equal(new Set(after.map(({ files }) => files.serial)).size, podCount);
      for (const { metadata } of before) {
        ok(after.every(({ uid }) => uid !== metadata.uid));
        await noneWaits(metadata.uid);
      }
    });

    test('no handshake failed, and each new certificate was served at once', async (context) => {
      await sleep(Math.max(0, startedAt + trafficMs - Date.now()));
      const log = await logOf(traffic, 'client');
      const seconds = (Date.now() - startedAt) / 1000;
      const counts = linesWith<Counts>(log, 'answered').at(-1);
      ok(counts);
      const { started, answered, failed, failures } = counts;
      say(context, 'connections', `${answered} in ${seconds.toFixed(0)} s`);
      deepEqual({ failed, failures }, { failed: 0, failures: [] });
      ok(started > perSecond * seconds * 0.95, `${started} were begun`);
      // The rest is under way: after ten seconds it would have failed.
      ok(answered > started - 10 * perSecond, `${answered} of ${started}`);

      const seen = linesWith<Seen>(log, 'seenAt');
      const delays: number[] = [];
      for (const { metadata, status } of await podsIn(node.api, traffic, 'app=server')) {
        const [, ...renewed] = linesWith<Taken>(await logOf(traffic, metadata.name), 'takenAt');
        const served = seen.filter(({ address }) => address === status.podIP);
        ok(renewed.length > 0, `${metadata.name} was renewed`);
        for (const { serial, writtenAt } of renewed) {
          const first = served.find((each) => each.serial === serial);
          ok(first, `nobody saw ${serial} of ${metadata.name}`);
          delays.push(first.seenAt - writtenAt);
        }
      }
      say(context, 'renewals', String(delays.length));
      // Of three pods, most of them twice.
      ok(delays.length > 3);
      say(
        context,
        'from a new file to the first client',
        `at most ${Math.max(...delays).toFixed(0)} ms`,
      );
      ok(Math.max(...delays) < 5_000);
      // Of both roots.
      deepEqual([...new Set(seen.map(({ issuer }) => issuer.split(' ')[0]))], ['first', 'second']);
    });
  });

  test('what an agent at rest costs: memory and processor', async (context) => {
    const before = idleSince;
    ok(before);
    const after = await until(
      'a minute to pass',
      async () => {
        await sleep(1_000);
        const usage = await agentUsage();
        return usage && usage.at - before.at >= 60_000 && usage;
      },
      120,
    );
    const cores = (after.cpuMs - before.cpuMs) / (after.at - before.at);
    say(context, 'memory of the agent', `${(after.bytes / 2 ** 20).toFixed(1)} MiB`);
    say(context, 'processor', `${(cores * 1000).toFixed(2)} m`);
    ok(after.bytes < 40e6);
    ok(cores < 0.05);
  });

  test('a namespace is deleted: nothing is stuck, and no request is left over', async () => {
    const all = await podsIn(node.api, namespace);
    await node.kubectl('delete', 'namespace', namespace, '--timeout=90s');
    for (const { metadata } of all) {
      const standings = (await requestsOf(node.api, metadata.uid)).map(({ standing }) => standing);
      deepEqual(
        standings.filter((each) => each === 'pending' || each === 'approved'),
        [],
      );
    }
  });
});

interface Snapshot {
  readonly uid: string;
  /** Of the agent's container. */
  readonly restartCount: number;
  readonly requests: readonly Request[];
  readonly files: Facts;
}

interface Usage {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly cpuMs: number;
  readonly bytes: number;
}

interface Facts {
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly serial: string;
}

const factsProgram = `
const { readFileSync, statSync } = require('node:fs');
const { mode, uid, gid } = statSync('/var/run/podseal/tls.key');
const { X509Certificate } = require('node:crypto');
const { serialNumber: serial } = new X509Certificate(readFileSync('/var/run/podseal/tls.crt'));
JSON.stringify({ mode: (mode & 0o777).toString(8), uid, gid, serial });
`;

/** When the process began, whatever Node itself takes. */
const startProgram = 'Math.round(performance.timeOrigin)';

function podSpec(container: Readonly<Record<string, unknown>>) {
  const forever = ['node', '-e', 'setInterval(() => undefined, 1e9)'];
  return {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'app', image: podsealImage, command: forever, ...container }],
  };
}

function deployment(
  name: string,
  replicas: number,
  container: Readonly<Record<string, unknown>> = {},
) {
  const labels = { app: name };
  return {
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec(container) },
    },
  };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function say(context: TestContext, what: string, figure: string): void {
  context.diagnostic(`${what}: ${figure}`);
}
