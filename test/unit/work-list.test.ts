import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { type WorkItem, workList } from '../../src/controller/work-list.ts';
import { manualClock } from '../support/manual-clock.ts';

interface Thing extends WorkItem {
  readonly group: string;
  readonly isOpen: boolean;
}

const thing = (uid: string, version = 1, more: Partial<Thing> = {}): Thing => ({
  uid,
  resourceVersion: String(version),
  group: 'a',
  isOpen: true,
  ...more,
});

function scene(context: TestContext) {
  const clock = manualClock(new Date('2026-03-01T00:00:00Z'));
  const stop = new AbortController();
  const list = workList<Thing>(
    clock,
    ({ group }) => ({ group, lane: 'start' }),
    ({ isOpen }) => isOpen,
  );
  const running = list.run(stop.signal);
  context.after(async () => {
    stop.abort();
    await running;
  });
  const all = list.follower(() => true);
  return {
    clock,
    list,
    ...all,
    /** What a worker is given now; undefined: it would wait. */
    take: (): Promise<Thing | undefined> =>
      list.depth > 0 ? list.take(stop.signal) : Promise.resolve(undefined),
    /** `depth/put off`. */
    counts: () => `${list.depth}/${list.putOffCount}`,
  };
}

async function taken(from: { take(): Promise<Thing | undefined> }): Promise<Thing> {
  const item = await from.take();
  ok(item, 'there is work');
  return item;
}

describe('workList()', () => {
  test('gives each open object to one worker, and is done with it', async (context) => {
    const work = scene(context);
    work.put(thing('x'));
    work.put(thing('closed', 1, { isOpen: false }));
    const x = await taken(work);
    equal(x.uid, 'x');
    equal(await work.take(), undefined);
    work.list.done(x);
    await work.clock.advance(60_000);
    equal(work.counts(), '0/0');
  });

  test('is busy while something is queued, worked on, or was a moment ago', async (context) => {
    const work = scene(context);
    equal(work.list.isBusy, false);
    work.put(thing('x'));
    equal(work.list.isBusy, true);
    const x = await taken(work);
    await work.clock.advance(60_000);
    equal(work.list.isBusy, true, 'a worker has it');
    work.put(thing('y'));
    work.list.done(x);
    work.list.done(await taken(work));
    await work.clock.advance(999);
    equal(work.list.isBusy, true);
    await work.clock.advance(1);
    equal(work.list.isBusy, false);
  });

  test('the same version told again while it waits or is worked on is not worked on twice', async (context) => {
    const work = scene(context);
    work.put(thing('x'));
    work.put(thing('x'));
    const x = await taken(work);
    work.put(thing('x'));
    work.replace([thing('x')]);
    work.list.done(x);
    equal(work.counts(), '0/0');
  });

  test('a newer version goes to a worker, and one that comes meanwhile after it', async (context) => {
    const work = scene(context);
    work.put(thing('x', 1));
    work.put(thing('x', 2));
    const second = await taken(work);
    equal(second.resourceVersion, '2');
    work.put(thing('x', 3));
    equal(await work.take(), undefined, 'never with two workers');
    work.list.done(second);
    equal((await taken(work)).resourceVersion, '3');
  });

  for (const how of ['putOff', 'failed'] as const)
    test(`${how}: a newer version that came meanwhile is not put off`, async (context) => {
      const work = scene(context);
      work.put(thing('x', 1));
      const first = await taken(work);
      work.put(thing('x', 2));
      if (how === 'putOff') work.list.putOff(first, 60_000);
      else work.list.failed(first, () => 60_000);
      equal((await taken(work)).resourceVersion, '2');
    });

  test('what is put off comes again after so long, or with its next version', async (context) => {
    const work = scene(context);
    work.put(thing('x', 1));
    work.put(thing('y', 1));
    work.list.putOff(await taken(work), 5_000);
    work.list.putOff(await taken(work), 60_000);
    equal(work.counts(), '0/2');
    await work.clock.advance(4_900);
    work.replace([thing('x', 1), thing('y', 1)]);
    equal(work.counts(), '0/2', 'a list tells nothing new of them');
    await work.clock.advance(200);
    equal(work.counts(), '1/1');
    work.put(thing('y', 2));
    equal(work.counts(), '2/0');
  });

  test('a wall clock that is set back or forward changes no age and no time', async (context) => {
    const work = scene(context);
    work.put(thing('x'));
    const x = await taken(work);
    work.list.putOff(x, 5_000);
    for (const step of [-86_400_000, 2 * 86_400_000]) {
      work.clock.step(step);
      await work.clock.advance(2_000);
      equal(work.counts(), '0/1');
    }
    equal(work.list.ageMs(x), 4_000);
    await work.clock.advance(1_100);
    equal(work.counts(), '1/0');
    work.put(thing('x', 2));
    equal(work.list.ageMs(x), 5_100, 'a new version is no younger');
  });

  test('failures are counted in a row, by object', async (context) => {
    const work = scene(context);
    const seen: number[] = [];
    const fail = async (): Promise<void> => {
      work.list.failed(await taken(work), (failures) => {
        seen.push(failures);
        return 0;
      });
      await work.clock.advance(100);
    };
    work.put(thing('x', 1));
    await fail();
    await fail();
    work.list.putOff(await taken(work), 0);
    await work.clock.advance(100);
    await fail();
    work.put(thing('x', 2));
    await fail();
    deepEqual(seen, [1, 2, 1, 1]);
  });

  test('an object that closes or goes is forgotten, wherever it is', async (context) => {
    for (const end of ['close', 'remove', 'replace'] as const) {
      const work = scene(context);
      const leave = (uid: string): void => {
        if (end === 'close') work.put(thing(uid, 2, { isOpen: false }));
        if (end === 'remove') work.remove(thing(uid, 2));
        if (end === 'replace') work.replace([]);
      };
      work.put(thing('with a worker'));
      const x = await taken(work);
      leave('with a worker');
      work.list.putOff(x, 0);
      work.put(thing('put off'));
      work.list.putOff(await taken(work), 60_000);
      leave('put off');
      work.put(thing('in the queue'));
      leave('in the queue');
      equal(work.counts(), '0/0', end);
      equal(work.list.ageMs(x), 0);
    }
  });

  test('one that comes back while a worker still has it waits for that worker', async (context) => {
    const work = scene(context);
    work.put(thing('x', 1));
    const first = await taken(work);
    work.remove(first);
    work.put(thing('x', 2));
    equal(await work.take(), undefined);
    work.list.done(first);
    equal((await taken(work)).resourceVersion, '2');
  });

  test('a list tells nothing about what belongs to another', async (context) => {
    const work = scene(context);
    work.put(thing('x', 1, { group: 'a' }));
    work.put(thing('y', 1, { group: 'b' }));
    work.list.follower(({ group }) => group === 'b').replace([]);
    equal((await taken(work)).uid, 'x');
    equal(await work.take(), undefined);
  });

  test('nudge: what the group has put off is looked at now, what a worker has once more after it', async (context) => {
    const work = scene(context);
    for (const [uid, group] of [
      ['waits', 'a'],
      ['with a worker', 'a'],
      ['of another', 'b'],
    ] as const)
      work.put(thing(uid, 1, { group }));
    const byUid = new Map<string, Thing>();
    for (let i = 0; i < 3; i++) {
      const item = await taken(work);
      byUid.set(item.uid, item);
    }
    const of = (uid: string): Thing => byUid.get(uid) ?? thing(uid);
    work.list.putOff(of('waits'), 60_000);
    work.list.putOff(of('of another'), 60_000);
    work.list.nudge('a');
    equal((await taken(work)).uid, 'waits');
    work.list.putOff(of('with a worker'), 60_000);
    equal((await taken(work)).uid, 'with a worker', 'what it decided by may have changed');
    work.list.putOff(of('with a worker'), 60_000);
    equal(work.counts(), '0/2', 'once');
    work.list.nudge('nobody');
    equal(work.counts(), '0/2');
  });

  test('workers that wait are given what comes, one each, until they are told to stop', async () => {
    const list = workList<Thing>(
      manualClock(new Date(0)),
      ({ group }) => ({ group, lane: 'start' }),
      () => true,
    );
    const stop = new AbortController();
    const workers = [list.take(stop.signal), list.take(stop.signal), list.take(stop.signal)];
    list.follower(() => true).replace([thing('x'), thing('y')]);
    await new Promise(setImmediate);
    stop.abort();
    deepEqual((await Promise.all(workers)).map((item) => item?.uid).sort(), ['x', 'y', undefined]);
  });

  test('whatever happens, nothing is with two workers and every newest version comes to one', async (context) => {
    const uid = fc.constantFrom('x', 'y', 'z');
    const action = fc.oneof(
      { arbitrary: fc.tuple(fc.constant('put'), uid, fc.nat(3)), weight: 3 },
      { arbitrary: fc.tuple(fc.constant('take'), uid, fc.nat(3)), weight: 4 },
      {
        arbitrary: fc.tuple(fc.constantFrom('done', 'putOff', 'failed'), uid, fc.nat(3)),
        weight: 4,
      },
      fc.tuple(fc.constantFrom('remove', 'close', 'replace', 'nudge', 'advance'), uid, fc.nat(3)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
        const work = scene(context);
        const now = new Map<string, Thing>();
        const handled = new Map<string, string>();
        const workers: Thing[] = [];
        let version = 0;
        const put = (each: Thing): void => {
          now.set(each.uid, each);
          work.put(each);
        };
        const finish = (how: string): void => {
          const item = workers.shift();
          if (!item) return;
          if (how === 'putOff') work.list.putOff(item, 500);
          else if (how === 'failed') work.list.failed(item, () => 500);
          else {
            handled.set(item.uid, item.resourceVersion);
            work.list.done(item);
          }
        };
        const act: Record<string, (uid: string) => unknown> = {
          put: (uid) => put(thing(uid, ++version)),
          close: (uid) => put(thing(uid, ++version, { isOpen: false })),
          remove(uid) {
            now.delete(uid);
            work.remove(thing(uid, version));
          },
          replace: () => work.replace([...now.values()]),
          nudge: () => work.list.nudge('a'),
          advance: () => work.clock.advance(300),
          done: () => finish('done'),
          putOff: () => finish('putOff'),
          failed: () => finish('failed'),
          async take() {
            const item = await work.take();
            if (!item) return;
            ok(!workers.some((each) => each.uid === item.uid), 'with two workers');
            equal(item.resourceVersion, now.get(item.uid)?.resourceVersion, 'the newest');
            workers.push(item);
          },
        };
        for (const [kind, uid] of actions) await act[kind]?.(uid);
        for (let i = 0; i < 10; i++) {
          while (workers.length > 0) finish('done');
          await work.clock.advance(300);
          await act['take']?.('');
        }
        const open = [...now.values()].filter(({ isOpen }) => isOpen);
        for (const each of open) equal(handled.get(each.uid), each.resourceVersion);
        equal(work.counts(), '0/0');
      }),
      { numRuns: 300 },
    );
  });
});
