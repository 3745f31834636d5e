import { deepEqual, equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { leadByLease, type Lease, type Leases } from '../../src/controller/lease.ts';
import { PodsealError } from '../../src/errors.ts';
import { type Clock } from '../../src/runtime/clock.ts';
import { manualClock, type ManualClock } from '../support/manual-clock.ts';

const durationMs = 6_000;
const never = new AbortController().signal;

/** What befalls one call: how long it is on its way there and back, and whether its answer arrives. */
interface Weather {
  readonly thereMs: number;
  readonly backMs: number;
  readonly isLost: boolean;
}

const fair: Weather = { thereMs: 0, backMs: 0, isLost: false };

/** One lease on an API server that writes only over the version that was read. */
function leaseServer() {
  let lease: Lease | undefined;
  let version = 0;
  const write = (over: Lease | undefined, next: Omit<Lease, 'resourceVersion'>): Lease => {
    if (over?.resourceVersion !== lease?.resourceVersion)
      throw new PodsealError('API_CONFLICT', 'Cannot update the lease: 409');
    return (lease = { ...next, resourceVersion: String(++version) });
  };
  return {
    read: () => lease,
    take: (over: Lease | undefined, holder: string, ms: number): Lease =>
      write(over, {
        holder,
        durationMs: ms,
        transitions: (over?.transitions ?? 0) + (over && over.holder !== holder ? 1 : 0),
      }),
    release: (over: Lease): Lease => write(over, { ...over, holder: undefined, durationMs: 1_000 }),
    remove: () => (lease = undefined),
    put: (next: Lease) => (lease = next),
  };
}

interface ReplicaOptions {
  readonly durationMs?: number;
  /** How fast its clocks go. */
  readonly rate?: number;
  readonly weather?: () => Weather;
  readonly fraction?: () => number;
}

type LeaseServer = ReturnType<typeof leaseServer>;

/** A process that leads when it may. It can be frozen, as by SIGSTOP: then nothing of it happens. */
function replica(
  name: string,
  world: { readonly clock: ManualClock; readonly server: LeaseServer },
  options: ReplicaOptions = {},
) {
  const { clock, server } = world;
  const { rate = 1, fraction = () => 0.5 } = options;
  let { weather = () => fair } = options;
  let frozenUntilMs = 0;
  const thaw = async (): Promise<void> => {
    while (clock.uptimeMs() < frozenUntilMs)
      await clock.pause(frozenUntilMs - clock.uptimeMs(), never);
  };
  const own: Clock = {
    now: () => clock.now(),
    sleepUntil: (when, wake) => clock.sleepUntil(when, wake),
    uptimeMs: () => clock.uptimeMs() * rate,
    async pause(ms, wake) {
      await clock.pause(ms / rate, wake);
      await thaw();
    },
  };
  let calls = 0;
  const call = async <T>(act: () => T): Promise<T> => {
    calls++;
    const { thereMs, backMs, isLost } = weather();
    if (thereMs > 0) await clock.pause(thereMs, never);
    let result: { readonly value: T } | { readonly thrown: unknown };
    try {
      result = { value: act() };
    } catch (thrown) {
      result = { thrown };
    }
    if (backMs > 0) await clock.pause(backMs, never);
    await thaw();
    if (isLost) throw new PodsealError('API_UNREACHABLE', 'Cannot reach the API server: away');
    if ('thrown' in result) throw result.thrown as Error;
    return result.value;
  };
  const leases: Leases = {
    get: () => call(() => server.read()),
    take: (over, holder, ms) => call(() => server.take(over, holder, ms)),
    async release(held) {
      await call(() => server.release(held));
    },
  };
  const stop = new AbortController();
  const errors: string[] = [];
  const gains: number[] = [];
  const self = {
    name,
    stop,
    errors,
    gains,
    calls: () => calls,
    isLeading: false,
    /** Does something: leads, and is not frozen, nor just thawed, when its timers come first. */
    isActive: () => self.isLeading && clock.uptimeMs() > frozenUntilMs,
    freeze: (ms: number) => (frozenUntilMs = Math.max(frozenUntilMs, clock.uptimeMs() + ms)),
    meet: (next: () => Weather) => (weather = next),
    onGain: (): void => undefined,
    /** Work that goes on for so long after it was told to stop. */
    workMs: 0,
    ended: Promise.resolve(),
    start() {
      self.ended = leadByLease(
        leases,
        { holder: name, durationMs: options.durationMs ?? durationMs },
        { clock: own, random: { fraction }, onFailure: ({ code }) => errors.push(code) },
        {
          stop: stop.signal,
          async lead(while_) {
            self.isLeading = true;
            gains.push(clock.uptimeMs());
            self.onGain();
            await new Promise<void>((resolve) =>
              while_.addEventListener('abort', () => resolve(), { once: true }),
            );
            self.isLeading = false;
            if (self.workMs > 0) await clock.pause(self.workMs, never);
          },
        },
      );
      return self;
    },
  };
  return self;
}

/** The next of an endless stream. */
function drawn<T>(stream: fc.Stream<T>): T {
  return stream.next().value as T;
}

function scene(context: TestContext) {
  const clock = manualClock(new Date('2026-03-01T00:00:00Z'));
  const world = { clock, server: leaseServer() };
  const replicas: ReturnType<typeof replica>[] = [];
  context.after(async () => {
    for (const { stop } of replicas) stop.abort();
    // Also those that are frozen for an hour.
    await clock.advance(4_000_000);
    await Promise.all(replicas.map(({ ended }) => ended));
  });
  return {
    ...world,
    start: (name: string, options: ReplicaOptions = {}) => {
      const one = replica(name, world, options).start();
      replicas.push(one);
      return one;
    },
  };
}

describe('leadByLease()', () => {
  test('one leads, the other stands by, and neither calls the API often', async (context) => {
    const { clock, server, start } = scene(context);
    const a = start('a');
    await clock.advance(100);
    const b = start('b');
    await clock.advance(60_000);
    deepEqual([a.isLeading, b.isLeading], [true, false]);
    equal(server.read()?.holder, 'a');
    equal(server.read()?.transitions, 0);
    deepEqual([a.gains.length, a.errors, b.errors], [1, [], []]);
    for (const { calls } of [a, b]) ok(calls() >= 40 && calls() <= 55, `${calls()} calls a minute`);
  });

  test('of two that begin together one is first, and the other says nothing of it', async (context) => {
    const { clock, start } = scene(context);
    const [a, b] = [start('a'), start('b')];
    await clock.advance(60_000);
    deepEqual([a.isLeading, b.isLeading, a.errors, b.errors], [true, false, [], []]);
  });

  test('told to stop: its work ends, then it gives the lease back, and the other leads within two seconds', async (context) => {
    const { clock, server, start } = scene(context);
    const a = start('a');
    await clock.advance(100);
    const b = start('b');
    await clock.advance(10_000);
    a.workMs = 3_000;
    a.stop.abort();
    await clock.advance(2_900);
    equal(server.read()?.holder, 'a', 'not before its work has ended');
    equal(b.isLeading, false);
    await clock.advance(2_000);
    await a.ended;
    deepEqual([b.isLeading, server.read()?.holder, server.read()?.transitions], [true, 'b', 1]);
    equal(getEventListeners(a.stop.signal, 'abort').length, 0);
  });

  test('one that dies is replaced after the duration of its lease, not before', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(100);
    const b = start('b');
    await clock.advance(60_000);
    a.freeze(3_600_000);
    const diedAt = clock.uptimeMs();
    await clock.advance(10_000);
    const tookMs = (b.gains[0] ?? 0) - diedAt;
    // Its last renewal was up to a fifth of the duration ago; the other looks that often.
    ok(tookMs >= durationMs * 0.8 && tookMs <= durationMs * 1.3, `${tookMs} ms`);
  });

  test('a dead one that comes back is no leader any more', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(100);
    const b = start('b');
    await clock.advance(10_000);
    a.freeze(20_000);
    await clock.advance(20_000);
    deepEqual([a.isLeading, b.isLeading], [false, true]);
    await clock.advance(60_000);
    deepEqual([a.isLeading, b.isLeading], [false, true]);
  });

  test('who cannot renew stops leading after two thirds, and leads on when it can again', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    a.meet(() => ({ ...fair, isLost: true }));
    await clock.advance(1_200);
    equal(a.isLeading, true);
    await clock.advance((durationMs * 2) / 3);
    equal(a.isLeading, false);
    deepEqual([...new Set(a.errors)], ['API_UNREACHABLE']);
    a.meet(() => fair);
    await clock.advance(3_000);
    equal(a.isLeading, true);
  });

  test('a call that hangs holds neither leadership nor, later, the next attempt', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    a.meet(() => ({ thereMs: 600_000, backMs: 0, isLost: true }));
    await clock.advance(1_200);
    a.meet(() => fair);
    await clock.advance(2_600);
    equal(a.isLeading, false);
    await clock.advance(2_000);
    equal(a.isLeading, true);
  });

  test('an answer to the first call that comes too late makes no leader', async (context) => {
    const { clock, server, start } = scene(context);
    const a = start('a', { weather: () => ({ thereMs: 0, backMs: 5_000, isLost: false }) });
    await clock.advance(10_100);
    equal(server.read()?.holder, 'a');
    deepEqual(a.gains, [], 'another may lead by now');
    a.meet(() => fair);
    await clock.advance(20_000);
    equal(a.isLeading, true);
  });

  test('a renewal counts from when it was asked for, not from its answer', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    // Asked for at 10.8 s, answered at 12.8 s.
    a.meet(() => ({ thereMs: 0, backMs: 2_000, isLost: false }));
    await clock.advance(1_000);
    a.meet(() => ({ ...fair, isLost: true }));
    await clock.advance(3_600);
    equal(a.isLeading, true);
    await clock.advance(400);
    equal(a.isLeading, false);
  });

  test('told to stop in the middle of a renewal, it gives back what became of the lease', async (context) => {
    const { clock, server, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    a.meet(() => ({ thereMs: 400, backMs: 400, isLost: false }));
    await clock.advance(1_000);
    a.stop.abort();
    await clock.advance(3_000);
    await a.ended;
    equal(server.read()?.holder, undefined);
  });

  test('a renewal whose answer was lost is a renewal all the same', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    let count = 0;
    a.meet(() => ({ ...fair, isLost: count++ % 3 === 0 }));
    await clock.advance(60_000);
    deepEqual([a.gains.length, a.isLeading], [1, true]);
  });

  test('steps of the wall clock change nothing', async (context) => {
    const { clock, start } = scene(context);
    const a = start('a');
    await clock.advance(100);
    const b = start('b');
    for (const step of [86_400_000, -2 * 86_400_000, 3_600_000]) {
      await clock.advance(5_000);
      clock.step(step);
      await clock.advance(5_000);
      deepEqual([a.gains.length, b.gains.length, a.isLeading], [1, 0, true]);
    }
    // Nor may it keep one leading that cannot renew.
    a.meet(() => ({ ...fair, isLost: true }));
    clock.step(-86_400_000);
    await clock.advance(5_500);
    equal(a.isLeading, false);
    await clock.advance(5_000);
    equal(b.isLeading, true);
  });

  test('the longer duration counts, when replicas are told different ones', async (context) => {
    for (const [first, second] of [
      [30_000, 2_000],
      [2_000, 30_000],
    ] as const) {
      const { clock, start } = scene(context);
      const a = start('a', { durationMs: first });
      await clock.advance(100);
      const b = start('b', { durationMs: second });
      await clock.advance(60_000);
      deepEqual([a.isLeading, b.isLeading], [true, false]);
      a.freeze(3_600_000);
      await clock.advance(20_000);
      equal(b.isLeading, false);
      await clock.advance(20_000);
      equal(b.isLeading, true);
    }
  });

  test('a lease of somebody who said no duration is waited for all the same', async (context) => {
    const { clock, server, start } = scene(context);
    server.put({ holder: 'other', durationMs: 0, resourceVersion: 'x', transitions: 7 });
    const a = start('a');
    await clock.advance(durationMs - 100);
    equal(a.isLeading, false);
    await clock.advance(2_000);
    deepEqual([a.isLeading, server.read()?.transitions], [true, 8]);
  });

  test('a lease that was written over by force ends leadership with the next renewal', async (context) => {
    const { clock, server, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    server.put({ holder: 'other', durationMs, resourceVersion: 'x', transitions: 1 });
    a.workMs = 3_000;
    await clock.advance(1_300);
    deepEqual([a.isLeading, a.errors], [false, []]);
    a.stop.abort();
    await clock.advance(5_000);
    await a.ended;
    equal(server.read()?.holder, 'other', "another's lease is not given back");
  });

  test('a lease that somebody removed is taken anew', async (context) => {
    const { clock, server, start } = scene(context);
    const a = start('a');
    await clock.advance(10_000);
    server.remove();
    await clock.advance(10_000);
    deepEqual([a.isLeading, server.read()?.holder], [true, 'a']);
  });

  test('never two at once: pauses, slow and lost calls, clocks that go apart', async (context) => {
    const weather = fc.record({
      thereMs: fc.oneof(fc.constant(0), fc.nat(500), fc.nat(10_000)),
      backMs: fc.oneof(fc.constant(0), fc.nat(500), fc.nat(10_000)),
      isLost: fc.boolean(),
    });
    const event = fc.record({
      afterMs: fc.nat(3_000),
      who: fc.nat(2),
      what: fc.constantFrom('freeze', 'storm', 'calm', 'step', 'stop', 'nothing'),
      ms: fc.nat(15_000),
    });
    const replicas = fc.array(fc.record({ rate: fc.double({ min: 0.9, max: 1.1, noNaN: true }) }), {
      minLength: 2,
      maxLength: 3,
    });
    let gained = 0;
    await fc.assert(
      fc.asyncProperty(
        replicas,
        fc.array(event, { minLength: 10, maxLength: 40 }),
        fc.infiniteStream(weather),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        async (specs, events, weathers, fractions) => {
          const { clock, start } = scene(context);
          const all = specs.map(({ rate }, i) =>
            start(`replica ${i}`, { rate, fraction: () => drawn(fractions) }),
          );
          const violations: string[] = [];
          const check = (): void => {
            const active = all.filter((each) => each.isActive()).map(({ name }) => name);
            if (active.length > 1) violations.push(`${clock.uptimeMs()}: ${active.join(' and ')}`);
          };
          for (const each of all) each.onGain = check;
          const act: Record<string, (which: number, ms: number) => unknown> = {
            freeze: (which, ms) => all[which]?.freeze(ms),
            storm: (which) => all[which]?.meet(() => drawn(weathers)),
            calm: (which) => all[which]?.meet(() => fair),
            step: (_, ms) => clock.step((ms - 7_500) * 1_000),
            // One at least goes on.
            stop: (which) => which > 0 && all[which]?.stop.abort(),
          };
          for (const { afterMs, who, what, ms } of events) {
            act[what]?.(who, ms);
            for (let passed = 0; passed < afterMs; passed += 200) {
              await clock.advance(200);
              check();
            }
          }
          deepEqual(violations, []);
          for (const each of all) each.meet(() => fair);
          await clock.advance(60_000);
          equal(all.filter((each) => each.isActive()).length, 1, 'in the end somebody leads');
          gained += all.reduce((sum, { gains }) => sum + gains.length, 0);
          for (const { stop } of all) stop.abort();
          await clock.advance(60_000);
          await Promise.all(all.map(({ ended }) => ended));
        },
      ),
      { numRuns: 100 },
    );
    ok(gained > 110, `leadership was gained ${gained} times in 100 runs`);
  });
});
