import { deepEqual, doesNotMatch, equal, match } from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type ApiClient } from '../cluster/api-client.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { until } from '../support/until.ts';

const program = join(import.meta.dirname, '../../demo/demo.ts');

function demo(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, ...environment };
    execFile(
      process.execPath,
      [program, ...args],
      { env, timeout: 150_000 },
      (error, stdout, stderr) => {
        const output = stdout + stderr;
        const log = process.env['PODSEAL_TEST_OUTPUT'];
        if (log) writeFileSync(join(log, `demo-${process.pid}-${Date.now()}.log`), output);
        resolve({ code: error ? Number(error.code ?? 1) : 0, output });
      },
    );
  });
}

/** Objects of the demo that are still there, and that nobody is removing. */
async function leftBy(api: ApiClient): Promise<string[]> {
  const collections = [
    '/api/v1/namespaces',
    '/api/v1/nodes',
    '/apis/rbac.authorization.k8s.io/v1/clusterroles',
    '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
    '/apis/certificates.k8s.io/v1/clustertrustbundles',
    '/apis/certificates.k8s.io/v1/certificatesigningrequests',
  ];
  const lists = await Promise.all(collections.map((each) => api.must('GET', each)));
  return lists.flatMap((list) =>
    (list as ListJson).items
      .filter(({ metadata: { name }, spec }) =>
        /^podseal-demo|^demo\.podseal\.dev\//.test(spec?.signerName ?? name),
      )
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.name),
  );
}

interface ListJson {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly spec?: { readonly signerName?: string };
  }[];
}

/** What every whole run must have shown, act by act. */
function sawEveryAct(output: string): void {
  const patterns = [
    /approver-\d leads, approver-\d stands by/,
    /signer-\d leads, signer-\d stands by/,
    /signer-\d made a CA that can vouch for nothing outside the cluster/,
    /names +\*\.svc \*\.cluster\.local/,
    /ConfigMap podseal-demo-system\/podseal-trust/,
    /for +web\.podseal-demo\.svc\n/,
    /approver-\d +Approved podseal-/,
    /signer-\d +Issued podseal-/,
    /approved: every name follows from pod podseal-demo\/web-0/,
    /Key: +belongs to the certificate/,
    /pod podseal-demo\/mallory-0, .* asks for web\.podseal-demo\.svc and google\.com\n.*Denied/,
    /- dns-names "web\.podseal-demo\.svc": Service "web" does not select the pod/,
    /- dns-names "google\.com": it is no name of a Service/,
    /pod podseal-demo-evil\/mallory-0, .*\n.*Denied/,
    /- dns-names "web\.podseal-demo\.svc": it belongs to namespace "podseal-demo", the pod to/,
    /second renewal: serial [0-9A-F]+…, served to the client/,
    /the certificate has shop\.podseal-demo\.svc and shop\.podseal-demo\.svc\.cluster\.local/,
    /kill -9 approver-\d signer-\d/,
    /the renewal waited for them: serial/,
    /its root is published beside the old one, and in the ca\.crt of the pod/,
    /signer-\d signs with it \d+\.\d s after the change/,
    /that certificate was issued by "Second CA of the demo"/,
    /\d+ certificates, \d{2,} requests answered/,
    /no request failed while certificates, names, replicas and the CA changed/,
    /podseal watch, approver-\d, signer-\d ended with 0 on SIGTERM/,
  ];
  for (const pattern of patterns) match(output, pattern);
  for (const name of ['approver', 'signer'])
    match(output, new RegExp(`${name}-(\\d) leads [\\d.]+ s after ${name}-(?!\\1)\\d was killed`));
}

describe('the demo', { timeout: 240_000, concurrency: 2 }, () => {
  test('shows everything without a cluster, and ends with 0', async () => {
    const { code, output } = await demo([]);
    equal(code, 0, output);
    match(output, /talking to the embedded API/);
    sawEveryAct(output);
    // eslint-disable-next-line no-control-regex -- the very thing that must not be there
    doesNotMatch(output, /\x1b/, 'plain where it is no terminal');
  });

  test('--once leaves a set that openssl accepts', async (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'podseal-once-'));
    context.after(() => rmSync(directory, { recursive: true }));
    const { code, output } = await demo(['--once', '--dir', directory]);
    equal(code, 0, output);
    const path = (name: string): string => join(directory, name);
    const verified = execFileSync('openssl', [
      'verify',
      '-x509_strict',
      '-CAfile',
      path('ca.crt'),
      '-untrusted',
      path('tls.crt'),
      path('tls.crt'),
    ]);
    match(verified.toString(), /OK/);
    const publicKey = (args: readonly string[]): string =>
      execFileSync('openssl', [...args]).toString();
    equal(
      publicKey(['pkey', '-in', path('tls.key'), '-pubout']),
      publicKey(['x509', '-in', path('tls.crt'), '-noout', '-pubkey']),
    );
  });

  test('told to stop in the middle: nothing stays behind', async () => {
    const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until('a renewal', () => output.includes('first renewal'), 60);
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
      .trim()
      .split(' ');
    equal(children.length, 5, 'two approvers, two signers, the sidecar');
    const [, directory = ''] = /Directory: +(\/.*)\/podseal\n/.exec(output) ?? [];
    equal(existsSync(directory), true);
    child.kill('SIGTERM');
    deepEqual(await ended, [130, null]);
    deepEqual(
      children.filter((pid) => existsSync(`/proc/${pid}`)),
      [],
    );
    equal(existsSync(directory), false);
  });

  describe('--existing-cluster', { concurrency: 1 }, () => {
    test('touches no namespace that was there before', async (context) => {
      const plane = sharedControlPlane();
      const name = 'podseal-demo-evil';
      const make = () => plane.api.request('POST', '/api/v1/namespaces', { metadata: { name } });
      // That of an earlier run may still be going.
      await until('a namespace', async () => (await make()).status === 201, 90);
      context.after(async () => {
        await plane.api.request('DELETE', `/api/v1/namespaces/${name}`);
        plane.api.close();
      });
      const { code, output } = await demo(['--existing-cluster'], { KUBECONFIG: plane.kubeconfig });
      equal(code, 1, output);
      match(output, /✘ Cannot make namespace podseal-demo-evil: it exists/);
      deepEqual(await leftBy(plane.api), [name]);
    });

    test('names the cluster first, shows everything, and cleans up', async (context) => {
      const plane = sharedControlPlane();
      context.after(() => plane.api.close());
      const { code, output } = await demo(['--existing-cluster'], { KUBECONFIG: plane.kubeconfig });
      equal(code, 0, output);
      match(
        output,
        new RegExp(`^\\s*Podseal: .*\\n  talking to YOUR cluster at ${plane.serverUrl}`),
      );
      sawEveryAct(output);
      deepEqual(await leftBy(plane.api), []);
    });
  });

  test('wrong arguments: exit 64 and what is right', async () => {
    const { code, output } = await demo(['--onec']);
    equal(code, 64);
    match(output, /Usage: npm run demo/);
    equal((await demo(['--once'])).code, 64);
  });
});
