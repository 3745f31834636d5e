import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { parseAllDocuments } from 'yaml';
import { packNginxImage, packNodeImage } from '../cluster/application-image.ts';
import { importImage } from '../cluster/node.ts';
import { podsealImage } from '../cluster/podseal-image.ts';
import { nodeObstacle, nodeScene, type NodeScene } from '../support/node-scene.ts';
import { runSection, sections, startShell } from '../support/readme.ts';
import { until } from '../support/until.ts';

/**
 * The examples of injected applications, on a real node: every command of their READMEs, and what a
 * client sees that has the bundle alone and finds them by cluster DNS.
 */

const examples = join(import.meta.dirname, '../../examples');
/** Nothing is injected there, but the bundle is kept there. */
const clients = 'clients';

/** A question of a client, under another name than the URL's where `servername` says so. */
interface Question {
  readonly url: string;
  readonly servername?: string;
}

/** What a client got: the answer, or the code of the error. */
type Answer = string;

describe(
  'applications with the agent, on a real node',
  { skip: nodeObstacle, timeout: 600_000 },
  () => {
    let node: NodeScene;
    let nginxProblem: string | undefined;

    before(
      async () => {
        node = await nodeScene();
        const { directory } = node;
        await importImage(directory, await packNodeImage(directory));
        nginxProblem = await packNginxImage(directory).then(
          async (archive) => {
            await importImage(directory, archive);
            return undefined;
          },
          (error: unknown) => String(error),
        );
        writeKubectl(join(directory, 'bin'));
        await node.installPodseal();
        await node.api.must('POST', '/api/v1/namespaces', {
          metadata: { name: clients, labels: { 'podseal.dev/publish': 'enabled' } },
        });
        await until('the bundle in the namespace of the clients', async () => {
          const path = `/api/v1/namespaces/${clients}/configmaps/podseal-trust`;
          return (await node.api.request('GET', path)).status === 200;
        });
      },
      { timeout: 240_000 },
    );

    after(() => (node as NodeScene | undefined)?.end());

    /** The kubectl of the READMEs. */
    function writeKubectl(bin: string): void {
      mkdirSync(bin);
      const words = [...node.kubectlCommand, '--kubeconfig', node.kubeconfig];
      const script = `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`;
      writeFileSync(join(bin, 'kubectl'), script);
      chmodSync(join(bin, 'kubectl'), 0o755);
    }

    /**
     * Runs the README of an example literally, all but its last section, then `look`, then the last one,
     * which tidies up. `during` names a section beside which something is watched.
     */
    async function follow(
      context: TestContext,
      folder: string,
      look: (namespace: string) => Promise<void>,
      during: Readonly<Record<string, (namespace: string) => Promise<void>>> = {},
    ): Promise<void> {
      const copy = join(node.directory, 'examples', folder);
      cpSync(join(examples, folder), copy, { recursive: true });
      const readme = join(copy, 'README.md');
      // The port may be taken here.
      const port = String(await freePort());
      writeFileSync(readme, readFileSync(readme, 'utf8').replaceAll('9443', port));
      const namespace = `example-${folder}`;
      const shell = startShell(copy, join(node.directory, 'bin'));
      try {
        const all = sections(readme);
        for (const name of Object.keys(during))
          ok(
            all.some(({ heading }) => heading === name),
            `a section "${name}"`,
          );
        for (const section of all.slice(0, -1)) {
          const startedAt = Date.now();
          await Promise.all([runSection(shell, section), during[section.heading]?.(namespace)]);
          context.diagnostic(`${section.heading}: ${(Date.now() - startedAt) / 1000} s`);
        }
        await look(namespace);
        await noSecretIn(namespace);
        await runSection(shell, all.at(-1));
      } finally {
        await shell.end();
      }
      const left = await node.api.request('GET', `/api/v1/namespaces/${namespace}`);
      equal(left.status, 404);
    }

    /** Searches all that the containers of the namespace said. */
    async function noSecretIn(namespace: string): Promise<void> {
      const pods = await node.podsOf(namespace, 'podseal.dev/agent=injected');
      ok(pods.length > 0);
      for (const { metadata } of pods) {
        const log = await node.kubectl('logs', metadata.name, '-n', namespace, '--all-containers');
        match(log, /"certificate\.published"/);
        for (const secret of [/-----BEGIN/, /LS0tLS1CRUdJTi/, /eyJ[\w-]{10,}\./])
          ok(!secret.test(log), `${metadata.name}: ${String(secret)}`);
      }
    }

    /** What a client in a pod that has the bundle alone gets to these questions. */
    async function ask(name: string, questions: readonly Question[]): Promise<readonly Answer[]> {
      const { log } = await node.runPod(
        { namespace: clients, name },
        {
          image: podsealImage,
          command: ['node', '-e', clientProgram, JSON.stringify(questions)],
          volumeMounts: [{ name: 'trust', mountPath: '/trust' }],
        },
        [{ name: 'trust', configMap: { name: 'podseal-trust' } }],
      );
      return JSON.parse(log) as readonly Answer[];
    }

    /**
     * A client on this machine: each call makes a new connection to the Service and resolves to the serial
     * number of the certificate there; it rejects when that is not trusted under the Service's name.
     */
    async function clientOf(namespace: string, service: string): Promise<() => Promise<string>> {
      const [host, ca] = await Promise.all([
        node.kubectl('get', 'service', service, '-n', namespace, '-o=jsonpath={.spec.clusterIP}'),
        node.kubectl('get', 'cm', 'podseal-trust', '-n', namespace, '-o=jsonpath={.data.ca\\.crt}'),
      ]);
      const servername = `${service}.${namespace}.svc`;
      return () =>
        new Promise((resolve, reject) => {
          const request = get({ host, servername, ca, agent: false }, (answer) => {
            const { socket } = answer;
            ok(socket instanceof TLSSocket);
            const serial = socket.getPeerX509Certificate()?.serialNumber ?? '';
            answer.resume().on('end', () => resolve(serial));
          });
          request.on('error', reject);
        });
    }

    describe('each example', { concurrency: true }, () => {
      test('nginx serves a renewed certificate at once, and loses no request', async (context) => {
        if (nginxProblem !== undefined) {
          context.skip(nginxProblem);
          return;
        }
        await follow(
          context,
          'nginx',
          async () => {
            deepEqual(
              await ask('of-nginx', [
                { url: 'https://nginx.example-nginx.svc/' },
                { url: 'https://nginx.example-nginx.svc.cluster.local/' },
                { url: 'https://nginx.example-nginx/' },
              ]),
              ['hello from nginx\n', 'hello from nginx\n', 'ERR_TLS_CERT_ALTNAME_INVALID'],
            );
          },
          {
            Renew: async (namespace) => {
              const serial = await clientOf(namespace, 'nginx');
              const before = await serial();
              const servedAt = await until(
                'nginx to serve a new certificate',
                async () => (await serial()) !== before && Date.now(),
                120,
              );
              const [pod] = await node.podsOf(namespace, 'app=nginx');
              const published = "fs.lstatSync('/var/run/podseal/..data').mtimeMs";
              const publishedAt = await node.kubectl(
                ...['exec', pod?.metadata.name ?? '', '-n', namespace, '-c=podseal'],
                ...['--', 'node', '-p', published],
              );
              const tookMs = servedAt - Number(publishedAt);
              context.diagnostic(`from new files to a new certificate: ${tookMs.toFixed(0)} ms`);
              ok(tookMs < 5_000, `${tookMs} ms`);
              // The old workers have ended or refuse; whoever comes now gets the new one.
              for (let i = 0; i < 20; i++) notEqual(await serial(), before);
            },
          },
        );
      });

      test('a Node server takes over a renewed certificate by itself', (context) =>
        follow(context, 'node-https', async (namespace) => {
          deepEqual(
            await ask('of-node', [
              { url: 'https://web.example-node-https.svc/' },
              { url: 'https://web.example-node-https.svc.cluster.local/' },
            ]),
            ['hello from Node\n', 'hello from Node\n'],
          );
          const serial = await clientOf(namespace, 'web');
          const before = await serial();
          await node.kubectl(
            ...['annotate', 'pod', '--selector=app=web', '-n', namespace, 'podseal.dev/renew=now'],
          );
          await until(
            'the server to serve a new certificate',
            async () => {
              await sleep(50);
              return (await serial()) !== before;
            },
            120,
          );
        }));

      test('replicas of a StatefulSet serve their own names, and not those of others', (context) =>
        follow(context, 'statefulset', async () => {
          const of = (replica: number, domain = ''): string =>
            `web-${replica}.web.example-statefulset.svc${domain}`;
          deepEqual(
            await ask('of-replicas', [
              { url: `https://${of(0)}:8443/` },
              { url: `https://${of(1, '.cluster.local')}:8443/` },
              { url: `https://${of(0)}:8443/`, servername: 'web.example-statefulset.svc' },
              { url: `https://${of(0)}:8443/`, servername: of(1) },
            ]),
            [
              'hello from web-0\n',
              'hello from web-1\n',
              'hello from web-0\n',
              'ERR_TLS_CERT_ALTNAME_INVALID',
            ],
          );
        }));

      test('client and server know each other by service account', (context) =>
        follow(context, 'mutual-tls', async (namespace) => {
          const [withoutCertificate] = await ask('of-server', [
            { url: 'https://server.example-mutual-tls.svc/' },
          ]);
          match(withoutCertificate ?? '', /^ERR_SSL_.*CERTIFICATE_REQUIRED$/);
          equal(
            await deceived(namespace),
            'server.example-mutual-tls.svc is spiffe://cluster.local/ns/example-mutual-tls/sa/server, ' +
              'not spiffe://cluster.local/ns/example-mutual-tls/sa/other\n',
          );
        }));

      test('a Job completes, and its agent with it', (context) =>
        follow(context, 'job', (namespace) => allEnded(namespace)));

      test('so does the Job of a CronJob', (context) =>
        follow(context, 'cronjob', (namespace) => allEnded(namespace)));
    });

    /** What the client says that expects another server than the one it finds. */
    async function deceived(namespace: string): Promise<string> {
      interface Job {
        metadata: { name: string };
        spec: {
          template: { spec: { restartPolicy: string; containers: { env: { value: string }[] }[] } };
        };
      }
      const text = readFileSync(join(examples, 'mutual-tls/clients.yaml'), 'utf8');
      const job = parseAllDocuments(text)
        .map((each) => each.toJS() as Job & { kind: string })
        .find(({ kind, metadata }) => kind === 'Job' && metadata.name === 'stranger');
      const [container] = job?.spec.template.spec.containers ?? [];
      ok(job && container?.env[0]);
      job.metadata.name = 'deceived';
      container.env[0].value = container.env[0].value.replace('/sa/server', '/sa/other');
      await node.api.must('POST', `/apis/batch/v1/namespaces/${namespace}/jobs`, job);
      const about = ['job/deceived', '-n', namespace];
      await node.kubectl('wait', ...about, '--for=condition=failed', '--timeout=120s');
      return node.kubectl('logs', ...about, '-c', 'client');
    }

    /** Every container of the namespace has ended, the agents' too. */
    async function allEnded(namespace: string): Promise<void> {
      const path = `/api/v1/namespaces/${namespace}/pods`;
      interface Container {
        readonly name: string;
        readonly state: { readonly terminated?: object };
      }
      const { items } = (await node.api.must('GET', path)) as {
        items: readonly {
          status: {
            phase: string;
            containerStatuses: readonly Container[];
            initContainerStatuses: readonly Container[];
          };
        }[];
      };
      equal(items.length, 1);
      for (const { status } of items) {
        equal(status.phase, 'Succeeded');
        const containers = [...status.initContainerStatuses, ...status.containerStatuses];
        ok(containers.some(({ name }) => name === 'podseal'));
        for (const { name, state } of containers) ok(state.terminated, `${name} has ended`);
      }
    }
  },
);

/** Prints the answers to the questions: what the server says, or why it cannot be trusted. */
const clientProgram = `
const ca = require('node:fs').readFileSync('/trust/ca.crt');
const ask = ({ url, servername }) =>
  new Promise((resolve) => {
    require('node:https')
      .get(url, { ca, agent: false, ...(servername && { servername }) }, async (answer) => {
        resolve(Buffer.concat(await answer.toArray()).toString());
      })
      .on('error', (error) => resolve(error.code));
  });
Promise.all(JSON.parse(process.argv[1]).map(ask)).then((answers) => console.log(JSON.stringify(answers)));
`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
