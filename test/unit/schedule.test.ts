import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { renewalFraction, renewAt } from '../../src/renewal/schedule.ts';
import { atNoonPlus, dayMs, hourMs, noon, today } from '../support/certificate-builders.ts';

/** In [0, 1). */
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('renewAt()', () => {
  test('lies inside the lifetime, and after receipt, for any certificate', () => {
    const ms = fc.integer({ min: -50 * 365 * dayMs, max: 100 * 365 * dayMs });
    const lifetime = fc.integer({ min: 1, max: 100 * 365 * dayMs });
    fc.assert(
      fc.property(
        ms,
        lifetime,
        fc.nat(),
        fraction,
        (from, lifetimeMs, receivedBeforeEnd, chance) => {
          const validity = { notBefore: atNoonPlus(from), notAfter: atNoonPlus(from + lifetimeMs) };
          // Whatever was received before its end: also long before it became valid.
          const receivedAt = new Date(validity.notAfter.getTime() - 1 - receivedBeforeEnd);
          const at = renewAt(validity, receivedAt, chance);
          assert.ok(at >= validity.notBefore, 'before notBefore');
          assert.ok(at >= receivedAt, 'before receipt');
          assert.ok(at < validity.notAfter, 'not before notAfter');
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('lies between one half and two thirds of the usable time', () => {
    const received = atNoonPlus(0);
    const usableMs = today.notAfter.getTime() - received.getTime();
    assert.equal(renewAt(today, received, 0).getTime() - received.getTime(), usableMs / 2);
    const last = renewAt(today, received, 0.999_999).getTime() - received.getTime();
    assert.ok(last > usableMs * 0.666 && last < (usableMs * 2) / 3);
  });

  test('counts a back-dated short certificate from its receipt', () => {
    // Ten minutes asked for, an hour back-dated: by its whole lifetime it would be overdue already.
    const validity = { notBefore: atNoonPlus(-hourMs), notAfter: atNoonPlus(600_000) };
    for (const chance of [0, 0.5, 0.99]) {
      const pauseMs = renewAt(validity, noon, chance).getTime() - noon.getTime();
      assert.ok(pauseMs >= 300_000 && pauseMs <= 400_000, `${pauseMs} ms`);
    }
  });

  test('counts a certificate of the future from its notBefore', () => {
    const validity = { notBefore: atNoonPlus(hourMs), notAfter: atNoonPlus(3 * hourMs) };
    assert.deepEqual(renewAt(validity, noon, 0), atNoonPlus(2 * hourMs));
  });

  test('is the end of a certificate that was received after it', () => {
    const validity = { notBefore: atNoonPlus(-hourMs), notAfter: atNoonPlus(-1) };
    assert.deepEqual(renewAt(validity, noon, 0.5), noon);
  });
});

describe('renewalFraction()', () => {
  test('lies in [0, 1) and spreads over it', () => {
    assert.equal(renewalFraction('00'.repeat(32)), 0);
    assert.equal(renewalFraction('80'.repeat(1) + '00'.repeat(31)), 0.5);
    assert.ok(renewalFraction('ff'.repeat(32)) < 1);
    assert.ok(renewalFraction('ff'.repeat(32)) > 0.999_999);
  });
});
