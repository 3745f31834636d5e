import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { receivers, signalHook } from '../../src/application/signal-hook.ts';
import { systemProcesses } from '../../src/node/processes.ts';
import { signalled } from '../support/signalled.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { until } from '../support/until.ts';

const others = process.getuid?.() === 0 ? false : 'only root can start processes of others';

const newName = (): string => `app${randomBytes(4).toString('hex')}`;
const own = systemProcesses().own;
const find = (name: string) => receivers(systemProcesses().list(), name, own.pid);
const never = new AbortController().signal;
const attempt = (processName: string) =>
  signalHook({ processName, signal: 'HUP' }, systemProcesses()).attempt(never);

describe('systemProcesses()', { timeout: 30_000 }, () => {
  test('knows us', () => {
    const self = systemProcesses()
      .list()
      .find(({ pid }) => pid === process.pid);
    ok(self);
    equal(self.parent, process.ppid);
    equal(self.user, process.getuid?.());
    equal(self.isZombie, false);
  });

  test('finds a process by the first word of its command line, with its handlers', async (context) => {
    const name = newName();
    const application = await signalled(context, { argv0: `/opt/${name}` });
    const [found, ...more] = find(name);
    deepEqual([found?.pid, more], [application.pid, []]);
    equal((found?.handled ?? 0n) & 1n, 1n, 'SIGHUP is handled');
    equal((found?.handled ?? 0n) & (2n ** 11n), 0n, 'SIGUSR2 is not');
  });

  test('knows whose a process is', { skip: others }, async (context) => {
    const name = newName();
    const child = spawn('/bin/sleep', ['600'], { argv0: name, uid: 65534 });
    context.after(() => child.kill());
    const [found] = await until('the process', () => {
      const all = find(name);
      return all.length > 0 && all;
    });
    equal(found?.user, 65534);
  });

  test('finds a process by the name of its file, of which the kernel keeps 15 bytes', async (context) => {
    const name = `${newName()}-and-more`;
    const file = join(temporaryDirectory(context), name);
    symlinkSync('/bin/sleep', file);
    const child = spawn(file, ['600'], { argv0: 'a title of its own' });
    context.after(() => child.kill());
    const [found] = await until('the process', () => {
      const all = find(name);
      return all.length > 0 && all;
    });
    deepEqual([found?.pid, found?.comm], [child.pid, name.slice(0, 15)]);
  });
});

describe('signalHook() with real processes', { timeout: 30_000 }, () => {
  test('the master is told, its worker is not', async (context) => {
    const name = newName();
    const application = await signalled(context, { argv0: name, hasWorker: true });
    deepEqual(await attempt(name), {
      kind: 'done',
      what: `sent SIGHUP to process ${application.pid}`,
    });
    await until('the signal', () => application.told().length > 0);
    // The worker prints through the same pipe: what it got would stand before this.
    equal((await attempt(name)).kind, 'done');
    await until('the second signal', () => application.told().length > 1);
    deepEqual(application.told(), ['master HUP', 'master HUP']);
  });

  test('a process that does not handle the signal survives', async (context) => {
    const name = newName();
    const application = await signalled(context, { argv0: name, isDeaf: true });
    const attempted = await attempt(name);
    equal(attempted.kind, 'failed');
    process.kill(application.pid, 0);
  });

  test('a process of another user: names both', { skip: others }, async (context) => {
    const name = newName();
    const application = await signalled(context, { argv0: name });
    const why = asUser(65534, name);
    match(
      why,
      new RegExp(`\\(${application.pid}\\): it runs as user 0, and the agent as user 65534`),
    );
    match(why, /Set runAsUser: 0/);
    deepEqual(application.told(), []);
  });
});

/** What the hook says to a user who may not. */
function asUser(uid: number, processName: string): string {
  const source = join(import.meta.dirname, '../../src');
  const script = `
    import { signalHook } from '${source}/application/signal-hook.ts';
    import { systemProcesses } from '${source}/node/processes.ts';
    const hook = signalHook({ processName: '${processName}', signal: 'HUP' }, systemProcesses());
    console.log(JSON.stringify(await hook.attempt(new AbortController().signal)));
  `;
  const args = ['--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    uid,
    gid: uid,
    cwd: '/',
    encoding: 'utf8',
  });
  ok(stdout, stderr);
  const { why = '', hint = '' } = JSON.parse(stdout) as { why?: string; hint?: string };
  return `${why}\n${hint}`;
}
