import { asPodsealError, type PodsealError } from '../errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Clock, later } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Where a watch of what was listed begins. */
  readonly resourceVersion: string;
  /** The token of the next page; undefined: this is the last. */
  readonly next: string | undefined;
}

export type Change<T> =
  | { readonly kind: 'present'; readonly item: T; readonly resourceVersion: string }
  | { readonly kind: 'gone'; readonly item: T; readonly resourceVersion: string }
  /** A bookmark: nothing changed up to here. */
  | { readonly kind: 'bookmark'; readonly resourceVersion: string };

/** Objects of one kind on the API server. Both calls throw PodsealErrors. */
export interface Listing<T> {
  /** For messages and metrics: `signing requests of podseal.dev/serving`. */
  readonly what: string;
  list(page: string | undefined): Promise<Page<T>>;
  /** Resolves when the server ends the watch, as it does after half an hour; API_EXPIRED: list anew. */
  watch(from: string, onChange: (change: Change<T>) => void, stop: AbortSignal): Promise<void>;
}

/** Where the objects go. */
export interface Follower<T> {
  /** Everything that there is now: what is not among it is gone. */
  replace(items: readonly T[]): void;
  put(item: T): void;
  remove(item: T): void;
}

export interface FollowSettings {
  /** A watch that says nothing for so long is dead: the server sends a bookmark every minute. */
  readonly idleMs: number;
  /** Listed anew after so long, whatever the watch says: a lost event must not stay lost. */
  readonly relistMs: number;
}

export interface FollowWorld {
  readonly clock: Clock;
  readonly random: Random;
  /** Told about each interruption, and how often lists were made. */
  onInterruption(what: string, error: PodsealError): void;
  onList(what: string): void;
}

const backoff = { firstMs: 200, maximumMs: 15_000 };
/** A watch that the server ends sooner is as good as a failure: asking again at once would be a storm. */
const shortWatchMs = 1_000;

/**
 * Keeps a follower in step with the API server until `stop`: list, then watch from there, again and
 * again. Whatever breaks is tried again with back-off and Retry-After; what was seen is resumed from
 * its resourceVersion. `onSynced` is called after each complete list. Never rejects.
 */
export async function follow<T>(
  listing: Listing<T>,
  follower: Follower<T>,
  settings: FollowSettings,
  run: FollowWorld & { readonly stop: AbortSignal; onSynced(): void },
): Promise<void> {
  const { clock, random, stop } = run;
  let failures = 0;
  let resume: string | undefined;
  let relistAt = clock.now();
  const pause = (retryAfterMs: number): Promise<void> => {
    failures++;
    const ms = Math.max(backoffMs(failures, backoff, random.fraction()), retryAfterMs);
    return clock.sleepUntil(later(clock.now(), ms), stop);
  };
  while (!stop.aborted) {
    try {
      if (resume === undefined || clock.now() >= relistAt) {
        resume = await listAll(listing, follower, stop);
        // Spread: replicas and kinds must not list at the same moment.
        const ms = settings.relistMs * (0.75 + random.fraction() / 2);
        relistAt = later(clock.now(), ms);
        run.onList(listing.what);
        run.onSynced();
      }
      const startedAt = clock.now();
      await watchOnce(listing, follower, {
        ...settings,
        clock,
        stop,
        relistAt,
        from: resume,
        progress(resourceVersion) {
          resume = resourceVersion;
          failures = 0;
        },
      });
      if (clock.now() < later(startedAt, shortWatchMs) && clock.now() < relistAt) await pause(0);
    } catch (thrown) {
      if (stopping(stop)) return;
      const error = asPodsealError(thrown);
      run.onInterruption(listing.what, error);
      if (error.code === 'API_EXPIRED') resume = undefined;
      await pause(error.retryAfterMs ?? 0);
    }
  }
}

/** Asked anew: an await may have passed since it was last looked at. */
function stopping(stop: AbortSignal): boolean {
  return stop.aborted;
}

async function listAll<T>(
  listing: Listing<T>,
  follower: Follower<T>,
  stop: AbortSignal,
): Promise<string> {
  const items: T[] = [];
  let page = await listing.list(undefined);
  items.push(...page.items);
  while (page.next !== undefined && !stop.aborted) {
    page = await listing.list(page.next);
    items.push(...page.items);
  }
  follower.replace(items);
  return page.resourceVersion;
}

interface OneWatch extends FollowSettings {
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly relistAt: Date;
  readonly from: string;
  progress(resourceVersion: string): void;
}

/** Returns when the watch ended, was silent for too long, or it is time to list anew. */
async function watchOnce<T>(
  listing: Listing<T>,
  follower: Follower<T>,
  one: OneWatch,
): Promise<void> {
  const { clock, stop } = one;
  const ending = new AbortController();
  const end = (): void => ending.abort();
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  let heardAt = clock.now();
  const watched = listing
    .watch(
      one.from,
      (change) => {
        heardAt = clock.now();
        if (change.kind === 'present') follower.put(change.item);
        if (change.kind === 'gone') follower.remove(change.item);
        one.progress(change.resourceVersion);
      },
      ending.signal,
    )
    .finally(end);
  const watchdog = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const silentAt = later(heardAt, one.idleMs);
      const until = silentAt < one.relistAt ? silentAt : one.relistAt;
      if (clock.now() >= until) end();
      else await clock.sleepUntil(until, ending.signal);
    }
  };
  try {
    await Promise.all([watched, watchdog()]);
  } finally {
    // Without this, every watch would leave a listener on the long-lived stop signal.
    stop.removeEventListener('abort', end);
  }
}
