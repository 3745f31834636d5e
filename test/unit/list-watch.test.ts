import { deepEqual, equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import {
  type Change,
  follow,
  type FollowSettings,
  type Listing,
} from '../../src/controller/list-watch.ts';
import { PodsealError } from '../../src/errors.ts';
import { manualClock, type ManualClock } from '../support/manual-clock.ts';

interface Thing {
  readonly name: string;
  readonly value: number;
}

type What = Change<Thing>;

interface Watcher {
  readonly onChange: (change: What) => void;
  readonly end: (error?: PodsealError) => void;
  isSilent: boolean;
}

const minute = 60_000;
const usual: FollowSettings = { idleMs: 90_000, relistMs: 10 * minute };
const expired = new PodsealError('API_EXPIRED', 'Cannot watch things: 410');
const broken = new PodsealError('API_UNREACHABLE', 'Cannot watch things: it broke off');
const busy = (retryAfterMs?: number): PodsealError =>
  new PodsealError('API_UNREACHABLE', 'Cannot list things: 429', {
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });

/** An API server with one kind of thing, pages of two, a history that can be forgotten, and faults. */
function apiServer(clock: ManualClock) {
  const things = new Map<string, Thing>();
  const snapshots = new Map<string, readonly Thing[]>();
  const watchers = new Set<Watcher>();
  const history: { readonly version: number; readonly change: What }[] = [];
  const calls: { readonly call: string; readonly atMs: number }[] = [];
  /** What befalls the next calls, in order. */
  const faults: { list: PodsealError[]; watch: PodsealError[] } = { list: [], watch: [] };
  let version = 0;
  let forgotten = 0;
  const note = (call: string): void => void calls.push({ call, atMs: clock.uptimeMs() });
  const tell = (kind: 'present' | 'gone', item: Thing): void => {
    const change = { kind, item, resourceVersion: String(++version) };
    history.push({ version, change });
    for (const watcher of [...watchers]) if (!watcher.isSilent) watcher.onChange(change);
  };
  const listing: Listing<Thing> = {
    what: 'things',
    list(page) {
      note(page === undefined ? 'list' : 'next');
      const fault = faults.list.shift();
      if (fault) return Promise.reject(fault);
      if (page === undefined) snapshots.set(String(version), [...things.values()]);
      const [at = '', offset = ''] = (page ?? `${version}/0`).split('/');
      // A continue token lives as long as the history.
      if (page !== undefined && Number(at) < forgotten) return Promise.reject(expired);
      const all = snapshots.get(at) ?? [];
      const end = Number(offset) + 2;
      return Promise.resolve({
        items: all.slice(Number(offset), end),
        resourceVersion: at,
        next: end < all.length ? `${at}/${end}` : undefined,
      });
    },
    watch(from, onChange, stop) {
      note(`watch ${from}`);
      const fault = faults.watch.shift();
      if (fault) return Promise.reject(fault);
      if (Number(from) < forgotten) return Promise.reject(expired);
      return new Promise((resolve, reject) => {
        const watcher: Watcher = {
          onChange,
          isSilent: false,
          end(error) {
            watchers.delete(watcher);
            if (error) reject(error);
            else resolve();
          },
        };
        watchers.add(watcher);
        stop.addEventListener('abort', () => watcher.end(), { once: true });
        for (const each of history) if (each.version > Number(from)) onChange(each.change);
      });
    },
  };
  return {
    listing,
    calls,
    faults,
    things,
    put(name: string, value = 1) {
      things.set(name, { name, value });
      tell('present', { name, value });
    },
    remove(name: string) {
      const gone = things.get(name);
      if (!gone || !things.delete(name)) return;
      tell('gone', gone);
    },
    bookmark: () => {
      for (const { onChange, isSilent } of [...watchers])
        if (!isSilent) onChange({ kind: 'bookmark', resourceVersion: String(version) });
    },
    /** Changes something that no watch will ever tell. */
    change: (name: string, value: number) => things.set(name, { name, value }),
    /** Something happens that is none of ours. */
    pass: () => version++,
    forgetHistory: () => (forgotten = version),
    endWatches: (error?: PodsealError) => [...watchers].forEach((watcher) => watcher.end(error)),
    silence: () => watchers.forEach((watcher) => (watcher.isSilent = true)),
    watching: () => watchers.size,
    called: (call: string) => calls.filter((each) => each.call.startsWith(call)).length,
  };
}

function scene(context: TestContext, settings = usual, fraction = () => 0.5) {
  const clock = manualClock(new Date('2026-03-01T00:00:00Z'));
  const server = apiServer(clock);
  const stop = new AbortController();
  const seen = new Map<string, number>();
  const interruptions: string[] = [];
  const replaced: string[][] = [];
  let syncs = 0;
  const begin = (listing = server.listing): Promise<void> => {
    const following = follow(
      listing,
      {
        replace(items) {
          replaced.push(items.map(({ name }) => name));
          seen.clear();
          for (const { name, value } of items) seen.set(name, value);
        },
        put: ({ name, value }) => void seen.set(name, value),
        remove: ({ name }) => void seen.delete(name),
      },
      settings,
      {
        clock,
        random: { fraction },
        stop: stop.signal,
        onInterruption: (_, { code }) => interruptions.push(code),
        onList: () => undefined,
        onHeard: () => undefined,
        onSynced: () => syncs++,
      },
    );
    context.after(async () => {
      stop.abort();
      await following;
    });
    return following;
  };
  return {
    clock,
    server,
    stop,
    seen,
    interruptions,
    replaced,
    begin,
    syncs: () => syncs,
    isInStep: () =>
      deepEqual(
        Object.fromEntries([...seen].sort()),
        Object.fromEntries([...server.things].map(([name, { value }]) => [name, value]).sort()),
      ),
  };
}

describe('follow()', () => {
  test('lists every page, then keeps in step by what the watch tells', async (context) => {
    const { clock, server, begin, replaced, syncs, isInStep } = scene(context);
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.put(name);
    void begin();
    await clock.advance(0);
    deepEqual(replaced, [['a', 'b', 'c', 'd', 'e']], 'the pages come as one');
    equal(syncs(), 1);
    server.put('f');
    server.put('a', 2);
    server.remove('b');
    isInStep();
    equal(server.called('list'), 1);
  });

  test('a page whose token has expired: everything is listed anew from its beginning', async (context) => {
    const { clock, server, begin, replaced, syncs } = scene(context);
    for (const name of ['a', 'b', 'c']) server.put(name);
    const list = server.listing.list.bind(server.listing);
    let isFirst = true;
    void begin({
      ...server.listing,
      list(page) {
        if (page !== undefined && isFirst) {
          isFirst = false;
          server.remove('a');
          server.forgetHistory();
        }
        return list(page);
      },
    });
    await clock.advance(0);
    equal(syncs(), 0);
    await clock.advance(1_000);
    deepEqual(replaced, [['b', 'c']]);
  });

  test('told to stop in the middle of a list, it does not take half of it for the whole', async (context) => {
    const { clock, server, begin, replaced, stop, interruptions } = scene(context);
    for (const name of ['a', 'b', 'c']) server.put(name);
    const list = server.listing.list.bind(server.listing);
    const following = begin({
      ...server.listing,
      list(page) {
        if (page !== undefined) stop.abort();
        return list(page);
      },
    });
    await clock.advance(0);
    await following;
    deepEqual({ replaced, interruptions }, { replaced: [], interruptions: [] });
  });

  test('a watch that breaks off is resumed where it was, without a list', async (context) => {
    const { clock, server, begin, interruptions, isInStep } = scene(context);
    server.put('a');
    void begin();
    await clock.advance(2_000);
    server.put('b');
    server.endWatches(broken);
    server.put('c');
    server.remove('a');
    await clock.advance(200);
    isInStep();
    equal(server.called('list'), 1);
    equal(server.calls.at(-1)?.call, 'watch 2');
    deepEqual(interruptions, ['API_UNREACHABLE']);
  });

  test('a bookmark moves the place to resume from', async (context) => {
    const { clock, server, begin } = scene(context);
    server.put('a');
    void begin();
    await clock.advance(2_000);
    server.pass();
    server.bookmark();
    server.endWatches();
    await clock.advance(200);
    equal(server.calls.at(-1)?.call, 'watch 2');
  });

  for (const how of ['as an answer', 'as an event'] as const)
    test(`410 ${how}: listed anew`, async (context) => {
      const { clock, server, begin, isInStep, interruptions } = scene(context);
      server.put('a');
      void begin();
      await clock.advance(2_000);
      server.silence();
      server.remove('a');
      server.put('b');
      server.forgetHistory();
      server.endWatches(how === 'as an event' ? expired : undefined);
      await clock.advance(1_000);
      isInStep();
      equal(server.called('list'), 2);
      deepEqual(interruptions, ['API_EXPIRED']);
    });

  test('a watch that says nothing, not even bookmarks, is given up and everything listed anew', async (context) => {
    const { clock, server, begin, isInStep, interruptions } = scene(context);
    void begin();
    await clock.advance(80_000);
    server.bookmark();
    // What came between is not in the history that a resumed watch would tell.
    server.change('a', 1);
    await clock.advance(80_000);
    deepEqual(interruptions, [], 'it has spoken 80 s ago');
    await clock.advance(11_000);
    deepEqual(interruptions, ['API_UNREACHABLE']);
    isInStep();
    equal(server.watching(), 1);
  });

  test('a wall clock that is set back makes no silence and no pause longer', async (context) => {
    const { clock, server, begin, isInStep } = scene(context);
    void begin();
    await clock.advance(1_000);
    server.silence();
    clock.step(-86_400_000);
    server.put('a');
    server.faults.list.push(busy(5_000));
    await clock.advance(96_000);
    isInStep();
  });

  test('a wall clock that is set forward makes no list and ends no watch', async (context) => {
    const { clock, server, begin } = scene(context);
    void begin();
    await clock.advance(1_000);
    clock.step(86_400_000);
    await clock.advance(60_000);
    deepEqual(
      server.calls.map(({ call }) => call),
      ['list', 'watch 0'],
    );
  });

  test('Retry-After is kept to, by list and by watch', async (context) => {
    const { clock, server, begin } = scene(context);
    server.faults.list.push(busy(30_000));
    server.faults.watch.push(busy(40_000));
    void begin();
    await clock.advance(5 * minute);
    deepEqual(
      server.calls.slice(0, 4).map(({ call, atMs }) => [call, atMs]),
      [
        ['list', 0],
        ['list', 30_000],
        ['watch 0', 30_000],
        ['watch 0', 70_000],
      ],
    );
  });

  test('a storm of faults is met with growing pauses, and one watch that works ends them', async (context) => {
    const { clock, server, begin, interruptions } = scene(context);
    server.faults.list.push(...Array<PodsealError>(30).fill(busy()));
    void begin();
    await clock.advance(minute);
    const asked = server.called('list');
    ok(asked >= 10 && asked <= 22, `asked ${asked} times in a minute`);
    await clock.advance(10 * minute);
    equal(server.watching(), 1);
    const before = interruptions.length;
    server.endWatches(broken);
    await clock.advance(200);
    equal(server.watching(), 1, 'the first pause is short again');
    equal(interruptions.length, before + 1);
  });

  for (const [how, error] of [
    ['in order', undefined],
    ['as expired', expired],
    ['as broken', broken],
  ] as const)
    test(`a server that ends every watch at once, ${how}, is not stormed`, async (context) => {
      const { clock, server, begin } = scene(context);
      const watch = server.listing.watch.bind(server.listing);
      void begin({
        ...server.listing,
        watch(from, onChange, stop) {
          const watching = watch(from, onChange, stop);
          // It says something first, which must not count as working.
          server.put('a');
          server.bookmark();
          server.endWatches(error);
          return watching;
        },
      });
      await clock.advance(5 * minute);
      ok(server.calls.length <= 200, `${server.calls.length} calls in five minutes`);
    });

  test('what a watch did not tell is repaired by the periodic list', async (context) => {
    const { clock, server, begin, isInStep } = scene(context);
    void begin();
    await clock.advance(1_000);
    server.change('lost', 1);
    for (let i = 0; i < 13; i++) {
      await clock.advance(minute);
      server.bookmark();
    }
    isInStep();
    equal(server.called('list'), 2);
  });

  test('while the periodic list fails the watch goes on', async (context) => {
    const { clock, server, begin, isInStep } = scene(context);
    void begin();
    await clock.advance(1_000);
    server.faults.list.push(...Array<PodsealError>(5).fill(busy()));
    for (let i = 0; i < 12; i++) {
      await clock.advance(minute);
      server.put('a', i);
      await clock.advance(300);
      isInStep();
    }
    ok(server.called('list') >= 3 && server.called('list') <= 6, 'again every half minute');
  });

  test('periodic lists are spread', async (context) => {
    for (const [fraction, atMs] of [
      [0, 7.5 * minute],
      [0.999_999, 12.5 * minute],
    ] as const) {
      const { clock, server, begin } = scene(context, usual, () => fraction);
      void begin();
      for (let i = 0; i < 13; i++) {
        await clock.advance(minute);
        server.bookmark();
      }
      const second = server.calls.filter(({ call }) => call === 'list')[1];
      ok(Math.abs((second?.atMs ?? 0) - atMs) < 100, `at ${second?.atMs ?? 0}`);
    }
  });

  test('a kind that is not served: nothing is watched, and asked for again with the periodic list', async (context) => {
    const { clock, server, begin, interruptions, syncs, isInStep } = scene(context);
    const list = server.listing.list.bind(server.listing);
    let isServed = false;
    void begin({
      ...server.listing,
      list: (page) =>
        isServed
          ? list(page)
          : Promise.resolve({ items: [], resourceVersion: undefined, next: undefined }),
    });
    await clock.advance(9 * minute);
    deepEqual([syncs(), interruptions, server.watching()], [1, [], 0]);
    isServed = true;
    server.put('a');
    await clock.advance(2 * minute);
    isInStep();
    equal(server.watching(), 1);
  });

  test('many watches leave nothing behind on the signal that stops all', async (context) => {
    const { clock, server, begin, stop } = scene(context);
    void begin();
    await clock.advance(2_000);
    const before = getEventListeners(stop.signal, 'abort').length;
    for (let i = 0; i < 50; i++) {
      server.endWatches(i % 2 === 0 ? broken : undefined);
      await clock.advance(2_000);
    }
    equal(getEventListeners(stop.signal, 'abort').length, before);
    stop.abort();
    await clock.advance(0);
    equal(getEventListeners(stop.signal, 'abort').length, 0);
  });

  test('whatever happens, in the end it is in step', async (context) => {
    const action = fc.oneof(
      { arbitrary: fc.tuple(fc.constant('put'), fc.nat(5), fc.nat(100)), weight: 6 },
      { arbitrary: fc.tuple(fc.constant('remove'), fc.nat(5), fc.constant(0)), weight: 3 },
      fc.tuple(
        fc.constantFrom('cut', 'end', 'expire', 'silence', 'forget', 'bookmark'),
        fc.constant(0),
        fc.constant(0),
      ),
      fc.tuple(fc.constantFrom('list-fault', 'watch-fault'), fc.nat(2), fc.nat(20_000)),
      fc.tuple(fc.constant('step'), fc.constant(0), fc.integer({ min: -1e9, max: 1e9 })),
      fc.tuple(fc.constant('advance'), fc.constant(0), fc.nat(120_000)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const { clock, server, begin, stop, isInStep } = scene(context);
        const following = begin();
        const act: Record<string, (which: number, value: number) => unknown> = {
          put: (which, value) => server.put(String(which), value),
          remove: (which) => server.remove(String(which)),
          cut: () => server.endWatches(broken),
          end: () => server.endWatches(),
          expire: () => server.endWatches(expired),
          silence: () => server.silence(),
          forget: () => server.forgetHistory(),
          bookmark: () => server.bookmark(),
          'list-fault': (which, value) =>
            server.faults.list.push([expired, broken, busy(value)][which] ?? broken),
          'watch-fault': (which, value) =>
            server.faults.watch.push([expired, broken, busy(value)][which] ?? broken),
          step: (_, value) => clock.step(value),
          advance: (_, value) => clock.advance(value),
        };
        for (const [kind, which, value] of actions) {
          await act[kind]?.(which, value);
          await clock.advance(10);
        }
        await clock.advance(15 * minute);
        isInStep();
        stop.abort();
        await clock.advance(0);
        await following;
      }),
      { numRuns: 60 },
    );
  });
});
