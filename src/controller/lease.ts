import { asPodsealError, type PodsealError } from '../errors.ts';
import { type Clock, later } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';

/** A coordination.k8s.io/v1 Lease, as far as we use it. */
export interface Lease {
  /** The replica that leads; undefined: nobody (it gave the lease back). */
  readonly holder: string | undefined;
  /** What changes at each renewal: whoever watches it needs no clock in common with the holder. */
  readonly resourceVersion: string;
  readonly transitions: number;
}

/** One named lease. `take` writes over exactly the lease that was read (API_CONFLICT: somebody else was first). */
export interface Leases {
  get(): Promise<Lease | undefined>;
  take(over: Lease | undefined, holder: string, durationMs: number): Promise<Lease>;
  release(held: Lease): Promise<void>;
}

export interface LeaseSettings {
  readonly holder: string;
  /** Nobody else leads before the lease has stood unrenewed for so long. */
  readonly durationMs: number;
}

export interface LeaseWorld {
  readonly clock: Clock;
  readonly random: Random;
  onFailure(error: PodsealError): void;
}

/**
 * Leads when no other replica does, until `stop`: calls `lead` with a signal that is aborted when the
 * lease is lost. As in client-go's leaderelection: a lease is free when its resourceVersion was not seen
 * to change for its duration by our own clock, so clocks of nodes need not agree; and whoever could
 * not renew for two thirds of it stops leading, before anybody else can begin.
 */
export async function leadByLease(
  leases: Leases,
  settings: LeaseSettings,
  world: LeaseWorld,
  turn: { readonly stop: AbortSignal; lead(while_: AbortSignal): Promise<void> },
): Promise<void> {
  const { clock, random } = world;
  const { stop } = turn;
  const tryMs = settings.durationMs / 5;
  let seen: { readonly resourceVersion: string; readonly at: Date } | undefined;
  while (!stop.aborted) {
    const held = await attempt(world, async () => {
      const lease = await leases.get();
      if (lease && seen?.resourceVersion !== lease.resourceVersion)
        seen = { resourceVersion: lease.resourceVersion, at: clock.now() };
      const isFree =
        lease?.holder === undefined ||
        lease.holder === settings.holder ||
        (seen !== undefined && clock.now() >= later(seen.at, settings.durationMs));
      return isFree ? leases.take(lease, settings.holder, settings.durationMs) : undefined;
    });
    if (held) await leadWhileHeld(held, leases, { ...settings, ...world, ...turn });
    seen = undefined;
    await clock.sleepUntil(later(clock.now(), tryMs * (0.75 + random.fraction() / 2)), stop);
  }
}

async function attempt<T>(world: LeaseWorld, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (thrown) {
    const error = asPodsealError(thrown);
    // Somebody else was first: the normal end of a race.
    if (error.code !== 'API_CONFLICT') world.onFailure(error);
    return undefined;
  }
}

type Leading = LeaseSettings &
  LeaseWorld & { readonly stop: AbortSignal; lead(while_: AbortSignal): Promise<void> };

async function leadWhileHeld(first: Lease, leases: Leases, leading: Leading): Promise<void> {
  const { clock, stop, durationMs, holder } = leading;
  const ending = new AbortController();
  const end = (): void => ending.abort();
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  /** Asked anew: an await may have passed since it was last looked at. */
  const hasEnded = (): boolean => ending.signal.aborted;
  const led = leading.lead(ending.signal).finally(end);
  let held = first;
  let renewedAt = clock.now();
  const renew = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      await clock.sleepUntil(later(clock.now(), durationMs / 5), ending.signal);
      if (hasEnded()) return;
      const askedAt = clock.now();
      const lease = await attempt(leading, () => leases.take(held, holder, durationMs));
      if (lease) {
        held = lease;
        renewedAt = askedAt;
      } else held = (await attempt(leading, () => leases.get())) ?? held;
      if (held.holder !== holder) end();
    }
  };
  // Apart from the renewals, because a call that hangs must not hold leadership.
  const watchdog = async (): Promise<void> => {
    const lostAt = (): Date => later(renewedAt, (durationMs * 2) / 3);
    while (!ending.signal.aborted && clock.now() < lostAt())
      await clock.sleepUntil(lostAt(), ending.signal);
    end();
  };
  try {
    await Promise.all([led, renew(), watchdog()]);
    // Given back, so that the next replica begins at once.
    if (stop.aborted && held.holder === holder) await attempt(leading, () => leases.release(held));
  } finally {
    stop.removeEventListener('abort', end);
  }
}
