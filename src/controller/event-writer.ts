import { asPodsealError, type PodsealError } from '../errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Clock } from '../runtime/clock.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type Random } from '../runtime/random.ts';
import { type PodEvent, type PodEvents, type PodReference } from '../telemetry/pod-events.ts';

/** An Event as it is written: the newest of its pod, and how often the same was said. */
export interface WrittenEvent extends PodEvent {
  readonly count: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

export interface EventWriterWorld {
  readonly clock: Clock;
  readonly random: Random;
  /** Creates the Event, or updates the one of the same pod and reason. Throws PodsealErrors. */
  write(pod: PodReference, event: WrittenEvent): Promise<void>;
  /** Whether there is more urgent work: every Event costs the API server as much as a certificate's write. */
  isBusy(): boolean;
  onFailure(error: PodsealError): void;
}

interface Told {
  readonly pod: PodReference;
  readonly event: WrittenEvent;
  /** By uptime; undefined: not yet. */
  readonly writtenAtMs: number | undefined;
  readonly isDue: boolean;
}

/** At most one write per pod in so long. */
const quietMs = 60_000;
/** However busy: then an Event is written all the same. */
const patienceMs = 30_000;
const forgetAfterMs = 3_600_000;
/** About 10 MB, when each message is as long as Events can hold. */
const maximumPods = 10_000;
const pollMs = 250;
const backoff = { firstMs: 500, maximumMs: 30_000 };

/** Events that wait while there is other work, and are at most one per pod and minute. */
export function eventWriter(world: EventWriterWorld): PodEvents & {
  run(stop: AbortSignal): Promise<void>;
} {
  const { clock, random } = world;
  /** By the pod's uid, in the order in which they were last told. */
  const told = new Map<string, Told>();
  const bell = doorbell();
  let failures = 0;
  const forget = (now: Date): void => {
    for (const [uid, { event, isDue }] of told) {
      const isOld = now.getTime() - event.lastAt.getTime() > forgetAfterMs;
      // The oldest goes: a flood must not cost memory.
      if (told.size < maximumPods && (isDue || !isOld)) return;
      told.delete(uid);
    }
  };
  /** What may be written now, and whether anything waits at all. */
  const look = (): { readonly next: Told | undefined; readonly isWaiting: boolean } => {
    const now = clock.uptimeMs();
    let isWaiting = false;
    for (const each of told.values()) {
      if (!each.isDue) continue;
      if (each.writtenAtMs === undefined || now - each.writtenAtMs >= quietMs)
        return { next: each, isWaiting: true };
      isWaiting = true;
    }
    return { next: undefined, isWaiting };
  };
  const write = async (next: Told, stop: AbortSignal): Promise<void> => {
    const { uid } = next.pod;
    told.set(uid, { ...next, isDue: false, writtenAtMs: clock.uptimeMs() });
    try {
      await world.write(next.pod, next.event);
      failures = 0;
    } catch (thrown) {
      const error = asPodsealError(thrown);
      world.onFailure(error);
      // Anything else would be refused again.
      if (error.code !== 'API_UNREACHABLE') return;
      const now = told.get(uid);
      if (now) told.set(uid, { ...now, isDue: true, writtenAtMs: next.writtenAtMs });
      failures++;
      const pauseMs = backoffMs(failures, backoff, random.fraction());
      await clock.pause(Math.max(pauseMs, error.retryAfterMs ?? 0), stop);
    }
  };
  return {
    record(pod, event) {
      const now = clock.now();
      const before = told.get(pod.uid);
      const isSame =
        before?.event.reason === event.reason && before.event.message === event.message;
      told.delete(pod.uid);
      forget(now);
      told.set(pod.uid, {
        pod,
        event: {
          ...event,
          count: isSame ? before.event.count + 1 : 1,
          firstAt: isSame ? before.event.firstAt : now,
          lastAt: now,
        },
        writtenAtMs: before?.writtenAtMs,
        isDue: true,
      });
      bell.ring();
    },
    async run(stop) {
      let busySinceMs: number | undefined;
      while (!stop.aborted) {
        const now = clock.uptimeMs();
        busySinceMs = world.isBusy() ? (busySinceMs ?? now) : undefined;
        const mayWrite = busySinceMs === undefined || now - busySinceMs >= patienceMs;
        const { signal, release } = bell.nextRing(stop);
        const { next, isWaiting } = look();
        if (next && mayWrite) await write(next, stop);
        else if (isWaiting) await clock.pause(pollMs, stop);
        else await clock.pause(forgetAfterMs, signal);
        release();
      }
    },
  };
}
