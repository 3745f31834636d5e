import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { hookRunner } from '../../src/agent/run-hooks.ts';
import { type Attempted, type Hook, type HookName } from '../../src/application/hook.ts';
import { type NewestSet } from '../../src/application/newest-set.ts';
import { PodsealError } from '../../src/errors.ts';
import { metricsRegistry } from '../../src/node/prometheus-text.ts';
import { manualClock, type ManualClock } from '../support/manual-clock.ts';

const setOf = (id: string): NewestSet => ({
  id,
  fingerprint: id,
  dnsName: undefined,
  keyPem: '',
  chainPem: '',
  bundlePem: '',
});

const done: Attempted = { kind: 'done', what: 'told' };
const absent: Attempted = { kind: 'absent', why: 'nobody', hint: '' };
const failed: Attempted = { kind: 'failed', why: 'answered 500', hint: 'look' };

/** What outlives a process: the volume with its memory, and how the application behaves. */
interface Pod {
  readonly clock: ManualClock;
  set: NewestSet | undefined;
  told: string | undefined;
  canWrite: boolean;
  /** What each hook meets; each attempt takes a second. */
  answers: Partial<Record<HookName, Attempted | Error>>;
  /** The sets that each hook has told of, one for each attempt that ran to its end. */
  readonly attempts: Record<HookName, string[]>;
}

function newPod(changes: Partial<Pod> = {}): Pod {
  return {
    clock: manualClock(new Date('2026-03-01T00:00:00.000Z')),
    set: undefined,
    told: undefined,
    canWrite: true,
    answers: { signal: done },
    attempts: { signal: [], http: [] },
    ...changes,
  };
}

function start(context: TestContext, pod: Pod, names: readonly HookName[] = ['signal']) {
  const hooks = names.map((name): Hook => ({
    name,
    async attempt(overtaken) {
      const { id = '' } = pod.set ?? {};
      await pod.clock.pause(1_000, overtaken);
      if (!overtaken.aborted) pod.attempts[name].push(id);
      const answer = pod.answers[name] ?? done;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  }));
  const metrics = metricsRegistry();
  const runner = hookRunner(hooks, {
    clock: pod.clock,
    random: { fraction: () => 0.5 },
    log: () => undefined,
    metrics,
    current: () => pod.set,
    told: {
      read: () => pod.told,
      write(id) {
        if (!pod.canWrite) throw new PodsealError('VOLUME_UNWRITABLE', 'Cannot keep it');
        pod.told = id;
      },
    },
  });
  const stopping = new AbortController();
  const running = runner.run(stopping.signal);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  context.after(stop);
  const publish = (id: string): void => {
    pod.set = setOf(id);
    runner.published();
  };
  return { runner, metrics, publish, stop };
}

const minute = 60_000;

describe('hookRunner()', () => {
  test('tells of each new set once', async (context) => {
    const pod = newPod();
    const { publish, runner, metrics } = start(context, pod);
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, []);
    equal(runner.report()[0]?.outcome, 'none');
    publish('a');
    await pod.clock.advance(10 * minute);
    publish('b');
    await pod.clock.advance(10 * minute);
    deepEqual(pod.attempts.signal, ['a', 'b']);
    deepEqual(runner.report(), [
      { hook: 'signal', outcome: 'ok', at: '2026-03-01T00:11:01.000Z', why: 'told' },
    ]);
    match(metrics.text(), /podseal_hook_runs_total\{hook="signal",outcome="ok"\} 2/);
    match(
      metrics.text(),
      /podseal_hook_last_success_timestamp_seconds\{hook="signal"\} 1772323861/,
    );
  });

  test('a set that nobody announced is told within a minute', async (context) => {
    const pod = newPod();
    start(context, pod);
    await pod.clock.advance(minute / 2);
    pod.set = setOf('a');
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['a']);
  });

  test('nobody there for the first set: no failure, and not looked for; for the second it is one', async (context) => {
    const pod = newPod({ answers: { signal: absent } });
    const { publish, runner, metrics } = start(context, pod);
    publish('a');
    await pod.clock.advance(5 * minute);
    deepEqual(pod.attempts.signal, ['a']);
    deepEqual([runner.report()[0]?.outcome, runner.report()[0]?.why], ['none', 'nobody']);
    publish('b');
    await pod.clock.advance(5 * minute);
    deepEqual(pod.attempts.signal, ['a', 'b', 'b', 'b', 'b', 'b']);
    equal(runner.report()[0]?.outcome, 'failed');
    match(metrics.text(), /\{hook="signal",outcome="none"\} 1/);
    match(metrics.text(), /\{hook="signal",outcome="failed"\} 1/);
  });

  test('a failure is told at once, tried again, and forgotten when it heals', async (context) => {
    const pod = newPod({ answers: { signal: failed } });
    const { publish, runner } = start(context, pod);
    publish('a');
    await pod.clock.advance(1_500);
    deepEqual([runner.report()[0]?.outcome, runner.report()[0]?.why], ['failed', 'answered 500']);
    pod.answers.signal = done;
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['a', 'a']);
    equal(runner.report()[0]?.outcome, 'ok');
  });

  test('five attempts for one set, then none until the next', async (context) => {
    const pod = newPod({ answers: { signal: failed } });
    const { publish } = start(context, pod);
    publish('a');
    await pod.clock.advance(60 * minute);
    equal(pod.attempts.signal.length, 5);
    pod.answers.signal = done;
    publish('b');
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal.slice(5), ['b']);
  });

  test('a newer set ends the telling of an older one, in an attempt or between two', async (context) => {
    const pod = newPod({ answers: { signal: failed } });
    const { publish, runner } = start(context, pod);
    publish('a');
    await pod.clock.advance(500);
    publish('b');
    await pod.clock.advance(500);
    equal(runner.report()[0]?.why, 'no new set since the start', 'what was ended did not fail');
    await pod.clock.advance(1_000);
    deepEqual(pod.attempts.signal, ['b']);
    pod.answers.signal = done;
    publish('c');
    await pod.clock.advance(1_500);
    deepEqual(pod.attempts.signal, ['b', 'c']);
    equal(pod.told, 'c');
  });

  test('an application that was not told of the first set, because a second came, may still be missing', async (context) => {
    const pod = newPod({ answers: { signal: absent } });
    const { publish, runner } = start(context, pod);
    publish('a');
    await pod.clock.advance(500);
    publish('b');
    await pod.clock.advance(5 * minute);
    deepEqual(pod.attempts.signal, ['b']);
    equal(runner.report()[0]?.outcome, 'none');
  });

  test('one hook does not wait for another', async (context) => {
    const pod = newPod({ answers: { signal: done, http: failed } });
    const { publish, runner } = start(context, pod, ['signal', 'http']);
    publish('a');
    await pod.clock.advance(60 * minute);
    equal(pod.attempts.signal.length, 1);
    equal(pod.attempts.http.length, 5);
    deepEqual(
      runner.report().map(({ hook, outcome }) => [hook, outcome]),
      [
        ['signal', 'ok'],
        ['http', 'failed'],
      ],
    );
  });

  test('a bug in a hook is a failure like others', async (context) => {
    const pod = newPod({ answers: { signal: new Error('a bug') } });
    const { publish, runner } = start(context, pod);
    publish('a');
    await pod.clock.advance(60 * minute);
    equal(pod.attempts.signal.length, 5);
    match(runner.report()[0]?.why ?? '', /a bug/);
  });
});

describe('hookRunner() after a restart', () => {
  test('what was told is not told again', async (context) => {
    const pod = newPod();
    const first = start(context, pod);
    first.publish('a');
    await pod.clock.advance(minute);
    await first.stop();
    start(context, pod);
    await pod.clock.advance(10 * minute);
    deepEqual(pod.attempts.signal, ['a']);
  });

  test('killed between publish and hook: the next process tells, and counts on the application', async (context) => {
    const pod = newPod();
    const first = start(context, pod);
    first.publish('a');
    await pod.clock.advance(minute);
    await first.stop();
    pod.set = setOf('b');
    pod.answers.signal = absent;
    start(context, pod);
    await pod.clock.advance(2_000);
    pod.answers.signal = done;
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['a', 'b', 'b']);
  });

  test('killed between the very first publish and its hook: told', async (context) => {
    const pod = newPod();
    const first = start(context, pod);
    await pod.clock.advance(1);
    await first.stop();
    pod.set = setOf('a');
    start(context, pod);
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['a']);
  });

  test('what `podseal init` published before the application started needs no telling', async (context) => {
    const pod = newPod({ set: setOf('a') });
    const { publish } = start(context, pod);
    await pod.clock.advance(10 * minute);
    deepEqual(pod.attempts.signal, []);
    publish('b');
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['b']);
  });

  test('what could not be told by every hook is told by the next process', async (context) => {
    const pod = newPod({ answers: { signal: done, http: failed } });
    const first = start(context, pod, ['signal', 'http']);
    first.publish('a');
    await pod.clock.advance(10 * minute);
    await first.stop();
    pod.answers.http = done;
    start(context, pod, ['signal', 'http']);
    await pod.clock.advance(minute);
    equal(pod.attempts.http.length, 6);
    equal(pod.told, 'a');
  });

  test('a volume that cannot be written costs a second telling, nothing else', async (context) => {
    const pod = newPod({ told: 'a', set: setOf('a'), canWrite: false });
    const first = start(context, pod);
    first.publish('b');
    await pod.clock.advance(minute);
    first.publish('c');
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['b', 'c']);
    await first.stop();
    start(context, pod);
    await pod.clock.advance(minute);
    deepEqual(pod.attempts.signal, ['b', 'c', 'c']);
  });
});
