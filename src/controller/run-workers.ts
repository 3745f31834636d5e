import { asPodsealError, type PodsealError } from '../errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Clock, later } from '../runtime/clock.ts';
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

const backoff = { firstMs: 100, maximumMs: 15_000 };

/**
 * So many workers take objects from the list and handle them until `stop`. What fails is put off with
 * back-off; while the API server is busy or away the workers pause too (Retry-After first), so that a
 * long queue does not become a storm.
 */
export async function runWorkers<T extends WorkItem>(
  list: WorkList<T>,
  handle: (item: T, stop: AbortSignal) => Promise<Outcome>,
  world: WorkersWorld,
  { count, stop }: { readonly count: number; readonly stop: AbortSignal },
): Promise<void> {
  const failures = new Map<string, number>();
  let inARow = 0;
  const failed = (item: T, error: PodsealError): number => {
    world.onFailure(error);
    const times = (failures.get(item.uid) ?? 0) + 1;
    failures.set(item.uid, times);
    list.putOff(
      item,
      Math.max(backoffMs(times, backoff, world.random.fraction()), error.retryAfterMs ?? 0),
    );
    if (error.code !== 'API_UNREACHABLE' && error.code !== 'API_FORBIDDEN') return 0;
    inARow++;
    return Math.max(backoffMs(inARow, backoff, world.random.fraction()), error.retryAfterMs ?? 0);
  };
  const work = async (): Promise<void> => {
    for (let item = await list.take(stop); item; item = await list.take(stop)) {
      let pauseMs = 0;
      try {
        const outcome = await handle(item, stop);
        failures.delete(item.uid);
        inARow = 0;
        if (outcome.kind === 'done') list.done(item);
        else list.putOff(item, outcome.afterMs);
      } catch (thrown) {
        pauseMs = failed(item, asPodsealError(thrown));
      }
      if (pauseMs > 0) await world.clock.sleepUntil(later(world.clock.now(), pauseMs), stop);
    }
  };
  await Promise.all(Array.from({ length: count }, work));
}
