import { asPodsealError, type PodsealError } from '../errors.ts';
import { type BackoffPolicy, backoffMs } from '../runtime/backoff.ts';
import { type Clock } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';
import { type WorkItem, type WorkList } from './work-list.ts';

/** What a worker did with an object. */
export type Outcome =
  | { readonly kind: 'done' }
  /** It waits for something else; looked at again after so long at the latest. */
  | { readonly kind: 'again'; readonly afterMs: number };

export interface WorkersWorld {
  readonly clock: Clock;
  readonly random: Random;
  /** An attempt that failed and will be made again. */
  onFailure(error: PodsealError): void;
}

/** Of one object that cannot be handled. */
const objectBackoff: BackoffPolicy = { firstMs: 100, maximumMs: 15_000 };
/** Of an object when the API server is at fault: the workers pause, so it is soon its turn when they go on. */
const innocentBackoff: BackoffPolicy = { firstMs: 100, maximumMs: 1_000 };
/** Of the workers: as long as the trouble has lasted, so that it ends as soon after as it was long. */
const pauseLimitsMs = { least: 100, most: 15_000 };

/**
 * So many workers take objects from the list and handle them until `stop`. What fails is put off with
 * back-off. While the API server is busy, away or refuses us, each worker that has met it pauses, so that
 * a long queue does not become a storm; the first that succeeds wakes the others. Retry-After is kept to
 * in any case.
 */
export async function runWorkers<T extends WorkItem>(
  list: WorkList<T>,
  handle: (item: T, stop: AbortSignal) => Promise<Outcome>,
  world: WorkersWorld,
  { count, stop }: { readonly count: number; readonly stop: AbortSignal },
): Promise<void> {
  const { clock, random } = world;
  /** When the first of the failures in a row was, of all workers together; undefined: there is none. */
  let troubleSinceMs: number | undefined;
  const isTroubled = (): boolean => troubleSinceMs !== undefined;
  let recovery = new AbortController();
  const recovered = (): void => {
    troubleSinceMs = undefined;
    recovery.abort();
    recovery = new AbortController();
  };
  const pause = async (retryAfterMs: number): Promise<void> => {
    const now = clock.uptimeMs();
    troubleSinceMs ??= now;
    const { least, most } = pauseLimitsMs;
    const wholeMs = Math.min(most, Math.max(least, now - troubleSinceMs));
    const pauseMs = wholeMs * (0.5 + random.fraction() / 2);
    await clock.pause(retryAfterMs, stop);
    // Another may have succeeded meanwhile.
    if (isTroubled() && !stop.aborted) await clock.pause(pauseMs - retryAfterMs, recovery.signal);
  };
  const work = async (): Promise<void> => {
    for (let item = await list.take(stop); item; item = await list.take(stop)) {
      try {
        const outcome = await handle(item, stop);
        if (isTroubled()) recovered();
        if (outcome.kind === 'done') list.done(item);
        else list.putOff(item, outcome.afterMs);
      } catch (thrown) {
        const error = asPodsealError(thrown);
        const { code, retryAfterMs = 0 } = error;
        world.onFailure(error);
        const isTrouble = code === 'API_UNREACHABLE' || code === 'API_FORBIDDEN';
        const policy = isTrouble ? innocentBackoff : objectBackoff;
        list.failed(item, (failures) =>
          Math.max(backoffMs(failures, policy, random.fraction()), retryAfterMs),
        );
        if (isTrouble) await pause(retryAfterMs);
      }
    }
  };
  stop.addEventListener('abort', () => recovery.abort(), { once: true });
  await Promise.all(Array.from({ length: count }, work));
}
