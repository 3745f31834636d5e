import { deepEqual, equal, ok } from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { tagImage } from '../cluster/node.ts';
import { podsealImage } from '../cluster/podseal-image.ts';
import { agentOf, podsIn, requestsOf, settled, type Pod } from '../support/live-pods.ts';
import {
  nodeObstacle,
  nodeScene,
  podsealNamespace as system,
  type NodeScene,
} from '../support/node-scene.ts';
import { serverContainer, serverPort } from '../support/pod-traffic.ts';
import { until } from '../support/until.ts';

/**
 * From one version to the next and away again, on a real node, beneath pods that serve TLS all the time.
 * The version before is this one under another name: its agents, controllers and manifests are those of now.
 * The tests build on one another.
 */

const root = join(import.meta.dirname, '../..');
const [, version = ''] = podsealImage.split(':');
const versionBefore = '0.0.9';
const namespace = 'shop';
/** Created one after the other while the injector is rolled, at least. */
const duringCount = 20;

describe('upgrade and uninstallation', { skip: nodeObstacle, timeout: 600_000 }, () => {
  let node: NodeScene;
  let objectsBefore: ReadonlySet<string>;
  let visits: Visits;

  before(
    async () => {
      node = await nodeScene({ syncFrequency: '10s' });
      await tagImage(node.directory, `library/${podsealImage}`, `library/podseal:${versionBefore}`);
      objectsBefore = await objects();
      await apply(versionBefore);
      await node.injectInto(namespace);
      await node.api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
        metadata: { name: 'web' },
        spec: { selector: { app: 'web' }, ports: [{ port: 443, targetPort: serverPort }] },
      });
      await node.api.must('POST', `/apis/apps/v1/namespaces/${namespace}/deployments`, web);
      visits = visit(await settled(node.api, namespace, 2), await bundle());
    },
    { timeout: 240_000 },
  );

  after(async () => {
    await (visits as Visits | undefined)?.stop();
    await (node as NodeScene | undefined)?.end();
  });

  /** deploy/ as it is for this version: the one line that people edit. */
  function manifests(tag: string): string {
    const copy = join(node.directory, `manifests-${tag}`);
    for (const folder of ['deploy', 'examples/rbac', 'examples/admission'])
      cpSync(join(root, folder), join(copy, folder), { recursive: true });
    const file = join(copy, 'deploy/kustomization.yaml');
    const text = readFileSync(file, 'utf8');
    ok(text.includes(`newTag: ${version}\n`));
    writeFileSync(file, text.replace(`newTag: ${version}\n`, `newTag: ${tag}\n`));
    return join(copy, 'deploy');
  }

  async function apply(tag: string): Promise<void> {
    await node.kubectl('apply', '-k', manifests(tag));
    const names = ['approver', 'signer', 'injector'];
    await Promise.all(names.map((name) => node.rolledOut(system, `podseal-${name}`)));
  }

  async function bundle(): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/configmaps/podseal-trust`;
    const { data } = (await node.api.must('GET', path)) as { data: Record<string, string> };
    return data['ca.crt'] ?? '';
  }

  /** Every object of the cluster but what comes and goes by itself: kind, namespace, name. */
  async function objects(): Promise<ReadonlySet<string>> {
    const kinds = await node.kubectl('api-resources', '--verbs=list', '-o', 'name');
    const passing = [
      ...['events', 'events.events.k8s.io', 'componentstatuses'],
      // Kubernetes itself removes those that are finished, and addresses with their Services.
      'certificatesigningrequests.certificates.k8s.io',
      'ipaddresses.networking.k8s.io',
    ];
    const lasting = kinds.split('\n').filter((kind) => kind !== '' && !passing.includes(kind));
    const line = '{{.kind}} {{or .metadata.namespace "-"}} {{.metadata.name}}{{"\\n"}}';
    const template = `-o=go-template={{range .items}}${line}{{end}}`;
    const list = await node.kubectl('get', lasting.join(','), '-A', '--ignore-not-found', template);
    return new Set(list.split('\n').filter((each) => each !== ''));
  }

  const renew = (value: string): Promise<string> =>
    node.kubectl(
      ...['annotate', 'pods', '-l', 'app=web', '-n', namespace, '--overwrite'],
      `podseal.dev/renew=${value}`,
    );

  test('an upgrade while pods run, renew and are created', async (context) => {
    const running = await podsIn(node.api, namespace, 'app=web');
    const serials = visits.serials();
    const done = new AbortController();
    const creating = createPods(done.signal);
    await renew('during-the-upgrade');
    const startedAt = Date.now();
    await apply(version).finally(() => done.abort());
    say(context, 'from apply to all rolled out', `${(Date.now() - startedAt) / 1000} s`);
    const created = await creating;

    const injected = created.filter(({ metadata }) => metadata.labels?.['podseal.dev/agent']);
    say(context, 'pods created meanwhile', `${created.length}, injected: ${injected.length}`);
    equal(injected.length, created.length);
    const images = Map.groupBy(injected, agentImage);
    for (const [image, pods] of images) say(context, `with ${image}`, String(pods.length));
    // The application starts when its agent has a certificate, and ends at once.
    await until(
      'each of them to end well',
      async () => {
        const phases = (await podsIn(node.api, namespace, 'app=during')).map(
          ({ status }) => status.phase,
        );
        return phases.length === created.length && phases.every((phase) => phase === 'Succeeded');
      },
      180,
    );
    await until(
      'new certificates',
      () => visits.serials().every((each) => !serials.includes(each)),
      60,
    );

    const now = await podsIn(node.api, namespace, 'app=web');
    deepEqual(now.map(identity).sort(), running.map(identity).sort());
    for (const pod of now) {
      equal(agentOf(pod).restartCount, 0);
      equal(agentImage(pod), `podseal:${versionBefore}`);
      const requests = await requestsOf(node.api, pod.metadata.uid);
      deepEqual(
        requests.map(({ standing }) => standing),
        ['issued', 'issued'],
      );
    }
  });

  /**
   * Pods that end as soon as they have a certificate, until all is rolled out and the API server, which
   * keeps its connections, has met the new injector a few times.
   */
  async function createPods(rolledOut: AbortSignal): Promise<readonly Pod[]> {
    const pods: Pod[] = [];
    const isOver = (): boolean =>
      rolledOut.aborted &&
      pods.length >= duringCount &&
      pods.slice(-3).every((pod) => agentImage(pod) === podsealImage);
    for (const startedAt = Date.now(); !isOver();) {
      ok(Date.now() - startedAt < 120_000, 'the new injector has answered within two minutes');
      const pod = await node.api.must('POST', `/api/v1/namespaces/${namespace}/pods`, {
        metadata: { generateName: 'during-', labels: { app: 'during' } },
        spec: {
          restartPolicy: 'Never',
          containers: [{ name: 'app', image: podsealImage, command: ['node', '-p', '1'] }],
        },
      });
      pods.push(pod as Pod);
      await sleep(800);
    }
    return pods;
  }

  test('afterwards the new version renews for the agents of the old one', async () => {
    const serials = visits.serials();
    await renew('after-the-upgrade');
    await until(
      'new certificates',
      () => visits.serials().every((each) => !serials.includes(each)),
      60,
    );
    await node.kubectl('scale', 'deployment/web', '-n', namespace, '--replicas=3');
    await node.rolledOut(namespace, 'web');
    const images = (await podsIn(node.api, namespace, 'app=web')).map(agentImage);
    deepEqual(images.sort(), [
      ...[`podseal:${versionBefore}`, `podseal:${versionBefore}`],
      podsealImage,
    ]);
  });

  test('uninstalled, nothing is left but the key of the CA, and pods go on', async () => {
    const serials = visits.serials();
    const uninstall = ['delete', '-k', manifests(version), '--timeout=120s'];
    await node.kubectl(...uninstall, '--selector', '!podseal.dev/keep');
    // Whoever is deleted takes half a minute to end.
    await until(
      'the last of Podseal to end',
      async () => (await podsIn(node.api, system)).length === 0,
      60,
    );
    const others = new RegExp(
      `^(Namespace - ${namespace}|\\S+ ${namespace} (?!podseal)\\S+|Lease kube-node-lease \\S+)$`,
    );
    const left = async (): Promise<readonly string[]> =>
      [...(await objects())]
        .filter((each) => !objectsBefore.has(each) && !others.test(each))
        .filter((each) => each !== `ClusterRoleBinding - podseal-workload-${namespace}`)
        .sort();
    const kept = [
      // Of every namespace.
      `ConfigMap ${system} kube-root-ca.crt`,
      `Namespace - ${system}`,
      `Secret ${system} podseal-ca`,
      `ServiceAccount ${system} default`,
    ];
    const isClean = async (): Promise<boolean> => (await left()).length <= kept.length;
    await until('the garbage collector', isClean, 30).catch(() => undefined);
    deepEqual(await left(), kept);
    const before = visits.count();
    await until('more visits', () => visits.count() > before + 20);
    deepEqual(visits.serials(), serials);
    deepEqual(visits.failures(), []);
  });
});

const web = {
  metadata: { name: 'web' },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        containers: [{ name: 'app', image: podsealImage, ...serverContainer }],
      },
    },
  },
};

const identity = ({ metadata }: Pod): string => metadata.uid;

function agentImage({ spec }: Pod): string | undefined {
  return spec.initContainers?.find(({ name }) => name === 'podseal')?.image;
}

/** Handshakes with pods, in turn, all the time. */
interface Visits {
  count(): number;
  /** The newest of each pod. */
  serials(): readonly string[];
  failures(): readonly string[];
  stop(): Promise<void>;
}

function visit(pods: readonly Pod[], ca: string): Visits {
  const newest = new Map<string, string>();
  const failures: string[] = [];
  const stop = new AbortController();
  let count = 0;
  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      for (const { status } of pods) {
        const host = status.podIP ?? '';
        await handshake(host, ca).then(
          (serial) => newest.set(host, serial),
          (error: unknown) => failures.push(String(error)),
        );
        count++;
      }
      await sleep(50);
    }
  };
  const running = loop();
  return {
    count: () => count,
    serials: () => [...newest.values()],
    failures: () => failures,
    async stop() {
      stop.abort();
      await running;
    },
  };
}

/** Resolves to the serial number of what is served there under the Service's name. */
function handshake(host: string, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const servername = `web.${namespace}.svc`;
    const socket = connect({ host, port: serverPort, servername, ca }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
      socket.end();
    });
    socket.resume().on('error', reject);
  });
}

function say(context: TestContext, what: string, figure: string): void {
  context.diagnostic(`${what}: ${figure}`);
}
