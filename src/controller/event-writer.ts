import { asPodsealError, type PodsealError } from '../errors.ts';
import { type Clock, later } from '../runtime/clock.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type PodEvent, type PodEvents, type PodReference } from '../telemetry/pod-events.ts';

/** An Event as it is written: the newest of its pod, and how often the same was said. */
export interface WrittenEvent extends PodEvent {
  readonly count: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

export interface EventWriterWorld {
  readonly clock: Clock;
  /** Creates the Event, or updates the one of the same pod and reason. Throws PodsealErrors. */
  write(pod: PodReference, event: WrittenEvent): Promise<void>;
  /** Whether there is more urgent work: every Event costs the API server as much as a certificate's write. */
  isBusy(): boolean;
  onFailure(error: PodsealError): void;
}

interface Told {
  readonly pod: PodReference;
  readonly event: WrittenEvent;
  readonly writtenAt: Date | undefined;
  readonly isDue: boolean;
}

/** At most one write per pod in so long. */
const quietMs = 60_000;
/** However busy: then an Event is written all the same. */
const patienceMs = 30_000;
const forgetAfterMs = 3_600_000;
const maximumPods = 20_000;
const pollMs = 250;

/** Events that wait while there is other work, and are at most one per pod and minute. */
export function eventWriter(world: EventWriterWorld): PodEvents & {
  run(stop: AbortSignal): Promise<void>;
} {
  const { clock } = world;
  const told = new Map<string, Told>();
  const bell = doorbell();
  const due = (): Told | undefined => {
    const now = clock.now();
    for (const [uid, each] of told) {
      const isQuiet = each.writtenAt !== undefined && now < later(each.writtenAt, quietMs);
      if (each.isDue && !isQuiet) return each;
      if (!each.isDue && now > later(each.event.lastAt, forgetAfterMs)) told.delete(uid);
    }
    return undefined;
  };
  return {
    record(pod, event) {
      const now = clock.now();
      const before = told.get(pod.uid);
      const isSame =
        before?.event.reason === event.reason && before.event.message === event.message;
      // The oldest goes: a flood must not cost memory.
      if (!before && told.size >= maximumPods) told.delete(told.keys().next().value ?? '');
      told.delete(pod.uid);
      told.set(pod.uid, {
        pod,
        event: {
          ...event,
          count: isSame ? before.event.count + 1 : 1,
          firstAt: isSame ? before.event.firstAt : now,
          lastAt: now,
        },
        writtenAt: before?.writtenAt,
        isDue: true,
      });
      bell.ring();
    },
    async run(stop) {
      let busySince: Date | undefined;
      while (!stop.aborted) {
        const next = due();
        const now = clock.now();
        busySince = world.isBusy() ? (busySince ?? now) : undefined;
        const mayWrite = busySince === undefined || now >= later(busySince, patienceMs);
        if (next && mayWrite) {
          told.set(next.pod.uid, { ...next, isDue: false, writtenAt: now });
          await world
            .write(next.pod, next.event)
            .catch((thrown: unknown) => world.onFailure(asPodsealError(thrown)));
          continue;
        }
        const { signal, release } = bell.nextRing(stop);
        const isWaiting = [...told.values()].some(({ isDue }) => isDue);
        await clock.sleepUntil(
          later(now, isWaiting ? pollMs : forgetAfterMs),
          isWaiting ? stop : signal,
        );
        release();
      }
    },
  };
}
