import { doesNotMatch, equal, match } from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { sharedControlPlane } from '../support/control-plane.ts';

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

describe('the demo', { timeout: 240_000, concurrency: 2 }, () => {
  test('shows everything without a cluster, and ends with 0', async () => {
    const { code, output } = await demo([]);
    equal(code, 0, output);
    match(output, /talking to the embedded certificates API/);
    match(output, /the certificate has shop\.podseal-demo\.svc/);
    match(output, /no request failed while certificates, names and the CA changed/);
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

  test('--existing-cluster names the cluster first, and cleans up', async (context) => {
    const plane = sharedControlPlane();
    context.after(() => plane.api.close());
    const directory = mkdtempSync(join(tmpdir(), 'podseal-once-'));
    context.after(() => rmSync(directory, { recursive: true }));
    const args = ['--existing-cluster', '--once', '--dir', directory];
    const { code, output } = await demo(args, { KUBECONFIG: plane.kubeconfig });
    equal(code, 0, output);
    match(output, new RegExp(`^\\s*Podseal: .*\\n  talking to YOUR cluster at ${plane.serverUrl}`));
    equal(existsSync(join(directory, 'tls.crt')), true);
    const { body } = await plane.api.request('GET', '/api/v1/namespaces/podseal-demo');
    const { status } = body as { status?: { phase?: string } | string };
    equal(
      typeof status === 'object' ? status.phase : 'gone',
      typeof status === 'object' ? 'Terminating' : 'gone',
    );
  });

  test('wrong arguments: exit 64 and what is right', async () => {
    const { code, output } = await demo(['--onec']);
    equal(code, 64);
    match(output, /Usage: npm run demo/);
    equal((await demo(['--once'])).code, 64);
  });
});
