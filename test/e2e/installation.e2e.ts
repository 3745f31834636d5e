import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { stopNode } from '../cluster/node.ts';
import { podsealImage } from '../cluster/podseal-image.ts';
import { isAlive } from '../cluster/processes.ts';
import {
  nodeObstacle,
  nodeScene,
  podsealNamespace as system,
  type EndedContainer,
  type NodeScene,
} from '../support/node-scene.ts';
import { until } from '../support/until.ts';

/**
 * `npm run e2e`: what deploy/ installs, on a whole node of its own: real pods, a kubelet that projects
 * tokens, ConfigMaps and the downward API, cluster DNS and cluster IPs. The tests build on one another.
 */

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const podCount = 6;
/** The webhook's certificate is Podseal's own. */
const injectorSidecars = 2;
const controllers = ['podseal-approver', 'podseal-signer', 'podseal-injector'] as const;

describe('deploy/ on a real node', { skip: nodeObstacle, timeout: 600_000 }, () => {
  let node: NodeScene;

  before(
    async () => {
      node = await nodeScene();
    },
    { timeout: 240_000 },
  );

  after(() => (node as NodeScene | undefined)?.end());

  /** Makes a namespace in which Podseal keeps its bundle, and injects nothing. */
  const publishIn = (namespace: string): Promise<unknown> =>
    node.api.must('POST', '/api/v1/namespaces', {
      metadata: { name: namespace, labels: { 'podseal.dev/publish': 'enabled' } },
    });

  /** What a client with the bundle alone gets to read at this URL. */
  const fetchInPod = (name: string, url: string): Promise<EndedContainer> =>
    node.runPod(
      { namespace: 'client', name },
      {
        command: ['node', '-e', clientProgram, url],
        volumeMounts: [{ name: 'trust', mountPath: '/trust' }],
      },
      [{ name: 'trust', configMap: { name: 'podseal-trust' } }],
    );

  test('kubectl apply -k deploy/ starts two replicas of each, in little memory', async (context) => {
    const startedAt = Date.now();
    await node.kubectl('apply', '-k', 'deploy/');
    for (const name of controllers) await node.rolledOut(system, name);
    say(context, 'from apply to all ready', `${(Date.now() - startedAt) / 1000} s`);
    equal((await node.podsOf(system, 'app.kubernetes.io/name=podseal')).length, podCount);
    const used = await until('the kubelet to know memory', () => workingSets(), 60);
    for (const [pod, bytes] of used) {
      say(context, pod, `${(bytes / 2 ** 20).toFixed(1)} MiB`);
      // What the manifests request.
      ok(bytes < 64 * 2 ** 20);
    }
  });

  /** Memory of each of our containers, once the kubelet has measured all. */
  async function workingSets(): Promise<readonly (readonly [string, number])[] | undefined> {
    await sleep(1_000);
    const { pods } = (await node.api.must('GET', '/api/v1/nodes/node-1/proxy/stats/summary')) as {
      pods: readonly {
        podRef: { name: string; namespace: string };
        containers?: readonly { name: string; memory?: { workingSetBytes?: number } }[];
      }[];
    };
    const ours = pods.filter(({ podRef }) => podRef.namespace === system);
    const used = ours.flatMap(({ podRef, containers = [] }) =>
      containers.map(({ name, memory }) => {
        return [`${podRef.name} ${name}`, memory?.workingSetBytes ?? 0] as const;
      }),
    );
    const isComplete = ours.length === podCount && used.length === podCount + injectorSidecars;
    return isComplete && used.every(([, bytes]) => bytes > 0) ? used : undefined;
  }

  test('a pod with rights that it does not need is not admitted beside them', async () => {
    const { status, body } = await node.api.request(
      'POST',
      `/api/v1/namespaces/${system}/pods?dryRun=All`,
      {
        metadata: { name: 'privileged' },
        spec: {
          containers: [{ name: 'c', image: podsealImage, securityContext: { privileged: true } }],
        },
      },
    );
    equal(status, 403);
    match(JSON.stringify(body), /violates PodSecurity \\"restricted:latest\\"/);
  });

  test('a pod with the sidecar serves TLS to whoever has the bundle alone', async (context) => {
    // The image of the example is not on this node, but another with Node is.
    const example = join(node.directory, 'web.yaml');
    const text = readFileSync(join(root, 'examples/sidecar/web.yaml'), 'utf8');
    writeFileSync(example, text.replace('node:24-alpine', podsealImage));
    const startedAt = Date.now();
    await node.kubectl('apply', '-f', example);
    await node.rolledOut('shop', 'web');
    say(context, 'from apply to a pod that serves TLS', `${(Date.now() - startedAt) / 1000} s`);
    await publishIn('client');
    const address = await node.kubectl(
      ...['get', 'service', 'web', '-n', 'shop', '-o', 'jsonpath={.spec.clusterIP}'],
    );
    const answers = await Promise.all([
      fetchInPod('by-name', 'https://web.shop.svc/'),
      fetchInPod('by-address', `https://${address}/`),
    ]);
    for (const { log, exitCode } of answers) deepEqual([log, exitCode], ['hello from web\n', 0]);
    const [pod] = await node.podsOf('shop', 'app=web');
    ok(pod);
    await until('an Event about the certificate', async () => {
      const ofPod = `--field-selector=involvedObject.uid=${pod.metadata.uid}`;
      const events = await node.kubectl('get', 'events', '-n', 'shop', ofPod);
      return events.includes('CertificateIssued');
    });
  });

  test('a pod that lies about itself gets nothing, and is told why', async () => {
    await publishIn('mallory');
    await node.kubectl(
      ...['create', 'clusterrolebinding', 'podseal-workload-mallory'],
      ...['--clusterrole=podseal-workload', '--serviceaccount=mallory:default'],
    );
    const [victim] = await node.podsOf('shop', 'app=web');
    ok(victim);
    /** The agent in a pod of mallory, with what it should know of itself replaced. */
    const lie = (name: string, lies: Readonly<Record<string, string>>) => {
      const facts = {
        POD_NAME: 'metadata.name',
        POD_NAMESPACE: 'metadata.namespace',
        POD_UID: 'metadata.uid',
        POD_IPS: 'status.podIPs',
        SERVICE_ACCOUNT: 'spec.serviceAccountName',
      };
      return node.runPod(
        { namespace: 'mallory', name },
        {
          args: ['init'],
          env: [
            ...Object.entries(facts)
              .filter(([fact]) => !(fact in lies))
              .map(([fact, fieldPath]) => ({ name: fact, valueFrom: { fieldRef: { fieldPath } } })),
            ...Object.entries(lies).map(([fact, value]) => ({ name: fact, value })),
            { name: 'PODSEAL_SERVICES', value: 'web' },
          ],
          volumeMounts: [
            { name: 'trust', mountPath: '/var/run/podseal-trust' },
            { name: 'tls', mountPath: '/var/run/podseal' },
          ],
        },
        [
          { name: 'trust', configMap: { name: 'podseal-trust' } },
          { name: 'tls', emptyDir: { medium: 'Memory' } },
        ],
      );
    };
    const names = await lie('names', { POD_NAMESPACE: 'shop', SERVICE_ACCOUNT: 'web' });
    equal(names.exitCode, 77);
    for (const name of ['web.shop.svc', 'spiffe://cluster.local/ns/shop/sa/web'])
      ok(names.message.includes(name), names.message);
    const requests = await node.kubectl('get', 'csr', '--no-headers');
    match(requests, /system:serviceaccount:mallory:default .* Denied\n/);
    // Events wait until there is nothing more urgent.
    await until('an Event about the denial', async () =>
      /CertificateDenied +pod\/names/.test(await node.kubectl('get', 'events', '-n', 'mallory')),
    );

    const uid = await lie('uid', { POD_UID: victim.metadata.uid });
    equal(uid.exitCode, 76);
    match(uid.message, /the name is not podseal-/);
  });

  test('when the working replicas are killed, the next pod still gets its certificate', async (context) => {
    const holders = await Promise.all(controllers.map(holder));
    const startedAt = Date.now();
    await node.kubectl('delete', 'pod', '-n', system, '--force', '--grace-period=0', ...holders);
    await node.kubectl('scale', 'deployment/web', '-n=shop', '--replicas=2');
    await node.rolledOut('shop', 'web');
    say(context, 'from their end to a pod that serves TLS', `${(Date.now() - startedAt) / 1000} s`);
    for (const [i, name] of controllers.entries()) {
      notEqual(await holder(name), holders[i]);
      await node.rolledOut(system, name);
    }
  });

  /** The pod that holds the lease. */
  async function holder(controller: string): Promise<string> {
    const field = ['-o', 'jsonpath={.spec.holderIdentity}'];
    const identity = await node.kubectl('get', 'lease', controller, '-n', system, ...field);
    return identity.split('_')[0] ?? '';
  }

  test('a name that turns up later is served within two minutes', async (context) => {
    const startedAt = Date.now();
    await node.kubectl(
      ...['expose', 'deployment/web', '-n=shop', '--name=web-admin'],
      ...['--port=443', '--target-port=https'],
    );
    const addresses = ['-l=app=web', '-o=jsonpath={.items[*].status.podIP}'];
    const pods = (await node.kubectl('get', 'pods', '-n=shop', ...addresses)).split(' ');
    equal(pods.length, 2);
    const bundle = ['podseal-trust', '-o=jsonpath={.data.ca\\.crt}'];
    const ca = await node.kubectl('get', 'configmap', '-n=shop', ...bundle);
    await until(
      'both pods to serve the name',
      async () => {
        await sleep(500);
        const served = await Promise.all(
          pods.map((host) => serves(host, 'web-admin.shop.svc', ca)),
        );
        return served.every(Boolean);
      },
      120,
    );
    say(context, 'from a new Service to its name', `${(Date.now() - startedAt) / 1000} s`);
    const byName = await fetchInPod('by-later-name', 'https://web-admin.shop.svc/');
    equal(byName.log, 'hello from web\n');
  });

  test('no secret is in any log', async () => {
    const all = ['--all-containers', '--tail=-1'];
    const logs = await Promise.all([
      node.kubectl('logs', '-n', system, '-l', 'app.kubernetes.io/name=podseal', ...all),
      node.kubectl('logs', '-n', 'shop', '-l', 'app=web', ...all),
    ]);
    match(logs.join(''), /"certificate\.issued"/);
    match(logs.join(''), /"certificate\.published"/);
    for (const secret of [/-----BEGIN/, /LS0tLS1CRUdJTi/, /eyJ[\w-]{10,}\./])
      ok(!secret.test(logs.join('')), String(secret));
  });

  test('uninstalled, the CA stays or goes as told, and pods that have certificates keep them', async () => {
    const uninstall = ['delete', '-k', 'deploy/', '--timeout=120s'];
    const left = ['get', '-k', 'deploy/', '--ignore-not-found', '-o', 'name'];
    await node.kubectl(...uninstall, '--selector', '!podseal.dev/keep');
    equal(await node.kubectl(...left), `namespace/${system}\n`);
    match(await node.kubectl('get', 'secret', '-n', system, '-o', 'name'), /^secret\/podseal-ca$/m);
    await node.kubectl(...uninstall, '--ignore-not-found');
    equal(await node.kubectl(...left), '');
    await until('what was published to go', async () => {
      const published = await Promise.all([
        node.kubectl('get', 'configmaps', '-A', '-o=name'),
        node.kubectl('get', 'clustertrustbundles', '-o=name'),
      ]);
      return !published.join('').includes('podseal');
    });
    const pods = await node.kubectl('get', 'pods', '-n', 'shop', '--no-headers');
    match(pods, /^(web-\S+ +2\/2 +Running.*\n){2}$/);
  });

  test('the node leaves nothing behind', async () => {
    node.api.close();
    await stopNode(node.directory);
    deepEqual(Object.values(node.processes).filter(isAlive), []);
    ok(!existsSync(node.directory));
    const links = await run('ip', ['-brief', 'link']);
    ok(!links.stdout.includes('podseal0'));
    ok(!readFileSync('/proc/mounts', 'utf8').includes(node.directory));
    for (const controller of readdirSync('/sys/fs/cgroup'))
      ok(!existsSync(join('/sys/fs/cgroup', controller, 'podseal')));
  });
});

/** Whether a pod has a trusted certificate for this name. */
function serves(host: string, servername: string, ca: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: 8443, servername, ca }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Prints what https://... answers, or why it cannot be trusted. */
const clientProgram = `
const ca = require('node:fs').readFileSync('/trust/ca.crt');
require('node:https')
  .get(process.argv[1], { ca }, (answer) => answer.pipe(process.stdout))
  .on('error', (error) => { console.log(error.code); process.exitCode = 1; });
`;

function say(context: TestContext, what: string, figure: string): void {
  context.diagnostic(`${what}: ${figure}`);
}
