import { deepEqual, equal, notEqual, ok, rejects } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  attachControlPlane,
  existingCluster,
  startControlPlane,
} from '../cluster/control-plane.ts';
import { end, isAlive, type Started } from '../cluster/processes.ts';
import { approveAll, sceneFor } from '../support/shared-scene.ts';
import { until } from '../support/until.ts';

interface State {
  readonly processes: Readonly<Record<string, Started>>;
}

describe('the test control plane', { timeout: 240_000 }, () => {
  test('two stand side by side, are up in seconds, and leave nothing behind', async () => {
    const parent = mkdtempSync(join(tmpdir(), 'podseal-two-'));
    const startedAt = Date.now();
    const first = await startControlPlane({ directory: join(parent, 'a') });
    ok(Date.now() - startedAt < 8_000 * 5, 'up in under 8 s (five times the slack)');
    const second = await startControlPlane({ directory: join(parent, 'b') });
    notEqual(first.serverUrl, second.serverUrl);
    await first.api.must('POST', '/api/v1/namespaces', { metadata: { name: 'only-here' } });
    equal((await second.api.request('GET', '/api/v1/namespaces/only-here')).status, 404);
    const { processes } = JSON.parse(readFileSync(join(parent, 'a/state.json'), 'utf8')) as State;
    equal(Object.values(processes).filter(isAlive).length, 3);
    const downAt = Date.now();
    await Promise.all([first.down(), second.down()]);
    ok(Date.now() - downAt < 3_000 * 5, 'down in under 3 s (five times the slack)');
    deepEqual(Object.values(processes).filter(isAlive), []);
    ok(!existsSync(join(parent, 'a')) && !existsSync(join(parent, 'b')));
    await rejects(() => fetch(`${first.serverUrl}/readyz`), 'nobody listens any more');
    rmSync(parent, { recursive: true });
  });

  test('a killed API server or etcd comes back with its data, and a waiting agent is served', async (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'podseal-killed-'));
    rmSync(directory, { recursive: true });
    const plane = await startControlPlane({ directory });
    const scene = await sceneFor(context, plane);
    const init = scene.run('init');
    const request = await scene.administrator.pending();
    for (const part of ['kube-apiserver', 'etcd'] as const) {
      await plane.faults.stop(part, 'kill');
      await plane.faults.start(part);
    }
    const attached = attachControlPlane(directory);
    context.after(() => attached.api.close());
    const [found] = await until('the request after the restart', () => scene.administrator.list());
    equal(found?.metadata.uid, request.metadata.uid);
    approveAll(context, scene);
    // After what uses it: hooks run in the order in which they were registered.
    context.after(() => plane.down());
    equal(await init.exit, 0, init.output());
  });

  test('ends a process only while it is the one that was started', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const pid = child.pid ?? 0;
    const stranger = { pid, startTime: '1' };
    ok(!isAlive(stranger));
    await end(stranger, 'SIGKILL');
    equal(
      child.exitCode ?? child.signalCode,
      null,
      'a process with the same number but another start lives on',
    );
    child.kill('SIGKILL');
  });

  test('an existing cluster is used only when both variables say so', () => {
    const before = { ...process.env };
    try {
      process.env['KUBECONFIG'] = '/somewhere';
      delete process.env['USE_EXISTING_CLUSTER'];
      let message = '';
      try {
        existingCluster();
      } catch (error) {
        message = String(error);
      }
      ok(message.includes('USE_EXISTING_CLUSTER=true'));
    } finally {
      process.env = before;
    }
  });
});
