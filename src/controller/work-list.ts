import { type Clock } from '../runtime/clock.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type FairQueue, fairQueue, type Work } from './fair-queue.ts';
import { type Follower } from './list-watch.ts';

/** What a controller must know of an object to order its work. */
export interface WorkItem {
  readonly uid: string;
  readonly resourceVersion: string;
}

/**
 * The objects that wait to be worked on: fed by list and watch, emptied by workers. An object is in the
 * queue, with a worker, put off until later, or not here; a worker that is done with one whose newer
 * version came meanwhile gives it back to the queue.
 */
export interface WorkList<T extends WorkItem> {
  /** The follower of one listing: what is not in its list is gone, as far as `belongs` says that it would be. */
  follower(belongs: (item: T) => boolean): Follower<T>;
  /** How long ago the object was first seen, by our own clock. */
  ageMs(item: T): number;
  /** The next object for a worker, waited for; undefined when `stop` is aborted. */
  take(stop: AbortSignal): Promise<T | undefined>;
  /** After `take`: nothing is left to do with it in this version. */
  done(item: T): void;
  /** After `take`: again after so long. */
  putOff(item: T, ms: number): void;
  /** After `take`: it did not work out; again after what `gapMs` says for so many failures in a row. */
  failed(item: T, gapMs: (failures: number) => number): void;
  /** What is put off and belongs to the group is looked at now; what a worker has, once more after it. */
  nudge(group: string): void;
  /** Moves what was put off back into the queue when its time has come; until `stop`. */
  run(stop: AbortSignal): Promise<void>;
  readonly depth: number;
  /** Whether there is work, or was a moment ago: workers that keep up leave the queue empty in the middle of a burst. */
  readonly isBusy: boolean;
  readonly putOffCount: number;
}

interface Known<T> {
  /** The newest version. */
  readonly item: T;
  readonly work: Work;
  readonly firstSeenMs: number;
  /** In a row. */
  readonly failures: number;
}

interface Taken {
  /** The version that the worker was given. */
  readonly resourceVersion: string;
  /** What it is deciding by may have changed. */
  readonly isNudged: boolean;
}

/** How exactly the times of what is put off are kept. */
const tickMs = 100;
/** Without work for so long: the burst is over. */
const lullMs = 1_000;

export function workList<T extends WorkItem>(
  clock: Clock,
  describe: (item: T) => Omit<Work, 'key'>,
  isOpen: (item: T) => boolean,
): WorkList<T> {
  const queue: FairQueue = fairQueue();
  const known = new Map<string, Known<T>>();
  const taken = new Map<string, Taken>();
  /** When to look again, by uptime. */
  const putOff = new Map<string, number>();
  const byGroup = new Map<string, Set<string>>();
  const bell = doorbell();
  let lastTakenMs = -Infinity;
  const enqueue = (uid: string): void => {
    putOff.delete(uid);
    const work = known.get(uid)?.work;
    if (work && !taken.has(uid)) queue.add(work);
  };
  const forget = (uid: string): void => {
    const group = known.get(uid)?.work.group ?? '';
    byGroup.get(group)?.delete(uid);
    if (byGroup.get(group)?.size === 0) byGroup.delete(group);
    known.delete(uid);
    putOff.delete(uid);
    queue.remove(uid);
  };
  const put = (item: T): void => {
    const { uid, resourceVersion } = item;
    if (!isOpen(item)) {
      forget(uid);
      return;
    }
    const before = known.get(uid);
    if (before?.item.resourceVersion === resourceVersion) return;
    const work = before?.work ?? { key: uid, ...describe(item) };
    const firstSeenMs = before?.firstSeenMs ?? clock.uptimeMs();
    known.set(uid, { item, work, firstSeenMs, failures: 0 });
    byGroup.set(work.group, (byGroup.get(work.group) ?? new Set()).add(uid));
    enqueue(uid);
  };
  /** From the worker: says whether it is still known, unchanged since the worker was given it. */
  const giveBack = (uid: string): Known<T> | undefined => {
    const given = taken.get(uid);
    taken.delete(uid);
    const now = known.get(uid);
    if (now?.item.resourceVersion === given?.resourceVersion) return now;
    enqueue(uid);
    return undefined;
  };
  const again = (uid: string, ms: number): void => {
    putOff.set(uid, clock.uptimeMs() + ms);
    bell.ring();
  };
  return {
    follower: (belongs) => ({
      put,
      remove: (item) => forget(item.uid),
      replace(all) {
        const present = new Set(all.map(({ uid }) => uid));
        for (const [uid, { item }] of known) if (belongs(item) && !present.has(uid)) forget(uid);
        for (const item of all) put(item);
      },
    }),
    ageMs({ uid }) {
      const firstSeenMs = known.get(uid)?.firstSeenMs;
      return firstSeenMs === undefined ? 0 : clock.uptimeMs() - firstSeenMs;
    },
    async take(stop) {
      while (!stop.aborted) {
        const work = queue.take();
        const item = work && known.get(work.key)?.item;
        if (item) {
          taken.set(item.uid, { resourceVersion: item.resourceVersion, isNudged: false });
          lastTakenMs = clock.uptimeMs();
          return item;
        }
        await queue.ready(stop);
      }
      return undefined;
    },
    done({ uid }) {
      if (giveBack(uid)) forget(uid);
    },
    putOff({ uid }, ms) {
      const isNudged = taken.get(uid)?.isNudged ?? false;
      const same = giveBack(uid);
      if (!same) return;
      known.set(uid, { ...same, failures: 0 });
      if (isNudged) enqueue(uid);
      else again(uid, ms);
    },
    failed({ uid }, gapMs) {
      const same = giveBack(uid);
      if (!same) return;
      const failures = same.failures + 1;
      known.set(uid, { ...same, failures });
      again(uid, gapMs(failures));
    },
    nudge(group) {
      for (const uid of byGroup.get(group) ?? []) {
        const given = taken.get(uid);
        if (given) taken.set(uid, { ...given, isNudged: true });
        else enqueue(uid);
      }
    },
    async run(stop) {
      while (!stop.aborted) {
        const now = clock.uptimeMs();
        for (const [uid, atMs] of putOff) if (atMs <= now) enqueue(uid);
        const { signal, release } = bell.nextRing(stop);
        // Nothing is put off: until something is. Otherwise in ticks, which costs less than a heap.
        if (putOff.size === 0) await clock.pause(3_600_000, signal);
        else await clock.pause(tickMs, stop);
        release();
      }
    },
    get isBusy() {
      const isWorking = queue.size > 0 || taken.size > 0;
      return isWorking || clock.uptimeMs() - lastTakenMs < lullMs;
    },
    get depth() {
      return queue.size;
    },
    get putOffCount() {
      return putOff.size;
    },
  };
}
