import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatDuration, parseDurationMs } from '../../src/runtime/duration.ts';

describe('parseDurationMs()', () => {
  for (const [text, ms] of [
    ['24h', 86_400_000],
    ['90m', 5_400_000],
    ['30s', 30_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['0s', 0],
    ['', undefined],
    ['24', undefined],
    ['24 h', undefined],
    ['-1h', undefined],
    ['1.5h', undefined],
    ['1h30', undefined],
    ['1w', undefined],
    ['1H', undefined],
    ['1h\n', undefined],
    ['9999999999s', undefined],
  ] as const)
    test(`gives ${ms} for ${JSON.stringify(text)}`, () => {
      assert.equal(parseDurationMs(text), ms);
    });
});

describe('formatDuration()', () => {
  for (const [ms, text] of [
    [0, '0s'],
    [-5_000, '0s'],
    [999, '0s'],
    [59_999, '59s'],
    [725_000, '12m 5s'],
    [100_800_000, '1d 4h'],
    [90_000_000, '1d 1h'],
    [86_405_000, '1d 5s'],
  ] as const)
    test(`writes ${ms} ms as ${text}`, () => {
      assert.equal(formatDuration(ms), text);
    });
});
