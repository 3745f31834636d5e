import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Standing } from '../../src/certificates/observed-request.ts';
import {
  excessOf,
  finishedReason,
  isUnfinished,
  keptRequest,
  type KeptRequest,
} from '../../src/signer/removals.ts';
import { aPod, aRequest, aUser, theTokenOf } from '../support/approval-builders.ts';
import { atNoonPlus, noon } from '../support/certificate-builders.ts';
import { condition } from '../support/signer-twins.ts';

const minuteMs = 60_000;

const kept = (standing: Standing, changes: Partial<KeptRequest> = {}): KeptRequest => ({
  name: standing,
  uid: standing,
  standing,
  createdAt: noon,
  sinceMs: 0,
  pod: undefined,
  ...changes,
});

describe('keptRequest()', () => {
  test('knows the pod by the token, and nobody else', () => {
    const request = aRequest({ by: theTokenOf(aPod()) });
    assert.equal(keptRequest(request, undefined, 0).pod?.uid, 'uid-of-web-0');
    const other = aRequest({ by: aUser('kubernetes-admin') });
    assert.equal(keptRequest(other, undefined, 0).pod, undefined);
  });

  test('counts from when it was first seen to stand so, by our own clock', () => {
    const pending = aRequest();
    const first = keptRequest(pending, undefined, 1_000);
    const again = keptRequest(pending, first, 2_000);
    assert.deepEqual([first.sinceMs, again.sinceMs], [1_000, 1_000]);
    const denied = aRequest({ conditions: [{ ...condition('Denied'), updatedAt: new Date(0) }] });
    const then = keptRequest(denied, again, 3_000);
    assert.deepEqual([then.standing, then.sinceMs], ['denied', 3_000]);
  });

  for (const [what, conditions, hasCertificate, standing] of [
    ['nothing', [], false, 'pending'],
    ['a certificate alone', [], true, 'pending'],
    ['a condition of others', [{ ...condition('Approved'), type: 'Seen' }], false, 'pending'],
    ['Approved', [condition('Approved')], false, 'approved'],
    ['Approved and a certificate', [condition('Approved')], true, 'issued'],
    ['Failed after Approved', [condition('Approved'), condition('Failed')], false, 'failed'],
    ['Denied', [condition('Denied')], false, 'denied'],
    ['Denied and Failed', [condition('Failed'), condition('Denied')], false, 'denied'],
  ] as const)
    test(`with ${what} it is ${standing}`, () => {
      const request = aRequest({ conditions, hasCertificate });
      assert.equal(keptRequest(request, undefined, 0).standing, standing);
    });
});

describe('finishedReason()', () => {
  for (const [standing, minutes] of [
    ['issued', 10],
    ['denied', 60],
    ['failed', 60],
  ] as const)
    test(`${standing} is kept for ${minutes} minutes`, () => {
      const request = kept(standing, { sinceMs: 5 });
      assert.equal(finishedReason(request, 4 + minutes * minuteMs), undefined);
      assert.equal(finishedReason(request, 5 + minutes * minuteMs), standing);
    });

  for (const standing of ['pending', 'approved'] as const)
    test(`${standing} is never finished`, () => {
      assert.equal(finishedReason(kept(standing), 1e12), undefined);
      assert.ok(isUnfinished(kept(standing)));
    });
});

describe('excessOf()', () => {
  test('of those issued a minute ago only the newest few stay', () => {
    const issued = Array.from({ length: 6 }, (_, index) => ({
      ...kept('issued', { uid: `issued-${index}` }),
      sinceMs: index * 1_000,
    }));
    const gone = (uptimeMs: number): string[] =>
      excessOf(issued, 3, uptimeMs).map(({ uid }) => uid);
    assert.deepEqual(gone(60_000), []);
    assert.deepEqual(gone(63_000), ['issued-0']);
    assert.deepEqual(gone(600_000), ['issued-2', 'issued-1', 'issued-0']);
  });

  const many = (...standings: readonly Standing[]): KeptRequest[] =>
    standings.map((standing, index) =>
      kept(standing, { uid: `${standing}-${index}`, createdAt: atNoonPlus(index * 1_000) }),
    );
  const excess = (standings: readonly Standing[], maximum = 3): string[] =>
    excessOf(many(...standings), maximum, 0).map(({ uid }) => uid);

  for (const [what, standings, expected] of [
    ['three', ['pending', 'denied', 'approved'], []],
    ['a fourth pending: the newest', ['pending', 'pending', 'pending', 'pending'], ['pending-3']],
    ['a denied one first', ['pending', 'denied', 'pending', 'pending'], ['denied-1']],
    ['the oldest denied', ['denied', 'denied', 'denied', 'denied'], ['denied-0']],
    [
      'denied ones, then the newest pending',
      ['pending', 'denied', 'pending', 'pending', 'pending'],
      ['denied-1', 'pending-4'],
    ],
    [
      'an approved one last of all',
      ['approved', 'approved', 'pending', 'approved', 'approved'],
      ['pending-2', 'approved-4'],
    ],
    ['none of those that are finished otherwise', ['issued', 'failed', 'issued', 'issued'], []],
    [
      'not counting them either',
      ['issued', 'issued', 'failed', 'pending', 'denied', 'pending'],
      [],
    ],
  ] as const)
    test(`takes ${what}`, () => {
      assert.deepEqual(excess(standings), expected);
    });

  test('leaves exactly as many as are allowed, whatever there is', () => {
    const standings = fc.array(
      fc.constantFrom<Standing>('pending', 'approved', 'issued', 'denied', 'failed'),
    );
    fc.assert(
      fc.property(standings, fc.integer({ min: 1, max: 5 }), (all, maximum) => {
        const removed = new Set(excess(all, maximum));
        const counted = many(...all).filter(({ standing }) =>
          ['pending', 'approved', 'denied'].includes(standing),
        );
        const left = counted.filter(({ uid }) => !removed.has(uid));
        assert.equal(left.length, Math.min(counted.length, maximum));
        assert.equal(removed.size, counted.length - left.length, 'and nothing else');
      }),
    );
  });
});
