import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { errorCodes, PodsealError, type ErrorCode } from '../../src/errors.ts';
import { retryAt, type FailedAttempt } from '../../src/renewal/retry-at.ts';
import { backoffMs } from '../../src/runtime/backoff.ts';
import { atNoonPlus, dayMs, hourMs, noon } from '../support/certificate-builders.ts';

const pauseMs = (
  code: ErrorCode,
  more: Partial<FailedAttempt> & { retryAfterMs?: number } = {},
) => {
  const { retryAfterMs, ...attempt } = more;
  const details = retryAfterMs === undefined ? {} : { retryAfterMs };
  const at = retryAt({
    error: new PodsealError(code, 'Cannot go on: for the test', details),
    failures: 1,
    now: noon,
    expiresAt: undefined,
    fraction: 0,
    ...attempt,
  });
  return at.getTime() - noon.getTime();
};

const allCodes = Object.keys(errorCodes) as ErrorCode[];
const soonCodes = allCodes.filter((code) => errorCodes[code].again === 'soon');
const slowCodes = allCodes.filter((code) => errorCodes[code].again === 'slowly');
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const failures = fc.integer({ min: 1, max: 10_000 });

describe('retryAt()', () => {
  test('waits between half a second and five minutes for what time heals', () => {
    fc.assert(
      fc.property(fc.constantFrom(...soonCodes), failures, fraction, (code, count, chance) => {
        const pause = pauseMs(code, { failures: count, fraction: chance });
        assert.ok(pause >= 500 && pause <= 300_000, `${pause} ms`);
      }),
    );
  });

  test('waits between five seconds and ten minutes for what a person must mend', () => {
    fc.assert(
      fc.property(fc.constantFrom(...slowCodes), failures, fraction, (code, count, chance) => {
        const expiresAt = atNoonPlus(1000);
        const pause = pauseMs(code, { failures: count, fraction: chance, expiresAt });
        assert.ok(pause >= 5_000 && pause <= 600_000, `${pause} ms`);
      }),
    );
  });

  test('gives what time heals several chances before expiry', () => {
    const remaining = fc.integer({ min: 8_000, max: 90 * dayMs });
    fc.assert(
      fc.property(remaining, failures, fraction, (remainingMs, count, chance) => {
        const expiresAt = atNoonPlus(remainingMs);
        const pause = pauseMs('API_UNREACHABLE', { failures: count, fraction: chance, expiresAt });
        assert.ok(pause <= remainingMs / 8 + 1, `${pause} of ${remainingMs} ms`);
      }),
    );
  });

  test('never comes back at once, even long after expiry', () => {
    const expiresAt = atNoonPlus(-dayMs);
    assert.equal(pauseMs('API_UNREACHABLE', { failures: 50, expiresAt }), 500);
  });

  test('grows with the failures in a row', () => {
    const pauses = [1, 2, 3, 4].map((count) => pauseMs('API_UNREACHABLE', { failures: count }));
    assert.deepEqual(pauses, [500, 1000, 2000, 4000]);
  });

  test('stays away for as long as the API server asks', () => {
    assert.equal(pauseMs('API_UNREACHABLE', { retryAfterMs: hourMs }), hourMs);
    assert.equal(pauseMs('SIGNING_REQUEST_DENIED', { retryAfterMs: 1 }), 5_000);
  });
});

describe('backoffMs()', () => {
  test('lies between one half and the whole of a doubling pause', () => {
    const policy = { firstMs: 100, maximumMs: 60_000 };
    fc.assert(
      fc.property(failures, fraction, (count, chance) => {
        const whole = Math.min(60_000, 100 * 2 ** (count - 1));
        const ms = backoffMs(count, policy, chance);
        assert.ok(ms >= whole / 2 && ms <= whole, `${ms} of ${whole} ms`);
      }),
    );
  });
});
