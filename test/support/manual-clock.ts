import { type Clock } from '../../src/runtime/clock.ts';

/** A clock that stands still until it is moved; sleepers wake as the time they wait for comes. */
export interface ManualClock extends Clock {
  /** Moves forward, waking every sleeper on the way in order, and lets what they do settle. */
  advance(ms: number): Promise<void>;
  /** Steps the wall clock, as NTP or a person does. Sleepers look at it when they are next woken. */
  step(ms: number): void;
}

interface Sleeper {
  /** By uptime; steps of the wall clock move it for those who sleep until a moment. */
  readonly dueMs: () => number;
  readonly wake: () => void;
}

export function manualClock(start: Date): ManualClock {
  let uptimeMs = 0;
  /** Of the wall clock at uptime 0. */
  let zero = start.getTime();
  const sleepers = new Set<Sleeper>();
  const settle = async (): Promise<void> => {
    // Promises and key generation take a few turns of the event loop.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const sleep = (dueMs: () => number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (dueMs() <= uptimeMs || signal.aborted) {
        resolve();
        return;
      }
      const sleeper: Sleeper = {
        dueMs,
        wake() {
          sleepers.delete(sleeper);
          signal.removeEventListener('abort', sleeper.wake);
          resolve();
        },
      };
      sleepers.add(sleeper);
      signal.addEventListener('abort', sleeper.wake, { once: true });
    });
  return {
    now: () => new Date(zero + uptimeMs),
    sleepUntil: (when, signal) => sleep(() => when.getTime() - zero, signal),
    uptimeMs: () => uptimeMs,
    pause(ms, signal) {
      const dueMs = uptimeMs + ms;
      return sleep(() => dueMs, signal);
    },
    async advance(ms) {
      const end = uptimeMs + ms;
      for (;;) {
        await settle();
        const next = [...sleepers].sort((a, b) => a.dueMs() - b.dueMs())[0];
        if (!next || next.dueMs() > end) break;
        uptimeMs = Math.max(uptimeMs, next.dueMs());
        next.wake();
      }
      uptimeMs = end;
      await settle();
    },
    step(ms) {
      zero += ms;
    },
  };
}
