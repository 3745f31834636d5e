import { errorCodes, type PodsealError } from '../errors.ts';
import { backoffMs } from '../runtime/backoff.ts';

export interface FailedAttempt {
  readonly error: PodsealError;
  /** Attempts that failed in a row, this one included. */
  readonly failures: number;
  readonly now: Date;
  /** End of validity of the certificate in use, if there is one. */
  readonly expiresAt: Date | undefined;
  /** Chance, in [0, 1). */
  readonly fraction: number;
}

const soon = { firstMs: 1_000, maximumMs: 5 * 60_000 };
const slowly = { firstMs: 10_000, maximumMs: 10 * 60_000 };

/**
 * When to try again. What time heals is tried often enough to get several chances before expiry,
 * however short the certificate; what a person must mend is tried slowly, because each attempt may
 * leave a request behind for that person to read.
 */
export function retryAt(attempt: FailedAttempt): Date {
  const { error, failures, now, expiresAt, fraction } = attempt;
  const isSlow = errorCodes[error.code].again === 'slowly';
  const remainingMs = expiresAt ? expiresAt.getTime() - now.getTime() : Infinity;
  const maximumMs = isSlow
    ? slowly.maximumMs
    : Math.max(soon.firstMs, Math.min(soon.maximumMs, remainingMs / 8));
  const firstMs = isSlow ? slowly.firstMs : soon.firstMs;
  const pauseMs = Math.max(
    backoffMs(failures, { firstMs, maximumMs }, fraction),
    error.retryAfterMs ?? 0,
  );
  return new Date(now.getTime() + pauseMs);
}
