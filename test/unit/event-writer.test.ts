import { deepEqual, equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { eventWriter, type WrittenEvent } from '../../src/controller/event-writer.ts';
import { type ErrorCode, PodsealError } from '../../src/errors.ts';
import {
  type PodEvent,
  type PodEventReason,
  type PodReference,
} from '../../src/telemetry/pod-events.ts';
import { manualClock } from '../support/manual-clock.ts';

const minute = 60_000;

const pod = (name: string): PodReference => ({ namespace: 'shop', name, uid: `uid of ${name}` });
const event = (message: string, reason: PodEventReason = 'CertificateWaiting'): PodEvent => ({
  type: 'Warning',
  reason,
  message,
});

interface Written {
  readonly pod: string;
  readonly atMs: number;
  readonly event: WrittenEvent;
}

function scene(context: TestContext) {
  const clock = manualClock(new Date('2026-03-01T00:00:00Z'));
  const stop = new AbortController();
  const written: Written[] = [];
  const failures: string[] = [];
  const state = {
    isBusy: false,
    faults: [] as PodsealError[],
    attempts: 0,
    /** While a write is under way. */
    meanwhile: (): void => undefined,
  };
  const writer = eventWriter({
    clock,
    random: { fraction: () => 0.5 },
    write({ name }, told) {
      state.attempts++;
      state.meanwhile();
      const fault = state.faults.shift();
      if (fault) return Promise.reject(fault);
      written.push({ pod: name, atMs: clock.uptimeMs(), event: told });
      return Promise.resolve();
    },
    isBusy: () => state.isBusy,
    onFailure: ({ code }) => failures.push(code),
  });
  const running = writer.run(stop.signal);
  context.after(async () => {
    stop.abort();
    await running;
    equal(getEventListeners(stop.signal, 'abort').length, 0);
  });
  return {
    clock,
    state,
    written,
    failures,
    record: (name: string, message = 'waits', reason?: PodEventReason) =>
      writer.record(pod(name), event(message, reason)),
    messages: () => written.map(({ pod, event }) => `${pod}: ${event.message} x${event.count}`),
  };
}

describe('eventWriter()', () => {
  test('writes what is told, at once when there is nothing else to do', async (context) => {
    const { clock, record, written } = scene(context);
    await clock.advance(10 * minute);
    record('web-0', 'no such Service yet');
    await clock.advance(0);
    const at = new Date('2026-03-01T00:10:00Z');
    deepEqual(
      written.map(({ event }) => event),
      [{ ...event('no such Service yet'), count: 1, firstAt: at, lastAt: at }],
    );
  });

  test('at most once a pod and minute, and then the newest', async (context) => {
    const { clock, record, messages, written } = scene(context);
    record('web-0', 'first');
    await clock.advance(1_000);
    for (let i = 1; i <= 50; i++) {
      record('web-0', `message ${i}`);
      await clock.advance(1_000);
    }
    deepEqual(messages(), ['web-0: first x1']);
    await clock.advance(minute);
    deepEqual(messages(), ['web-0: first x1', 'web-0: message 50 x1']);
    ok((written[1]?.atMs ?? 0) - (written[0]?.atMs ?? 0) >= minute);
  });

  test('the same said again is counted, from when it was first said', async (context) => {
    const { clock, record, written } = scene(context);
    for (let i = 0; i < 5; i++) {
      record('web-0');
      await clock.advance(10_000);
    }
    await clock.advance(minute);
    const { count = 0, firstAt, lastAt } = written.at(-1)?.event ?? {};
    equal(count, 5);
    equal((lastAt?.getTime() ?? 0) - (firstAt?.getTime() ?? 0), 40_000);
  });

  test('another reason is another Event, and begins to count anew', async (context) => {
    const { clock, record, messages } = scene(context);
    record('web-0');
    record('web-0', 'waits', 'CertificateDenied');
    await clock.advance(0);
    deepEqual(messages(), ['web-0: waits x1']);
  });

  test('pods do not wait for one another', async (context) => {
    const { clock, record, messages } = scene(context);
    record('a');
    await clock.advance(100);
    record('a', 'again');
    record('b');
    await clock.advance(300);
    deepEqual(messages(), ['a: waits x1', 'b: waits x1']);
  });

  test('waits while there is more urgent work, but not for ever', async (context) => {
    const { clock, record, state, written } = scene(context);
    state.isBusy = true;
    record('a');
    record('b');
    await clock.advance(20_000);
    state.isBusy = false;
    await clock.advance(250);
    equal(written.length, 2, 'soon after the work is done');
    state.isBusy = true;
    await clock.advance(250);
    record('c');
    await clock.advance(29_000);
    equal(written.length, 2);
    await clock.advance(1_500);
    equal(written.length, 3);
  });

  test('steps of the wall clock change no pause', async (context) => {
    const { clock, record, written } = scene(context);
    record('a');
    await clock.advance(100);
    clock.step(-86_400_000);
    record('a', 'next');
    await clock.advance(30_000);
    clock.step(86_400_000);
    await clock.advance(10_000);
    equal(written.length, 1);
    await clock.advance(21_000);
    equal(written.length, 2);
  });

  test('what the API server was too busy for is written later, with growing pauses and Retry-After', async (context) => {
    const { clock, record, state, failures, messages } = scene(context);
    const away = (retryAfterMs?: number): PodsealError =>
      new PodsealError('API_UNREACHABLE', 'Cannot create an Event: 503', {
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
    for (let i = 0; i < 100; i++) record(`pod ${i}`);
    state.faults = [away(45_000)];
    await clock.advance(44_000);
    equal(state.attempts, 1);
    state.faults = Array.from({ length: 1_000 }, () => away());
    await clock.advance(10 * minute);
    ok(failures.length < 40, `${failures.length} attempts in ten minutes`);
    record('pod 7', 'the newest');
    state.faults = [];
    await clock.advance(minute);
    equal(messages().length, 100, 'none is lost');
    ok(messages().includes('pod 7: the newest x1'));
    equal(new Set(failures).size, 1);
  });

  test('what is told while a write fails is what is written then, and one success ends the trouble', async (context) => {
    const { clock, record, state, messages } = scene(context);
    const away = new PodsealError('API_UNREACHABLE', 'Cannot create an Event: 503');
    state.faults = Array.from({ length: 10 }, () => away);
    record('a', 'old');
    state.meanwhile = () => record('a', 'new');
    await clock.advance(0);
    state.meanwhile = () => undefined;
    await clock.advance(10 * minute);
    deepEqual(messages(), ['a: new x1']);
    state.faults = [away];
    record('b');
    await clock.advance(1_000);
    deepEqual(messages(), ['a: new x1', 'b: waits x1']);
  });

  for (const code of ['API_FORBIDDEN', 'API_REFUSED', 'API_NOT_FOUND'] satisfies ErrorCode[])
    test(`what was refused for good (${code}) is not tried again, and holds up no other`, async (context) => {
      const { clock, record, state, messages } = scene(context);
      state.faults = [new PodsealError(code, 'Cannot create an Event')];
      record('a');
      record('b');
      await clock.advance(10 * minute);
      deepEqual(messages(), ['b: waits x1']);
      equal(state.attempts, 2);
    });

  test('a flood costs no memory: the oldest goes', async (context) => {
    const { clock, record, state, written } = scene(context);
    state.isBusy = true;
    for (let i = 0; i < 25_000; i++) record(`pod ${i}`);
    state.isBusy = false;
    await clock.advance(minute);
    equal(written.length, 10_000);
    equal(written[0]?.pod, 'pod 15000');
    equal(written.at(-1)?.pod, 'pod 24999');
  });

  test('never two writes about a pod in a minute, and in the end the newest is written', async (context) => {
    const step = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      message: fc.constantFrom('x', 'y', 'z'),
      afterMs: fc.nat(40_000),
      isBusy: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { clock, record, state, written } = scene(context);
        const newest = new Map<string, string>();
        for (const { name, message, afterMs, isBusy } of steps) {
          record(name, message);
          newest.set(name, message);
          state.isBusy = isBusy;
          await clock.advance(afterMs);
        }
        await clock.advance(3 * minute);
        for (const [name, message] of newest) {
          const own = written.filter((each) => each.pod === name);
          equal(own.at(-1)?.event.message, message);
          for (let i = 1; i < own.length; i++)
            ok((own[i]?.atMs ?? 0) - (own[i - 1]?.atMs ?? 0) >= minute);
        }
      }),
      { numRuns: 50 },
    );
  });
});
