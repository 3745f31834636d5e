import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nearest } from '../../src/runtime/nearest.ts';

describe('nearest()', () => {
  test('counts insertions, deletions and substitutions', () => {
    assert.equal(nearest('abcd', ['abc', 'xbxd', 'wxyz']), 'abc');
    assert.equal(nearest('abc', ['xyz', 'abd', 'abcdef']), 'abd');
  });
});
