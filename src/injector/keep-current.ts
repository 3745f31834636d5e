import { type Outcome, runWorkers } from '../controller/run-workers.ts';
import { type WorkItem, workList } from '../controller/work-list.ts';
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

/** Changes that come so close together make one write. */
const gatherMs = 200;
/** Between two writes into the same namespace. */
const gapMs = 1_000;

export function keepCurrent(context: KeepCurrentContext): KeepCurrent {
  const { config, world, replica, view, publisher } = context;
  const { clock, random, log } = world;
  const visits = workList<WorkItem>(
    clock,
    ({ uid }) => ({ group: uid, lane: 'start' }),
    () => true,
  );
  const queue = visits.follower(() => true);
  /** By namespace: when was last written, or tried to. */
  const triedAtMs = new Map<string, number>();
  const tooLarge = new Set<string>();
  let isLeading = false;
  let version = 0;

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
    triedAtMs.delete(namespace);
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
    const sinceMs = clock.uptimeMs() - (triedAtMs.get(namespace) ?? -Infinity);
    const waitMs = Math.max(gatherMs - visits.ageMs(item), gapMs - sinceMs);
    if (waitMs > 0) return { kind: 'again', afterMs: waitMs };
    triedAtMs.set(namespace, clock.uptimeMs());
    const standing = view.standing({ namespace, name: 'podseal-services' });
    // Somebody else wrote it: another replica, perhaps, that knows of newer Services.
    if (standing && standing.digest !== publisher.lastWritten(namespace))
      await publisher.listServices(namespace);
    await publisher.publish(namespace);
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
      for (const namespace of [...triedAtMs.keys(), ...tooLarge]) forget(namespace);
    },
  };
}
