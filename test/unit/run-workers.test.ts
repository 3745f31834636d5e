import { deepEqual, equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import { type Outcome, runWorkers } from '../../src/controller/run-workers.ts';
import { workList, type WorkItem } from '../../src/controller/work-list.ts';
import { type ErrorCode, PodsealError } from '../../src/errors.ts';
import { manualClock } from '../support/manual-clock.ts';

const minute = 60_000;
const done: Outcome = { kind: 'done' };
const error = (code: ErrorCode, retryAfterMs?: number): PodsealError =>
  new PodsealError(code, 'Cannot do it', retryAfterMs === undefined ? {} : { retryAfterMs });

interface Call {
  readonly uid: string;
  readonly atMs: number;
}

/** Workers on a list of so many objects; `handle` is asked with the object and how often it was tried before. */
function scene(
  context: TestContext,
  { objects, workers }: { readonly objects: number; readonly workers: number },
  handle: (uid: string, before: number, atMs: number) => Outcome | Promise<Outcome>,
) {
  const clock = manualClock(new Date('2026-03-01T00:00:00Z'));
  const stop = new AbortController();
  const list = workList<WorkItem>(
    clock,
    () => ({ group: 'a', lane: 'start' }),
    () => true,
  );
  const calls: Call[] = [];
  const failures: string[] = [];
  const follower = list.follower(() => true);
  /** Spread evenly, the same in each run. */
  let drawn = 0;
  const fraction = (): number => (drawn += Math.SQRT2) % 1;
  for (let i = 0; i < objects; i++) follower.put({ uid: String(i), resourceVersion: '1' });
  const running = Promise.all([
    list.run(stop.signal),
    runWorkers(
      list,
      async ({ uid }) => {
        const before = calls.filter((call) => call.uid === uid).length;
        calls.push({ uid, atMs: clock.uptimeMs() });
        return handle(uid, before, clock.uptimeMs());
      },
      {
        clock,
        random: { fraction },
        onFailure: ({ code }) => failures.push(code),
      },
      { count: workers, stop: stop.signal },
    ),
  ]);
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  context.after(end);
  return { clock, list, calls, failures, follower, stop, end };
}

describe('runWorkers()', () => {
  test('so many at once, until nothing is left', async (context) => {
    let atOnce = 0;
    let most = 0;
    const { clock, list, calls } = scene(context, { objects: 20, workers: 4 }, async () => {
      most = Math.max(most, ++atOnce);
      await new Promise(setImmediate);
      atOnce--;
      return done;
    });
    for (let i = 0; i < 10; i++) await clock.advance(1);
    deepEqual([calls.length, most, list.depth], [20, 4, 0]);
  });

  test('what waits for something else is looked at again when it said', async (context) => {
    const { clock, calls, failures } = scene(context, { objects: 1, workers: 1 }, (_, before) =>
      before === 2 ? done : { kind: 'again', afterMs: 10_000 },
    );
    await clock.advance(minute);
    deepEqual(
      calls.map(({ atMs }) => Math.round(atMs / 1000)),
      [0, 10, 20],
    );
    deepEqual(failures, []);
  });

  test('an object that cannot be handled is tried again with growing gaps, and holds up no other', async (context) => {
    const { clock, calls, failures, list } = scene(
      context,
      { objects: 10, workers: 1 },
      (uid, before) => {
        if (uid !== '0' || before >= 8) return done;
        throw error('API_REFUSED');
      },
    );
    await clock.advance(0);
    equal(new Set(calls.map(({ uid }) => uid)).size, 10, 'the others did not wait');
    await clock.advance(2 * minute);
    const times = calls.filter(({ uid }) => uid === '0').map(({ atMs }) => atMs);
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    ok(
      gaps.every((gap, i) => i === 0 || gap >= (gaps[i - 1] ?? 0)),
      gaps.join(),
    );
    ok((gaps.at(-1) ?? 0) > 7_000 && (gaps.at(-1) ?? 0) <= 15_100, gaps.join());
    deepEqual([failures.length, list.depth, list.putOffCount], [8, 0, 0]);
  });

  test('a bug in a handler is a failure like others', async (context) => {
    const { clock, failures } = scene(context, { objects: 1, workers: 1 }, (_, before) => {
      if (before === 0) throw new TypeError('nothing is not a function');
      return done;
    });
    await clock.advance(1_000);
    deepEqual(failures, ['INVARIANT']);
  });

  test('while the API server is away a long queue is no storm, and all workers go on soon after', async (context) => {
    const end = 3 * minute;
    const { clock, calls, list } = scene(
      context,
      { objects: 1_000, workers: 32 },
      async (_uid, _before, atMs) => {
        if (atMs < end) throw error('API_UNREACHABLE');
        await clock.pause(100, new AbortController().signal);
        return done;
      },
    );
    await clock.advance(end - 1);
    // Each worker pauses up to 15 s.
    ok(calls.length < 32 * 30, `${calls.length} calls in three minutes`);
    await clock.advance(30_000);
    deepEqual([list.depth, list.putOffCount], [0, 0]);
    // The first that is done, 100 ms after it began, wakes the others.
    const [first = 0] = calls.filter(({ atMs }) => atMs >= end).map(({ atMs }) => atMs);
    const soon = calls.filter(({ atMs }) => atMs >= first && atMs <= first + 110);
    ok(soon.length >= 32, `${soon.length} of 32 workers went on`);
  });

  test('once the API server was back, the next trouble begins with a short pause', async (context) => {
    const { clock, calls, follower } = scene(context, { objects: 1, workers: 1 }, (uid, before) => {
      if (before < (uid === '0' ? 9 : 1)) throw error('API_UNREACHABLE');
      return done;
    });
    await clock.advance(5 * minute);
    follower.put({ uid: '1', resourceVersion: '1' });
    await clock.advance(300);
    deepEqual(
      calls.slice(-3).map(({ uid }) => uid),
      ['0', '1', '1'],
    );
  });

  test('an object is not put off for long because the API server was away', async (context) => {
    const end = 3 * minute;
    const { clock, calls } = scene(context, { objects: 12, workers: 32 }, (_uid, _before, atMs) => {
      if (atMs < end) throw error('API_UNREACHABLE');
      return done;
    });
    await clock.advance(end + 3_000);
    equal(calls.filter(({ atMs }) => atMs >= end).length, 12);
  });

  test('Retry-After is kept to by the worker and for the object, whoever else succeeds', async (context) => {
    const { clock, calls } = scene(context, { objects: 2, workers: 2 }, (uid, before) => {
      if (uid === '0') return { kind: 'again', afterMs: 100 };
      if (before === 0) throw error('API_UNREACHABLE', 30_000);
      return done;
    });
    await clock.advance(minute);
    const times = calls.filter(({ uid }) => uid === '1').map(({ atMs }) => Math.round(atMs / 100));
    deepEqual(times, [0, 300]);
    ok(calls.length > 100, 'the other went on');
  });

  test('a refusal of us all pauses too, a refusal of one object does not', async (context) => {
    for (const [code, expected] of [
      ['API_FORBIDDEN', 1],
      ['API_REFUSED', 5],
    ] as const) {
      const { clock, calls } = scene(context, { objects: 5, workers: 1 }, () => {
        throw error(code);
      });
      await clock.advance(0);
      equal(calls.length, expected, code);
    }
  });

  test('what goes away while it fails is not kept in mind', async (context) => {
    const gaps: number[] = [];
    const { clock, calls, follower } = scene(context, { objects: 1, workers: 1 }, () => {
      throw error('API_REFUSED');
    });
    await clock.advance(minute);
    follower.replace([]);
    const before = calls.length;
    await clock.advance(minute);
    equal(calls.length, before);
    follower.put({ uid: '0', resourceVersion: '9' });
    await clock.advance(1_000);
    for (let i = before + 1; i < calls.length; i++)
      gaps.push((calls[i]?.atMs ?? 0) - (calls[i - 1]?.atMs ?? 0));
    ok(gaps.length > 0 && (gaps[0] ?? 0) <= 200, 'its failures begin anew');
  });

  test('told to stop: what is under way is finished, nothing new begun, pauses end', async (context) => {
    const finish: (() => void)[] = [];
    const { clock, calls, list, stop, end } = scene(
      context,
      { objects: 10, workers: 3 },
      async (uid) => {
        if (uid === '0') throw error('API_UNREACHABLE', 120_000);
        await new Promise<void>((resolve) => finish.push(resolve));
        return done;
      },
    );
    await clock.advance(10);
    equal(getEventListeners(stop.signal, 'abort').length > 0, true);
    let hasEnded = false;
    const ended = end().then(() => (hasEnded = true));
    await clock.advance(0);
    equal(hasEnded, false);
    for (const each of finish) each();
    await ended;
    deepEqual([calls.length, list.depth], [3, 7]);
    equal(getEventListeners(stop.signal, 'abort').length, 0);
  });
});
