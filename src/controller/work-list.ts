import { type Clock, later } from '../runtime/clock.ts';
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
  /** What is put off and belongs to the group is looked at now. */
  nudge(group: string): void;
  /** Moves what was put off back into the queue when its time has come; until `stop`. */
  run(stop: AbortSignal): Promise<void>;
  readonly depth: number;
  readonly putOffCount: number;
}

/** How exactly the times of what is put off are kept. */
const tickMs = 100;

export function workList<T extends WorkItem>(
  clock: Clock,
  describe: (item: T) => Omit<Work, 'key'>,
  isOpen: (item: T) => boolean,
): WorkList<T> {
  const queue: FairQueue = fairQueue();
  const items = new Map<string, T>();
  const firstSeen = new Map<string, Date>();
  /** With a worker, by the version it was given. */
  const taken = new Map<string, string>();
  const putOff = new Map<string, Date>();
  const bell = doorbell();
  const enqueue = (item: T): void => {
    putOff.delete(item.uid);
    if (!taken.has(item.uid)) queue.add({ key: item.uid, ...describe(item) });
  };
  const forget = (uid: string): void => {
    items.delete(uid);
    firstSeen.delete(uid);
    putOff.delete(uid);
    queue.remove(uid);
  };
  const put = (item: T): void => {
    if (!isOpen(item)) {
      forget(item.uid);
      return;
    }
    const known = items.get(item.uid);
    if (known?.resourceVersion === item.resourceVersion) return;
    items.set(item.uid, item);
    if (!known) firstSeen.set(item.uid, clock.now());
    enqueue(item);
  };
  return {
    follower: (belongs) => ({
      put,
      remove: (item) => forget(item.uid),
      replace(all) {
        const present = new Set(all.map(({ uid }) => uid));
        for (const [uid, item] of [...items]) if (belongs(item) && !present.has(uid)) forget(uid);
        for (const item of all) put(item);
      },
    }),
    ageMs({ uid }) {
      const since = firstSeen.get(uid);
      return since ? clock.now().getTime() - since.getTime() : 0;
    },
    async take(stop) {
      while (!stop.aborted) {
        const work = queue.take();
        const item = work && items.get(work.key);
        if (item) {
          taken.set(item.uid, item.resourceVersion);
          return item;
        }
        if (!work) await queue.ready(stop);
      }
      return undefined;
    },
    done({ uid }) {
      const version = taken.get(uid);
      taken.delete(uid);
      const item = items.get(uid);
      if (!item) return;
      if (item.resourceVersion === version) forget(uid);
      else enqueue(item);
    },
    putOff({ uid }, ms) {
      const version = taken.get(uid);
      taken.delete(uid);
      const item = items.get(uid);
      if (!item) return;
      if (item.resourceVersion !== version) {
        enqueue(item);
        return;
      }
      putOff.set(uid, later(clock.now(), ms));
      bell.ring();
    },
    nudge(group) {
      for (const uid of [...putOff.keys()]) {
        const item = items.get(uid);
        if (item && describe(item).group === group) enqueue(item);
      }
    },
    async run(stop) {
      while (!stop.aborted) {
        const now = clock.now();
        for (const [uid, at] of [...putOff]) {
          const item = items.get(uid);
          if (item && at <= now) enqueue(item);
        }
        const { signal, release } = bell.nextRing(stop);
        // Nothing is put off: until something is. Otherwise in ticks, which costs less than a heap.
        if (putOff.size === 0) await clock.sleepUntil(later(now, 3_600_000), signal);
        else await clock.sleepUntil(later(now, tickMs), stop);
        release();
      }
    },
    get depth() {
      return queue.size;
    },
    get putOffCount() {
      return putOff.size;
    },
  };
}
