/** What is to be done, and for whom. */
export interface Work {
  /** Of the object; it is in the queue once at most. */
  readonly key: string;
  /** Who is served in turn with the others: a namespace. */
  readonly group: string;
  /** Starting pods wait for their first certificate; renewals have hours. */
  readonly lane: 'start' | 'renewal';
}

/**
 * Work in a fair order: within a lane the groups take turns, so that one namespace that floods delays
 * itself alone; starts go before renewals, but every fifth turn is a renewal's, so that endless starts
 * cannot hold renewals up until certificates expire.
 */
export interface FairQueue {
  /** Adds work; work with the same key that waits already stays where it is. */
  add(work: Work): void;
  remove(key: string): void;
  /** The next work, taken out; undefined when there is none. */
  take(): Work | undefined;
  readonly size: number;
  /** Resolves when there is work, or `stop` is aborted. */
  ready(stop: AbortSignal): Promise<void>;
}

const renewalTurn = 5;

export function fairQueue(): FairQueue {
  const lanes = { start: turnQueue(), renewal: turnQueue() };
  const queued = new Map<string, Work>();
  const waiting = new Set<() => void>();
  let turn = 0;
  return {
    add(work) {
      if (queued.has(work.key)) return;
      queued.set(work.key, work);
      lanes[work.lane].add(work);
      // One waiter for one piece of work.
      const [wake] = waiting;
      wake?.();
    },
    remove(key) {
      const work = queued.get(key);
      if (!work) return;
      queued.delete(key);
      lanes[work.lane].remove(work);
    },
    take() {
      const isRenewalsTurn = turn % renewalTurn === renewalTurn - 1;
      const [first, second] = isRenewalsTurn
        ? [lanes.renewal, lanes.start]
        : [lanes.start, lanes.renewal];
      const work = first.take() ?? second.take();
      if (!work) return undefined;
      turn++;
      queued.delete(work.key);
      return work;
    },
    get size() {
      return queued.size;
    },
    ready(stop) {
      if (queued.size > 0 || stop.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = (): void => {
          stop.removeEventListener('abort', wake);
          waiting.delete(wake);
          resolve();
        };
        waiting.add(wake);
        stop.addEventListener('abort', wake, { once: true });
      });
    },
  };
}

interface TurnQueue {
  add(work: Work): void;
  remove(work: Work): void;
  take(): Work | undefined;
}

/** Groups in turn; a Map keeps the order in which its keys were added. */
function turnQueue(): TurnQueue {
  const groups = new Map<string, Map<string, Work>>();
  return {
    add(work) {
      const group = groups.get(work.group) ?? new Map<string, Work>();
      group.set(work.key, work);
      groups.set(work.group, group);
    },
    remove(work) {
      const group = groups.get(work.group);
      group?.delete(work.key);
      if (group?.size === 0) groups.delete(work.group);
    },
    take() {
      for (const [name, group] of groups)
        for (const [key, work] of group) {
          group.delete(key);
          // To the end of the turn.
          groups.delete(name);
          if (group.size > 0) groups.set(name, group);
          return work;
        }
      return undefined;
    },
  };
}
