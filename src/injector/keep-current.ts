import { type Outcome, runWorkers } from '../controller/run-workers.ts';
import { type WorkItem, workList } from '../controller/work-list.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type PublicationView } from './publication-view.ts';
import {
  type PublicationsConfig,
  type PublicationsReplica,
  type PublicationsWorld,
} from './publications-world.ts';
import { type Publisher } from './publisher.ts';
import { tooLargeMessage } from './services-file.ts';

/** Writes what changed, as the one writer. */
export interface KeepCurrent {
  /** Has the namespace looked at, while this replica leads. */
  look(namespace: string): void;
  readonly isBusy: boolean;
  /** Namespaces whose Services do not fit into a ConfigMap. */
  readonly tooLarge: number;
  run(stop: AbortSignal): Promise<void>;
}

export interface KeepCurrentContext {
  readonly config: Pick<PublicationsConfig, 'workers'>;
  readonly world: Pick<PublicationsWorld, 'clock' | 'random' | 'log'>;
  readonly replica: Pick<PublicationsReplica, 'failed'>;
  readonly view: PublicationView;
  readonly publisher: Publisher;
}

/** The last time that a namespace was written to, or tried to be. */
interface LastTry {
  readonly atMs: number;
  /** In a row. */
  readonly failures: number;
}

const neverTried: LastTry = { atMs: -Infinity, failures: 0 };
/** Changes that come so close together make one write. */
const gatherMs = 200;
/** Between two writes into the same namespace. */
const gapMs = 1_000;
/** After failures in a row, whatever changes meanwhile. */
const backoff = { firstMs: 1_000, maximumMs: 15_000 };

export function keepCurrent(context: KeepCurrentContext): KeepCurrent {
  const { config, world, replica, view, publisher } = context;
  const { clock, random, log } = world;
  const visits = workList<WorkItem>(
    clock,
    ({ uid }) => ({ group: uid, lane: 'start' }),
    () => true,
  );
  const queue = visits.follower(() => true);
  const tries = new Map<string, LastTry>();
  const tooLarge = new Set<string>();
  let isLeading = false;
  let version = 0;

  const gapAfter = (failures: number): number =>
    failures === 0 ? gapMs : Math.max(gapMs, backoffMs(failures, backoff, random.fraction()));
  const noteSize = (namespace: string): void => {
    const problem = tooLargeMessage(namespace, view.fileBytes(namespace));
    if (problem === undefined) tooLarge.delete(namespace);
    if (problem === undefined || tooLarge.has(namespace)) return;
    tooLarge.add(namespace);
    log('error', 'publication.large', problem, {
      hint: 'Spread the Services over more namespaces. An agent that is written by hand can be told its Services by PODSEAL_SERVICES.',
    });
  };
  const forget = (namespace: string): void => {
    tries.delete(namespace);
    tooLarge.delete(namespace);
    publisher.forget(namespace);
  };
  const visit = async (item: WorkItem): Promise<Outcome> => {
    const { uid: namespace } = item;
    if (!view.isWanted(namespace)) {
      forget(namespace);
      return { kind: 'done' };
    }
    noteSize(namespace);
    if (view.isCurrent(namespace)) return { kind: 'done' };
    const { atMs, failures } = tries.get(namespace) ?? neverTried;
    const now = clock.uptimeMs();
    const waitMs = Math.max(gatherMs - visits.ageMs(item), atMs + gapAfter(failures) - now);
    if (waitMs > 0) return { kind: 'again', afterMs: waitMs };
    // Until it has succeeded.
    tries.set(namespace, { atMs: now, failures: failures + 1 });
    const standing = view.standing({ namespace, name: 'podseal-services' });
    // Somebody else wrote it: another replica, perhaps, that knows of newer Services.
    if (standing && standing.digest !== publisher.lastWritten(namespace))
      await publisher.listServices(namespace);
    await publisher.publish(namespace);
    tries.set(namespace, { atMs: now, failures: 0 });
    return { kind: 'done' };
  };
  const look = (namespace: string): void => {
    if (isLeading) queue.put({ uid: namespace, resourceVersion: String(++version) });
  };
  return {
    look,
    get isBusy() {
      return visits.isBusy;
    },
    get tooLarge() {
      return tooLarge.size;
    },
    async run(stop) {
      isLeading = true;
      for (const namespace of view.all()) look(namespace);
      const workersWorld = { clock, random, onFailure: replica.failed };
      const workers = { count: config.workers, stop };
      await Promise.all([visits.run(stop), runWorkers(visits, visit, workersWorld, workers)]);
      isLeading = false;
      // Another replica writes now.
      for (const namespace of [...tries.keys(), ...tooLarge]) forget(namespace);
    },
  };
}
