import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
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
const controllers = ['podseal-approver', 'podseal-signer'] as const;

describe('deploy/ on a real node', { skip: nodeObstacle, timeout: 600_000 }, () => {
  let node: NodeScene;

  before(
    async () => {
      node = await nodeScene();
    },
    { timeout: 240_000 },
  );

  after(() => (node as NodeScene | undefined)?.end());

  /** A namespace with the signer's bundle in it, as `podseal-trust`. */
  const giveBundle = async (namespace: string): Promise<void> => {
    const key = ['-o', 'jsonpath={.data.ca\\.crt}'];
    const file = join(node.directory, 'ca.crt');
    const bundle = ['configmap', 'podseal-trust', '-n'];
    writeFileSync(file, await node.kubectl('get', ...bundle, system, ...key));
    await node.kubectl('create', ...bundle, namespace, `--from-file=${file}`);
  };

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
    say(context, 'from apply to both ready', `${(Date.now() - startedAt) / 1000} s`);
    equal((await node.podsOf(system, 'app.kubernetes.io/name=podseal')).length, 4);
    const used = await until('the kubelet to know memory', () => workingSets(), 60);
    for (const [pod, bytes] of used) {
      say(context, pod, `${(bytes / 2 ** 20).toFixed(1)} MiB`);
      // What the manifests request.
      ok(bytes < 64 * 2 ** 20);
    }
  });

  /** Memory of each of our pods, once the kubelet has measured all. */
  async function workingSets(): Promise<readonly (readonly [string, number])[] | undefined> {
    await sleep(1_000);
    const { pods } = (await node.api.must('GET', '/api/v1/nodes/node-1/proxy/stats/summary')) as {
      pods: readonly {
        podRef: { name: string; namespace: string };
        containers?: readonly { memory?: { workingSetBytes?: number } }[];
      }[];
    };
    const ours = pods
      .filter(({ podRef }) => podRef.namespace === system)
      .map(({ podRef, containers }) => {
        return [podRef.name, containers?.[0]?.memory?.workingSetBytes ?? 0] as const;
      });
    return ours.length === 4 && ours.every(([, bytes]) => bytes > 0) ? ours : undefined;
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
    await giveBundle('shop');
    await node.rolledOut('shop', 'web');
    say(context, 'from apply to a pod that serves TLS', `${(Date.now() - startedAt) / 1000} s`);
    await node.kubectl('create', 'namespace', 'client');
    await giveBundle('client');
    const byName = await fetchInPod('by-name', 'https://web.shop.svc/');
    equal(byName.log, 'hello from web\n');
    equal(byName.exitCode, 0);
    const [pod] = await node.podsOf('shop', 'app=web');
    ok(pod);
    await until('an Event about the certificate', async () => {
      const ofPod = `--field-selector=involvedObject.uid=${pod.metadata.uid}`;
      const events = await node.kubectl('get', 'events', '-n', 'shop', ofPod);
      return events.includes('CertificateIssued');
    });
    // Seen at the end: the kubelet takes a minute to hand it on.
    const services = { 'services.json': await serviceLines('shop', 'web') };
    await node.kubectl(
      ...['patch', 'configmap', 'podseal-services', '-n', 'shop', '--type=merge'],
      ...['-p', JSON.stringify({ data: services })],
    );
  });

  /** As the injector will publish it: with the cluster IPs. */
  async function serviceLines(namespace: string, name: string): Promise<string> {
    const { spec } = (await node.api.must(
      'GET',
      `/api/v1/namespaces/${namespace}/services/${name}`,
    )) as {
      spec: { selector: unknown; clusterIPs: readonly string[] };
    };
    const line = { name, selector: spec.selector, clusterIPs: spec.clusterIPs };
    return `[\n${JSON.stringify(line)}\n]\n`;
  }

  test('a pod that lies about itself gets nothing, and is told why', async () => {
    await node.kubectl('create', 'namespace', 'mallory');
    await giveBundle('mallory');
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

  test('a name that turns up later is in the certificate within two minutes', async () => {
    const field = ['-o', 'jsonpath={.spec.clusterIP}'];
    const clusterIp = await node.kubectl('get', 'service', 'web', '-n', 'shop', ...field);
    const pods = await node.podsOf('shop', 'app=web');
    await until(
      'the cluster IP in every certificate',
      async () => {
        await sleep(1_000);
        const logs = await Promise.all(
          pods.map(({ metadata }) => node.kubectl('logs', metadata.name, '-n=shop', '-c=podseal')),
        );
        return logs.every((log) =>
          log
            .split('\n')
            .some((line) => line.includes('certificate.published') && line.includes(clusterIp)),
        );
      },
      180,
    );
    const byAddress = await fetchInPod('by-address', `https://${clusterIp}/`);
    equal(byAddress.log, 'hello from web\n');
  });

  test('no secret is in any log', async () => {
    const logs = await Promise.all([
      node.kubectl('logs', '-n', system, '-l', 'app.kubernetes.io/name=podseal', '--tail=-1'),
      node.kubectl('logs', '-n', 'shop', '-l', 'app=web', '--all-containers', '--tail=-1'),
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
    await node.kubectl('delete', 'clustertrustbundle', 'podseal.dev:serving:bundle');
    equal(await node.kubectl(...left), '');
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
