import { deepEqual, equal, match, notEqual, ok, rejects } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import {
  attachControlPlane,
  existingCluster,
  startControlPlane,
} from '../cluster/control-plane.ts';
import { partsOf, runningPart, takeDown } from '../cluster/parts.ts';
import { end, isAlive, type Started } from '../cluster/processes.ts';
import { approveAll, sceneFor } from '../support/shared-scene.ts';
import { until } from '../support/until.ts';

const home = mkdtempSync(join(tmpdir(), 'podseal-cluster-'));

const processesOf = (directory: string): readonly Started[] =>
  partsOf(directory).map((part) => runningPart(directory, part).process);

/** TCP ports that these processes listen on, from /proc. */
function listeningPorts(processes: readonly Started[]): readonly number[] {
  const isListening = '0A';
  const sockets = new Map(
    ['tcp', 'tcp6']
      .flatMap((file) => readFileSync(`/proc/net/${file}`, 'utf8').trim().split('\n').slice(1))
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === isListening)
      .map((fields): [string, number] => [
        `socket:[${fields[9] ?? ''}]`,
        parseInt(fields[1]?.split(':')[1] ?? '', 16),
      ]),
  );
  return processes.flatMap(({ pid }) =>
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      // A descriptor may be closed between the listing and the look.
      const port = sockets.get(tryReadLink(`/proc/${pid}/fd/${fd}`) ?? '');
      return port === undefined ? [] : [port];
    }),
  );
}

function tryReadLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

describe('the test control plane', { timeout: 240_000 }, () => {
  // What a failed test left behind; after the tests' own hooks, which may still use it.
  after(async () => {
    for (const name of readdirSync(home)) await takeDown(join(home, name));
    rmSync(home, { recursive: true });
  });

  test('two stand side by side, are up in seconds, and leave nothing behind', async () => {
    const startedAt = Date.now();
    const first = await startControlPlane({ directory: join(home, 'a') });
    ok(Date.now() - startedAt < 8_000 * 5, 'up in under 8 s (five times the slack)');
    const second = await startControlPlane({ directory: join(home, 'b') });
    notEqual(first.serverUrl, second.serverUrl);
    await first.api.must('POST', '/api/v1/namespaces', { metadata: { name: 'only-here' } });
    equal((await second.api.request('GET', '/api/v1/namespaces/only-here')).status, 404);
    const processes = [join(home, 'a'), join(home, 'b')].flatMap(processesOf);
    equal(processes.filter(isAlive).length, 6);
    const ports = listeningPorts(processes);
    ok(ports.length >= 8, 'API server, manager, etcd and its peers, twice');
    ok(ports.every((port) => !ports.slice(ports.indexOf(port) + 1).includes(port)));
    const downAt = Date.now();
    await Promise.all([first.down(), second.down()]);
    ok(Date.now() - downAt < 3_000 * 5, 'down in under 3 s (five times the slack)');
    deepEqual(processes.filter(isAlive), []);
    ok(!existsSync(join(home, 'a')) && !existsSync(join(home, 'b')));
    for (const port of ports) equal(await accepts(port), false, `nobody listens on ${port}`);
  });

  test('a killed API server or etcd comes back with its data, and a waiting agent is served', async (context) => {
    const directory = join(home, 'killed');
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

  test('a part that another process restarted is ended too', async () => {
    const directory = join(home, 'restarted');
    const plane = await startControlPlane({ directory });
    const etcd = (): Started => runningPart(directory, 'etcd').process;
    const before = etcd();
    const other = attachControlPlane(directory);
    await other.faults.start('etcd');
    deepEqual(etcd(), before, 'what runs is not started twice');
    for (const part of ['etcd', 'kube-controller-manager'] as const) {
      await other.faults.stop(part, 'kill');
      await other.faults.start(part);
    }
    other.api.close();
    const processes = processesOf(directory);
    notEqual(etcd().pid, before.pid);
    equal(processes.filter(isAlive).length, 3);
    await plane.down();
    deepEqual(processes.filter(isAlive), []);
  });

  test('an interrupted start leaves nothing behind', async () => {
    const directory = join(home, 'interrupted');
    const module = join(import.meta.dirname, '../cluster/control-plane.ts');
    const script = `import { startControlPlane } from ${JSON.stringify(module)};
      await startControlPlane({ directory: ${JSON.stringify(directory)} });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    await until('the parts to start', () => partsOf(directory).length === 3);
    const processes = processesOf(directory);
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    equal(code, 130);
    deepEqual(processes.filter(isAlive), []);
    ok(!existsSync(directory));
  });

  test('a start that cannot succeed says why at once, from the log', async () => {
    const assets = mkdtempSync(join(home, 'assets-'));
    for (const name of ['etcd', 'kube-apiserver', 'kubectl'])
      writeFileSync(join(assets, name), '#!/bin/sh\necho this one is broken; exit 1\n', {
        mode: 0o755,
      });
    const before = process.env['KUBEBUILDER_ASSETS'];
    process.env['KUBEBUILDER_ASSETS'] = assets;
    const said: string[] = [];
    try {
      const directory = join(home, 'broken');
      const start = startControlPlane({ directory, say: (line) => said.push(line) });
      await rejects(start, /etcd ended:\nthis one is broken/);
      ok(!existsSync(directory));
      match(said.join('\n'), /no kube-controller-manager: no certificates/);
      rmSync(join(assets, 'kubectl'));
      await rejects(() => startControlPlane(), /KUBEBUILDER_ASSETS=.*: there is no kubectl in it/);
    } finally {
      if (before === undefined) delete process.env['KUBEBUILDER_ASSETS'];
      else process.env['KUBEBUILDER_ASSETS'] = before;
    }
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
