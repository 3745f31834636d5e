import { equal, match, ok } from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { packNodeImage } from '../cluster/application-image.ts';
import { importImage } from '../cluster/node.ts';
import { podsealImage } from '../cluster/podseal-image.ts';
import {
  nodeObstacle,
  nodeScene,
  podsealNamespace,
  type NodeScene,
} from '../support/node-scene.ts';
import { startShell, type Shell } from '../support/readme.ts';
import { until } from '../support/until.ts';

/**
 * Somebody who has a cluster and reads the README, literally; and who then looks up in
 * docs/troubleshooting.md why a pod waits.
 */

const root = join(import.meta.dirname, '../..');

/** What a person may need to read and type these commands. */
const typingSeconds = 25;

/** The commands in a document, block by block. */
function blocksOf(document: string, heading: string): readonly string[] {
  const text = readFileSync(join(root, document), 'utf8');
  const [, section = ''] = text.split(`\n## ${heading}\n`);
  const [own = ''] = section.split(/\n## /);
  return [...own.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, commands = '']) => commands);
}

describe('a newcomer, on a real node', { skip: nodeObstacle, timeout: 600_000 }, () => {
  let node: NodeScene;
  let shell: Shell;

  before(
    async () => {
      node = await nodeScene();
      const { directory } = node;
      await importImage(directory, await packNodeImage(directory));
      const bin = join(directory, 'bin');
      mkdirSync(bin);
      writeScript(join(bin, 'kubectl'), [...node.kubectlCommand, '--kubeconfig', node.kubeconfig]);
      const podseal = [process.execPath, join(root, 'dist/podseal.cjs')];
      writeScript(join(bin, 'podseal'), ['env', `KUBECONFIG=${node.kubeconfig}`, ...podseal]);
      shell = startShell(root, bin);
    },
    { timeout: 240_000 },
  );

  after(async () => {
    await (shell as Shell | undefined)?.end();
    await (node as NodeScene | undefined)?.end();
  });

  test('follows the README from nothing to pods with TLS within a minute', async (context) => {
    const [install = '', ...label] = blocksOf('README.md', 'Install');
    // There is no engine here; the same layers are on the node already.
    const [build = '', ...rest] = install.split('\n');
    match(build, /^docker build /);
    const startedAt = Date.now();
    for (const commands of [rest.join('\n'), ...label]) await shell.run(commands);
    const seconds = (Date.now() - startedAt) / 1000;
    context.diagnostic(`from kubectl apply -k deploy/ to a Deployment with TLS: ${seconds} s`);
    ok(seconds + typingSeconds < 60, `${seconds} s of waiting`);
    const pods = await shell.run('kubectl get pods -n shop --no-headers');
    match(pods, /^web-\S+ +2\/2 +Running/m);
    const answer = await node.runPod(
      { namespace: 'shop', name: 'client' },
      { command: ['node', '-e', client, 'https://web.shop.svc/'], volumeMounts: trustMount },
      [{ name: 'trust', configMap: { name: 'podseal-trust' } }],
    );
    equal(answer.exitCode, 0, answer.log);
    match(answer.log, /^hello from /);
  });

  test('finds in troubleshooting.md why pods wait', async () => {
    await shell.run('kubectl create namespace early && kubectl create namespace strangers');
    await shell.run('kubectl label namespace strangers podseal.dev/inject=enabled');
    await shell.run(
      `kubectl set env -n ${podsealNamespace} deployment/podseal-injector -c injector PODSEAL_SWEEP=5s`,
    );
    await until('the service accounts', async () => {
      const path = (name: string) => `/api/v1/namespaces/${name}/serviceaccounts/default`;
      const answers = await Promise.all(
        ['early', 'strangers'].map((name) => node.api.request('GET', path(name))),
      );
      return answers.every(({ status }) => status === 200);
    });
    await create('early', 'web');
    await shell.run('kubectl label namespace early podseal.dev/inject=enabled');
    await shell.run(
      `kubectl rollout status -n ${podsealNamespace} deployment/podseal-injector --timeout=120s`,
    );
    await create('strangers', 'web');
    await create('shop', 'promised', { 'podseal.dev/services': 'nowhere' });
    await create('shop', 'denied', { 'podseal.dev/dns-names': 'web.example.com' });
    await create('shop', 'waiting', { 'podseal.dev/dns-names': 'late.shop.svc' });
    await create('shop', 'web');
    const describes = async (namespace: string, name: string, what: RegExp, seconds = 60) => {
      let text = '';
      const command = `kubectl describe pod ${name} -n ${namespace}`;
      await until(
        `"${command}" to say ${String(what)}`,
        async () => what.test((text = await shell.run(command))),
        seconds,
      ).catch((error: unknown) => {
        throw new Error(text, { cause: error });
      });
    };
    await describes('strangers', 'web', /podseal\.dev\/warnings:[^]*kubectl create clusterrole/);
    await describes('shop', 'promised', /podseal\.dev\/warnings:[^]*Service "nowhere" to select/);
    await describes('shop', 'denied', /CertificateDenied[^]*web\.example\.com/);
    await describes('shop', 'waiting', /CertificateWaiting[^]*late\.shop\.svc/);
    await describes('early', 'web', /NotInjected/, 180);
    match(await shell.run('kubectl logs web -n strangers -c podseal'), /API_FORBIDDEN/);
  });

  test('runs every command of troubleshooting.md', async () => {
    await until('pod web of shop to be ready', async () => {
      const pods = await shell.run('kubectl get pod web -n shop --no-headers');
      return pods.includes(' 2/2 ');
    });
    const text = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');
    const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, heading = '']) => heading);
    const name = await shell.run(
      'kubectl get csr --field-selector spec.signerName=podseal.dev/serving -o name | tail -1',
    );
    const request = name.trim().replace(/^.*\//, '');
    for (const heading of headings)
      for (const block of blocksOf('docs/troubleshooting.md', heading)) {
        const commands = block
          .replaceAll('NAME', request)
          .replaceAll('request.yaml', join(node.directory, 'request.yaml'))
          // What is not fine, or would be denied, is said by the exit code too.
          .replace(/^podseal (status|approver).*$/gm, '$& || [ $? -eq 1 ]');
        await shell.run(commands);
      }
    const status = await shell.run('podseal status -n shop || true');
    match(status, /^denied +denied/m);
    match(status, /^web +ready/m);
  });

  function create(
    namespace: string,
    name: string,
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    return node.api.must('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name, annotations },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'app',
            image: podsealImage,
            command: ['node', '-e', 'setInterval(() => {}, 1e9)'],
          },
        ],
      },
    });
  }
});

const trustMount = [{ name: 'trust', mountPath: '/trust' }];

/** Prints what https://... answers, or why it cannot be trusted. */
const client = `
const ca = require('node:fs').readFileSync('/trust/ca.crt');
require('node:https')
  .get(process.argv[1], { ca }, (answer) => answer.pipe(process.stdout))
  .on('error', (error) => { console.log(error.code); process.exitCode = 1; });
`;

function writeScript(path: string, words: readonly string[]): void {
  writeFileSync(path, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`);
  chmodSync(path, 0o755);
}
