import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { afterAttempt, type Attempted } from '../../src/application/hook.ts';
import { isNews, probeGapMs, type Serving } from '../../src/application/serving.ts';

const done: Attempted = { kind: 'done', what: '' };
const absent: Attempted = { kind: 'absent', why: '', hint: '' };
const failed: Attempted = { kind: 'failed', why: '', hint: '' };

const first = { isFirstSet: true, fraction: 0.5 };
const later = { isFirstSet: false, fraction: 0.5 };

describe('afterAttempt()', () => {
  test('done is the end', () => {
    deepEqual(afterAttempt(done, 1, later), { kind: 'over', outcome: 'ok' });
    deepEqual(afterAttempt(done, 5, first), { kind: 'over', outcome: 'ok' });
  });

  test('nobody there: no failure for the first set, tried again for others', () => {
    deepEqual(afterAttempt(absent, 1, first), { kind: 'over', outcome: 'none' });
    equal(afterAttempt(absent, 1, later).kind, 'again');
  });

  test('a failure is one for every set', () => {
    equal(afterAttempt(failed, 1, first).kind, 'again');
    equal(afterAttempt(failed, 1, later).kind, 'again');
  });

  test('five attempts with growing pauses, within a minute whatever chance says', () => {
    for (const fraction of [0, 0.999]) {
      const pauses: number[] = [];
      for (let number = 1; ; number++) {
        const next = afterAttempt(failed, number, { isFirstSet: false, fraction });
        if (next.kind === 'over') {
          deepEqual([next.outcome, number], ['failed', 5]);
          break;
        }
        pauses.push(next.afterMs);
      }
      deepEqual(
        pauses,
        pauses.toSorted((a, b) => a - b),
      );
      const sum = pauses.reduce((a, b) => a + b);
      ok(sum > 20_000 && sum < 60_000, `${sum} ms`);
    }
  });
});

const current: Serving = { kind: 'current' };
const other: Serving = { kind: 'other', fingerprint: '00' };
const unreachable: Serving = { kind: 'unreachable', why: 'ECONNREFUSED' };

describe('probeGapMs()', () => {
  test('grows until a minute has passed since the change, then once a minute', () => {
    const looks: number[] = [0];
    for (let at = 0; at < 200_000;) looks.push((at += probeGapMs(other, at)));
    const early = looks.filter((at) => at < 60_000);
    ok(early.length > 6 && early.length < 15, `${early.length} looks in the first minute`);
    const gaps = looks.slice(1).map((at, index) => at - (looks[index] ?? 0));
    deepEqual(
      gaps,
      gaps.toSorted((a, b) => a - b),
    );
    equal(gaps.at(-1), 60_000);
  });

  test('rests as soon as the application serves the certificate', () => {
    equal(probeGapMs(current, 0), 60_000);
    equal(probeGapMs(unreachable, 0), 500);
  });
});

describe('isNews()', () => {
  test('that the certificate is served, once', () => {
    ok(isNews(current, undefined, 0));
    ok(!isNews(current, 'current', 90_000));
  });

  test('that it is not, only after a minute, and once', () => {
    for (const serving of [other, unreachable]) {
      ok(!isNews(serving, undefined, 59_999));
      ok(isNews(serving, undefined, 60_000));
      ok(!isNews(serving, serving.kind, 60_000));
    }
  });

  test('that it is served again', () => {
    ok(isNews(current, 'unreachable', 600_000));
  });
});
