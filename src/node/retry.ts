import pRetry from 'p-retry';
import { asPodsealError, errorCodes, type ErrorCode } from '../errors.ts';
import { type Clock, earlier, later } from '../runtime/clock.ts';
import { type Retry } from '../runtime/retry.ts';

/** Retries what heals by itself: 250 ms doubling to 15 s, each between one and two times that. */
export function retryWith(clock: Clock): Retry {
  return async (attempt, { giveUpAt, stop }) => {
    let last: unknown;
    try {
      return await pRetry(attempt, {
        retries: Infinity,
        minTimeout: 250,
        maxTimeout: 15_000,
        factor: 2,
        randomize: true,
        signal: stop,
        shouldRetry: ({ error, attemptNumber }) =>
          isWorthAnother(asPodsealError(error).code, attemptNumber) && clock.now() < giveUpAt,
        onFailedAttempt: async ({ error, retryDelay }) => {
          last = error;
          const { retryAfterMs = 0 } = asPodsealError(error);
          // What the back-off will wait anyway counts towards what the server asked for.
          const until = earlier(later(clock.now(), retryAfterMs - retryDelay), giveUpAt);
          await clock.sleepUntil(until, stop);
        },
      });
    } catch (error) {
      // Being asked to stop during a pause must not hide what went wrong.
      throw stop.aborted && last !== undefined ? last : error;
    }
  };
}

/** A restarted API server forbids everything for a second, until it has read its roles; so does a new binding. */
const forbiddenAttempts = 4;

function isWorthAnother(code: ErrorCode, attempts: number): boolean {
  if (code === 'API_FORBIDDEN') return attempts <= forbiddenAttempts;
  return errorCodes[code].again === 'soon' && code !== 'API_CONFLICT';
}
