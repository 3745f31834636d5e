import { asPodsealError, type PodsealError } from '../errors.ts';
import { type Clock } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';

/** A coordination.k8s.io/v1 Lease, as far as we use it. */
export interface Lease {
  /** The replica that leads; undefined: nobody (it gave the lease back). */
  readonly holder: string | undefined;
  /** What the holder said: after so long without a renewal it leads no more. */
  readonly durationMs: number;
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
  /** No other process may ever have the same. */
  readonly holder: string;
  /** Nobody else leads before the lease has stood unrenewed for so long. */
  readonly durationMs: number;
}

export interface LeaseWorld {
  readonly clock: Clock;
  readonly random: Random;
  onFailure(error: PodsealError): void;
}

interface Turn {
  readonly stop: AbortSignal;
  lead(while_: AbortSignal): Promise<void>;
}

/** A lease of ours, and when we asked for it: from then on others count, at the earliest. */
interface Held {
  readonly lease: Lease;
  readonly askedAtMs: number;
}

/**
 * Leads when no other replica does, until `stop`: calls `lead` with a signal that is aborted when the
 * lease is lost. As in client-go's leaderelection: a lease is free when its resourceVersion was not seen
 * to change for the holder's duration, by our own clock, so clocks of nodes need not agree; and whoever
 * could not renew for two thirds of it stops leading, before anybody else can begin.
 */
export async function leadByLease(
  leases: Leases,
  settings: LeaseSettings,
  world: LeaseWorld,
  turn: Turn,
): Promise<void> {
  const { clock, random } = world;
  const { holder, durationMs } = settings;
  const { stop } = turn;
  let seen: { readonly resourceVersion: string; readonly atMs: number } | undefined;
  const isFree = (lease: Lease | undefined): boolean => {
    if (lease?.holder === undefined || lease.holder === holder) return true;
    if (seen?.resourceVersion !== lease.resourceVersion)
      seen = { resourceVersion: lease.resourceVersion, atMs: clock.uptimeMs() };
    return clock.uptimeMs() - seen.atMs >= Math.max(lease.durationMs, durationMs);
  };
  const acquire = async (): Promise<Held | undefined> => {
    const lease = await leases.get();
    if (!isFree(lease)) return undefined;
    const askedAtMs = clock.uptimeMs();
    return { lease: await leases.take(lease, holder, durationMs), askedAtMs };
  };
  while (!stop.aborted) {
    const held = await attempt(world, acquire);
    if (held) await leadWhileHeld(held, leases, { ...settings, ...world, ...turn });
    await clock.pause(retryMs(durationMs) * (0.75 + random.fraction() / 2), stop);
  }
}

/** How often is tried to get the lease, and to renew it. */
const retryMs = (durationMs: number): number => durationMs / 5;

/** Undefined: it failed, which was said where there is something to say. */
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

async function leadWhileHeld(
  first: Held,
  leases: Leases,
  leading: LeaseSettings & LeaseWorld & Turn,
): Promise<void> {
  const { clock, stop, durationMs, holder } = leading;
  const ending = new AbortController();
  const end = (): void => ending.abort();
  /** Asked anew: an await may have passed since it was last looked at. */
  const hasEnded = (): boolean => ending.signal.aborted;
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  let held = first;
  const renew = async (): Promise<void> => {
    for (;;) {
      await clock.pause(retryMs(durationMs), ending.signal);
      if (hasEnded()) return;
      const askedAtMs = clock.uptimeMs();
      const renewed = await attempt(leading, () => leases.take(held.lease, holder, durationMs));
      if (renewed) held = { lease: renewed, askedAtMs };
      if (renewed || hasEnded()) continue;
      // It may be ours, renewed with an answer that was lost; but only an answer counts as a renewal.
      held = { ...held, lease: (await attempt(leading, () => leases.get())) ?? held.lease };
      if (held.lease.holder !== holder) end();
    }
  };
  // Apart from the renewals, because a call that hangs must not hold leadership.
  const watchdog = async (): Promise<void> => {
    while (!hasEnded()) {
      const leftMs = held.askedAtMs + (durationMs * 2) / 3 - clock.uptimeMs();
      if (leftMs > 0) await clock.pause(leftMs, ending.signal);
      else end();
    }
  };
  void watchdog();
  const renewing = renew();
  try {
    // Over already when the answer to the first call was that long in coming.
    if (!hasEnded()) await leading.lead(ending.signal);
  } finally {
    end();
    stop.removeEventListener('abort', end);
  }
  if (!stop.aborted) return;
  // Given back, so that the next replica begins at once; with its newest version, which a call under way may change.
  await renewing;
  if (held.lease.holder === holder) await attempt(leading, () => leases.release(held.lease));
}
