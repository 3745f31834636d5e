import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Attempted } from '../../src/application/hook.ts';
import {
  receivers,
  signalHook,
  type Process,
  type SignalName,
} from '../../src/application/signal-hook.ts';

const ownPid = 7;
const allSignals = 2n ** 64n - 1n;

const named = (pid: number, comm: string, more: Partial<Process> = {}): Process => ({
  pid,
  parent: 0,
  comm,
  command: `/usr/sbin/${comm}`,
  isZombie: false,
  user: 101,
  handled: allSignals,
  ...more,
});

const pause = named(1, 'pause', { command: '/pause' });
const agent = named(ownPid, 'node', { command: 'node' });
const master = named(20, 'nginx', { command: 'nginx: master process nginx -g daemon off;' });
const worker = named(21, 'nginx', { parent: 20, command: 'nginx: worker process' });
const pod = [pause, agent, master, worker];

const pids = (processes: readonly Process[], name: string): readonly number[] =>
  receivers(processes, name, ownPid).map(({ pid }) => pid);

describe('receivers()', () => {
  test('the master, not its workers', () => {
    deepEqual(pids(pod, 'nginx'), [20]);
  });

  test('every process whose parent is another: two masters, a wrapper', () => {
    const wrapper = named(40, 'run.sh');
    const second = named(41, 'nginx', { parent: 40 });
    deepEqual(pids([...pod, wrapper, second], 'nginx'), [20, 41]);
  });

  test('by the first word of the command line too, without its directory', () => {
    const node = named(30, 'MainThread', { command: '/usr/local/bin/node' });
    deepEqual(pids([...pod, node], 'node'), [30], 'and never the agent itself');
    deepEqual(pids([...pod, named(31, 'python3', { command: 'gunicorn' })], 'gunicorn'), [31]);
  });

  test('never the first process, and so none of its children of that name', () => {
    deepEqual(pids(pod, 'pause'), []);
    deepEqual(pids([named(1, 'nginx'), named(8, 'nginx', { parent: 1 })], 'nginx'), []);
  });

  test('a name that merely begins alike is another', () => {
    deepEqual(pids(pod, 'ngin'), []);
    deepEqual(pids([named(20, 'nginx-exporter')], 'nginx'), []);
  });

  test('of a name longer than 15 bytes the kernel keeps 15; the command line tells the rest', () => {
    const kept = 'long-named-serv';
    const server = named(50, kept, { command: '/app/long-named-server' });
    const service = named(51, kept, { command: '/app/long-named-service' });
    const titled = named(52, kept, { command: 'serving 12 clients' });
    deepEqual(pids([server, service, titled], 'long-named-server'), [50, 52]);
  });

  test('no zombies', () => {
    deepEqual(pids([{ ...master, isZombie: true }, worker], 'nginx'), [21]);
  });
});

/** What the hook sent, and how it ended. */
async function attempt(
  list: readonly Process[],
  signal: SignalName = 'HUP',
  more: { readonly pid?: number; readonly errorFor?: Readonly<Record<number, string>> } = {},
): Promise<{ readonly sent: readonly (readonly [number, string])[]; readonly end: Attempted }> {
  const sent: [number, string][] = [];
  const hook = signalHook(
    { processName: 'nginx', signal },
    {
      own: { pid: more.pid ?? ownPid, user: 65532 },
      list: () => list,
      send(pid, name) {
        const code = more.errorFor?.[pid];
        if (code !== undefined) throw Object.assign(new Error(`kill ${code}`), { code });
        sent.push([pid, name]);
      },
    },
  );
  return { end: await hook.attempt(new AbortController().signal), sent };
}

const whyOf = (end: Attempted): string =>
  end.kind === 'done' ? '' : `${end.kind}: ${end.why}; ${end.hint}`;

/** All signals but this one. */
const without = (number: number): bigint => allSignals & ~(1n << BigInt(number - 1));

describe('signalHook()', () => {
  test('sends the signal, and says to which process', async () => {
    deepEqual(await attempt(pod), {
      sent: [[20, 'HUP']],
      end: { kind: 'done', what: 'sent SIGHUP to process 20' },
    });
  });

  test('nobody of that name: absent', async () => {
    const { end } = await attempt([pause, agent]);
    match(whyOf(end), /^absent: Cannot find a process "nginx"; .*shareProcessNamespace: true/);
  });

  test('a pod that shares no process namespace: failed at once, because waiting cannot help', async () => {
    const { end } = await attempt([named(1, 'node')], 'HUP', { pid: 1 });
    match(whyOf(end), /^failed: .*no process but its own; Set shareProcessNamespace: true/);
  });

  test('a process without a handler would end: nothing is sent to anybody', async () => {
    const deaf = named(40, 'nginx', { handled: without(1) });
    const { end, sent } = await attempt([...pod, deaf]);
    deepEqual(sent, []);
    match(whyOf(end), /^failed: Cannot send SIGHUP to process "nginx" \(40\): it has no handler/);
    deepEqual((await attempt([deaf], 'USR1')).sent, [[40, 'USR1']], 'another signal is handled');
  });

  test('signals that mean an end need no handler', async () => {
    for (const signal of ['TERM', 'INT', 'QUIT'] as const)
      deepEqual((await attempt([named(40, 'nginx', { handled: 0n })], signal)).sent, [
        [40, signal],
      ]);
    for (const signal of ['HUP', 'USR1', 'USR2', 'WINCH'] as const)
      deepEqual((await attempt([named(40, 'nginx', { handled: 0n })], signal)).sent, []);
  });

  test('another user: says who is who, and what to set', async () => {
    const { end } = await attempt(pod, 'HUP', { errorFor: { 20: 'EPERM' } });
    match(
      whyOf(end),
      /^failed: Cannot send SIGHUP to process "nginx" \(20\): it runs as user 101, and the agent as user 65532, who may not; Set runAsUser: 101/,
    );
  });

  test('a process that ended meanwhile is no failure; what else the system says is', async () => {
    const two = [master, named(40, 'nginx')];
    deepEqual((await attempt(two, 'HUP', { errorFor: { 20: 'ESRCH' } })).end, {
      kind: 'done',
      what: 'sent SIGHUP to process 40',
    });
    equal((await attempt(pod, 'HUP', { errorFor: { 20: 'ESRCH' } })).end.kind, 'absent');
    match(whyOf((await attempt(two, 'HUP', { errorFor: { 20: 'EINVAL' } })).end), /EINVAL/);
  });
});
