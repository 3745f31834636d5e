import { type Clock } from '../../src/runtime/clock.ts';

/** A clock that stands still until it is moved; sleepers wake as the time they wait for comes. */
export interface ManualClock extends Clock {
  /** Moves forward, waking every sleeper on the way in order, and lets what they do settle. */
  advance(ms: number): Promise<void>;
  /** Steps the wall clock, as NTP or a person does. Sleepers look at it when they are next woken. */
  step(ms: number): void;
}

interface Sleeper {
  readonly when: number;
  readonly wake: () => void;
}

export function manualClock(start: Date): ManualClock {
  let now = start.getTime();
  const sleepers = new Set<Sleeper>();
  const settle = async (): Promise<void> => {
    // Promises and key generation take a few turns of the event loop.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    now: () => new Date(now),
    sleepUntil: (when, signal) =>
      new Promise((resolve) => {
        if (when.getTime() <= now || signal.aborted) {
          resolve();
          return;
        }
        const sleeper: Sleeper = {
          when: when.getTime(),
          wake() {
            sleepers.delete(sleeper);
            signal.removeEventListener('abort', sleeper.wake);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal.addEventListener('abort', sleeper.wake, { once: true });
      }),
    async advance(ms) {
      const end = now + ms;
      for (;;) {
        await settle();
        const next = [...sleepers].sort((a, b) => a.when - b.when)[0];
        if (!next || next.when > end) break;
        now = Math.max(now, next.when);
        next.wake();
      }
      now = end;
      await settle();
    },
    step(ms) {
      now += ms;
    },
  };
}
