import { deepEqual, equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type FairQueue, fairQueue, type Work } from '../../src/controller/fair-queue.ts';

const work = (key: string, group = 'a', lane: Work['lane'] = 'start'): Work => ({
  key,
  group,
  lane,
});

function takeAll(queue: FairQueue): string[] {
  const keys: string[] = [];
  for (let next = queue.take(); next; next = queue.take()) keys.push(next.key);
  return keys;
}

/** What is added, in any order; keys are unlike one another. */
const works = fc.uniqueArray(
  fc.record({
    key: fc.string({ minLength: 1, maxLength: 4 }),
    group: fc.constantFrom('a', 'b', 'c', 'd'),
    lane: fc.constantFrom('start' as const, 'renewal' as const),
  }),
  { selector: ({ key }) => key, maxLength: 60 },
);

describe('fairQueue()', () => {
  test('groups take turns, within a group the first to come is the first to go', () => {
    const queue = fairQueue();
    for (const key of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) queue.add(work(key, key.slice(0, 1)));
    equal(queue.size, 6);
    deepEqual(takeAll(queue), ['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
    equal(queue.size, 0);
  });

  test('a namespace that floods delays another by one turn', () => {
    const queue = fairQueue();
    for (let i = 0; i < 10_000; i++) queue.add(work(`flood ${i}`, 'evil'));
    queue.take();
    queue.add(work('honest', 'shop'));
    deepEqual([queue.take()?.key, queue.take()?.key], ['flood 1', 'honest']);
  });

  test('starts go first, and every fifth turn is a renewal', () => {
    const queue = fairQueue();
    for (let i = 0; i < 10; i++) queue.add(work(`renewal ${i}`, 'a', 'renewal'));
    for (let i = 0; i < 9; i++) queue.add(work(`start ${i}`));
    const lanes = takeAll(queue).map((key) => key.slice(0, 1));
    equal(lanes.join(''), 'ssssrssssrsrrrrrrrr');
  });

  test('what is in the queue is there once, where it was', () => {
    const queue = fairQueue();
    queue.add(work('x'));
    queue.add(work('y'));
    queue.add(work('x', 'b', 'renewal'));
    equal(queue.size, 2);
    deepEqual(takeAll(queue), ['x', 'y']);
    queue.add(work('x'));
    equal(queue.take()?.key, 'x', 'once taken it may come again');
  });

  test('what was removed does not come, and takes no turn', () => {
    const queue = fairQueue();
    for (const key of ['a1', 'b1', 'c1']) queue.add(work(key, key.slice(0, 1)));
    queue.remove('a1');
    queue.remove('nobody');
    equal(queue.size, 2);
    deepEqual(takeAll(queue), ['b1', 'c1']);
  });

  test('everything comes, once, whatever was added in whatever order', () => {
    fc.assert(
      fc.property(works, (all) => {
        const queue = fairQueue();
        for (const each of all) queue.add(each);
        deepEqual(takeAll(queue).sort(), all.map(({ key }) => key).sort());
      }),
    );
  });

  test('whatever floods in, work waits for one turn of each other group that was there before it, at most', () => {
    const groups = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 40 });
    fc.assert(
      fc.property(groups, groups, (before, floods) => {
        const queue = fairQueue();
        before.forEach((group, i) => queue.add(work(`before ${i}`, group)));
        queue.add(work('honest', 'shop'));
        let turns = 0;
        for (let taken = ''; taken !== 'honest'; turns++) {
          floods.forEach((group, i) => queue.add(work(`flood ${turns}.${i}`, group)));
          taken = queue.take()?.key ?? '';
        }
        ok(turns <= new Set(before).size + 1, `after ${turns} turns`);
      }),
    );
  });

  test('endless starts do not hold renewals up: one of every five turns is theirs', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 7 }), (n, before) => {
        const queue = fairQueue();
        for (let i = 0; i < 200; i++) queue.add(work(`start ${i}`));
        for (let i = 0; i < before; i++) queue.take();
        for (let i = 0; i < n; i++) queue.add(work(`renewal ${i}`, 'a', 'renewal'));
        let turns = 0;
        for (let left = n; left > 0; turns++) if (queue.take()?.lane === 'renewal') left--;
        ok(turns <= n * 5, `${n} renewals took ${turns} turns`);
      }),
    );
  });

  test('whoever waits is woken by work, as many as there is work for, and leaves no listener', async () => {
    const queue = fairQueue();
    const stop = new AbortController();
    let woken = 0;
    const waiters = Array.from({ length: 3 }, () => queue.ready(stop.signal).then(() => woken++));
    queue.add(work('x'));
    await new Promise(setImmediate);
    equal(woken, 1);
    queue.add(work('y'));
    queue.add(work('z'));
    await Promise.all(waiters);
    equal(getEventListeners(stop.signal, 'abort').length, 0);
    await queue.ready(stop.signal);
    takeAll(queue);
    const waiting = queue.ready(stop.signal);
    stop.abort();
    await waiting;
    await queue.ready(stop.signal);
  });
});
