import { type PodsealError } from '../errors.ts';
import { type Clock } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';
import { type ControllerMetrics } from '../telemetry/controller-metrics.ts';
import { type Log } from '../telemetry/log.ts';
import { leadByLease, type Leases } from './lease.ts';
import { follow, type Follower, type FollowSettings, type Listing } from './list-watch.ts';

export interface ReplicaConfig {
  readonly follow: FollowSettings;
  /** Undefined: this replica works without asking for a lease. */
  readonly lease:
    | {
        /** For people: the pod. */
        readonly holder: string;
        readonly durationMs: number;
      }
    | undefined;
}

export interface ReplicaWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: ControllerMetrics;
  readonly leases: Leases;
}

/** One of several copies of a controller: all follow the API, the one that holds the lease works. */
export interface Replica {
  /** Keeps the follower in step with the API server, once `run` is called. */
  follows<T>(listing: Listing<T>, follower: Follower<T>): void;
  /** An attempt that failed and is made again. */
  failed(error: PodsealError): void;
  /** For how long nothing was heard of what the listing lists, not even a bookmark. */
  silentMs(listing: Pick<Listing<unknown>, 'what'>): number;
  /** What was not listed yet; empty: ready to work, or to take over. */
  missing(): readonly string[];
  /** Follows, and calls `lead` while this replica holds the lease and everything was listed; until `stop`. */
  run(lead: (while_: AbortSignal) => Promise<void>, stop: AbortSignal): Promise<void>;
}

export function replica(config: ReplicaConfig, world: ReplicaWorld): Replica {
  const { clock, random, log, metrics } = world;
  const missing = new Set<string>();
  const heardAtMs = new Map<string, number>();
  const following: ((stop: AbortSignal) => Promise<void>)[] = [];
  let announceSynced: () => void = () => undefined;
  const synced = new Promise<void>((resolve) => (announceSynced = resolve));
  const failed = (error: PodsealError): void => {
    metrics.add('podseal_controller_failures_total', { code: error.code });
    log('warn', 'controller.failed', error.message, { code: error.code, hint: error.hint });
  };
  return {
    failed,
    missing: () => [...missing],
    silentMs: ({ what }) => clock.uptimeMs() - (heardAtMs.get(what) ?? 0),
    follows(listing, follower) {
      missing.add(listing.what);
      following.push((stop) =>
        follow(listing, follower, config.follow, {
          clock,
          random,
          stop,
          onInterruption(what, error) {
            const { code, hint } = error;
            metrics.add('podseal_watch_interruptions_total', { objects: what, code });
            log('warn', 'watch.interrupted', error.message, { objects: what, code, hint });
          },
          onHeard: (what) => void heardAtMs.set(what, clock.uptimeMs()),
          onList: (what) => metrics.add('podseal_lists_total', { objects: what }),
          onSynced() {
            missing.delete(listing.what);
            if (missing.size === 0) announceSynced();
          },
        }),
      );
    },
    async run(lead, stop) {
      metrics.set('podseal_leader', 0);
      const leading = async (while_: AbortSignal): Promise<void> => {
        metrics.set('podseal_leader', 1);
        log('info', 'leadership.gained', 'This replica works now');
        await lead(while_).finally(() => metrics.set('podseal_leader', 0));
        log('info', 'leadership.lost', 'This replica stands by');
      };
      const whenSynced = async (): Promise<void> => {
        await Promise.race([synced, aborted(stop)]);
        if (stop.aborted) return;
        if (!config.lease) return leading(stop);
        // The name alone may be another's too: a pod on a node that was given up, and the one in its place.
        const process = Math.floor(random.fraction() * 2 ** 48).toString(36);
        const settings = { ...config.lease, holder: `${config.lease.holder}_${process}` };
        const leaseWorld = { clock, random, onFailure: failed };
        return leadByLease(world.leases, settings, leaseWorld, { stop, lead: leading });
      };
      await Promise.all([...following.map((start) => start(stop)), whenSynced()]);
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
