import { asPodsealError, PodsealError } from '../errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Clock } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Where a watch of what was listed begins; undefined: there is nothing to watch, as for a kind that is not served. */
  readonly resourceVersion: string | undefined;
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
  /** Resolves when the server ends the watch, as it does after half an hour, or `stop` is aborted; API_EXPIRED: list anew. */
  watch(from: string, onChange: (change: Change<T>) => void, stop: AbortSignal): Promise<void>;
}

/** The whole list, when the objects are few. */
export async function listWhole<T>(listing: Pick<Listing<T>, 'list'>): Promise<readonly T[]> {
  const items: T[] = [];
  for (let page = await listing.list(undefined); ; page = await listing.list(page.next)) {
    items.push(...page.items);
    if (page.next === undefined) return items;
  }
}

/** Where the objects go. */
export interface Follower<T> {
  /** Everything that there is now: what is not among it is gone. */
  replace(items: readonly T[]): void;
  put(item: T): void;
  remove(item: T): void;
}

export interface FollowSettings {
  /** A watch that says nothing for so long is dead: the API server sends a bookmark every minute. */
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
  /** A list, a change or a bookmark came: what the follower has was true a moment ago. */
  onHeard(what: string): void;
}

/** Short at its longest: so late may work be seen once the API server is back, and it is a call or two. */
const backoff = { firstMs: 200, maximumMs: 5_000 };
/** A watch that lasted so long is no failure, however it ended. */
const lastingMs = 1_000;
/** After a list that failed though nothing called for it: meanwhile the watch goes on. */
const relistAgainMs = 30_000;

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
  /** Where the watch begins; undefined: only a list can tell. */
  let from: string | undefined;
  let relistAtMs = 0;
  const isTimeToList = (): boolean => from === undefined || clock.uptimeMs() >= relistAtMs;
  const list = async (): Promise<string | undefined> => {
    relistAtMs = clock.uptimeMs() + Math.min(settings.relistMs, relistAgainMs);
    const listed = await listAll(listing, follower, stop);
    // Spread: replicas and kinds must not list at the same moment.
    relistAtMs = clock.uptimeMs() + settings.relistMs * (0.75 + random.fraction() / 2);
    run.onList(listing.what);
    run.onHeard(listing.what);
    run.onSynced();
    return listed;
  };
  while (!stop.aborted) {
    let retryAfterMs = 0;
    try {
      if (isTimeToList()) from = await list();
      if (from === undefined) {
        await clock.pause(relistAtMs - clock.uptimeMs(), stop);
        continue;
      }
      await watchOnce(listing, follower, {
        clock,
        stop,
        idleMs: settings.idleMs,
        relistAtMs,
        from,
        resumeAt: (resourceVersion) => (from = resourceVersion),
        lasts: () => (failures = 0),
        heard: () => run.onHeard(listing.what),
      });
      if (isTimeToList()) continue;
    } catch (thrown) {
      if (stopping(stop)) return;
      const error = asPodsealError(thrown);
      run.onInterruption(listing.what, error);
      if (error.code === 'API_EXPIRED') from = undefined;
      retryAfterMs = error.retryAfterMs ?? 0;
    }
    // Also after a watch that the server ended in order: whoever does so at once would be stormed.
    failures++;
    const pauseMs = Math.max(backoffMs(failures, backoff, random.fraction()), retryAfterMs);
    await clock.pause(pauseMs, stop);
  }
}

/** Asked anew: an await may have passed since it was last looked at. */
function stopping(stop: AbortSignal): boolean {
  return stop.aborted;
}

/** Returns where a watch begins. Rejects when `stop` came: half a list must not be taken for the whole. */
async function listAll<T>(
  listing: Listing<T>,
  follower: Follower<T>,
  stop: AbortSignal,
): Promise<string | undefined> {
  const items: T[] = [];
  for (let next: string | undefined; ;) {
    const page = await listing.list(next);
    stop.throwIfAborted();
    items.push(...page.items);
    next = page.next;
    if (next !== undefined) continue;
    follower.replace(items);
    return page.resourceVersion;
  }
}

interface OneWatch {
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly idleMs: number;
  readonly relistAtMs: number;
  readonly from: string;
  /** Where the next watch begins; undefined: a list must tell. */
  resumeAt(resourceVersion: string | undefined): void;
  /** It is one that works. */
  lasts(): void;
  heard(): void;
}

/** Returns when the server ended the watch, or it is time to list anew; rejects when it broke off or fell silent. */
async function watchOnce<T>(
  listing: Listing<T>,
  follower: Follower<T>,
  one: OneWatch,
): Promise<void> {
  const { clock, stop, idleMs, relistAtMs } = one;
  const ending = new AbortController();
  const end = (): void => ending.abort();
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  const startedAtMs = clock.uptimeMs();
  let heardAtMs = startedAtMs;
  const watched = listing
    .watch(
      one.from,
      (change) => {
        heardAtMs = clock.uptimeMs();
        one.heard();
        if (change.kind === 'present') follower.put(change.item);
        if (change.kind === 'gone') follower.remove(change.item);
        one.resumeAt(change.resourceVersion);
      },
      ending.signal,
    )
    .finally(end);
  const watchdog = async (): Promise<boolean> => {
    await clock.pause(Math.min(lastingMs, idleMs), ending.signal);
    if (!ending.signal.aborted) one.lasts();
    while (!ending.signal.aborted) {
      const now = clock.uptimeMs();
      const leftMs = Math.min(heardAtMs + idleMs, relistAtMs) - now;
      if (leftMs > 0) await clock.pause(leftMs, ending.signal);
      else {
        end();
        return now < relistAtMs;
      }
    }
    return false;
  };
  try {
    const [isSilent] = await Promise.all([watchdog(), watched]);
    if (!isSilent) return;
    // Something may stand between us and the server: only a list tells what we missed.
    one.resumeAt(undefined);
    throw silence(listing.what, idleMs);
  } finally {
    // Without this, every watch would leave a listener on the long-lived stop signal.
    stop.removeEventListener('abort', end);
  }
}

function silence(what: string, ms: number): PodsealError {
  return new PodsealError(
    'API_UNREACHABLE',
    `Cannot go on watching ${what}: nothing was said for ${ms / 1000} s`,
    {
      hint: 'It is listed anew. Does a proxy or load balancer before the API server hold answers back?',
    },
  );
}
