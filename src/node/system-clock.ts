import { type Clock } from '../runtime/clock.ts';

/**
 * The platform's timer fires at once for waits above 2^31-1 ms (24.8 days), and neither it nor the
 * monotonic clock notices a stepped wall clock or a suspended node: so sleep in slices and look again.
 */
const sliceMs = 30_000;

export const systemClock: Clock = {
  now: () => new Date(),
  async sleepUntil(when, wake) {
    for (;;) {
      const left = when.getTime() - Date.now();
      if (left <= 0 || wake.aborted) return;
      await slice(Math.min(left, sliceMs), wake);
    }
  },
  uptimeMs: () => performance.now(),
  async pause(ms, wake) {
    for (const end = performance.now() + ms; ;) {
      const left = end - performance.now();
      if (left <= 0 || wake.aborted) return;
      // Whole milliseconds, rounded up: the timer rounds down, and would fire too early.
      await slice(Math.min(Math.ceil(left), sliceMs), wake);
    }
  },
};

function slice(ms: number, wake: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      wake.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    wake.addEventListener('abort', done, { once: true });
  });
}
