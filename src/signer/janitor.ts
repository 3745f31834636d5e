import { type Issuance } from '../certificates/decisions.ts';
import { type ObservedRequest } from '../certificates/observed-request.ts';
import { type Follower } from '../controller/list-watch.ts';
import { asPodsealError, type PodsealError } from '../errors.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { type Clock, later } from '../runtime/clock.ts';
import { type ControllerMetrics } from '../telemetry/controller-metrics.ts';
import { type Log } from '../telemetry/log.ts';
import {
  doubtAfterMs,
  excessOf,
  finishedReason,
  isUnfinished,
  type KeptRequest,
  keptRequest,
  type RemovalReason,
} from './removals.ts';

export interface JanitorWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: ControllerMetrics;
  readonly issuance: Issuance;
  readonly maximumOpenRequests: number;
  readPod(pod: { readonly namespace: string; readonly name: string }): Promise<LivePod | undefined>;
  onFailure(error: PodsealError): void;
}

/** Removes requests of our signer names that nobody needs any more. Others' requests never come here. */
export interface Janitor {
  follower(
    belongs: (request: { readonly signerName: string }) => boolean,
  ): Follower<ObservedRequest>;
  /** As the one who removes; until `stop`. */
  run(stop: AbortSignal): Promise<void>;
}

const tickMs = 1_000;
/** Calls at once: removing must not stand in the way of issuing. */
const atOnce = 4;

interface Removal {
  readonly request: KeptRequest;
  readonly why: RemovalReason;
}

export function janitor(world: JanitorWorld): Janitor {
  const { clock } = world;
  const kept = new Map<string, KeptRequest & { readonly signerName: string }>();
  const byPod = new Map<string, Set<string>>();
  /** Pods with a request that came or was denied since the last tick. */
  const changedPods = new Set<string>();
  const lookedAt = new Map<string, Date>();

  const forget = (uid: string): void => {
    const podUid = kept.get(uid)?.pod?.uid;
    kept.delete(uid);
    lookedAt.delete(uid);
    if (podUid === undefined) return;
    byPod.get(podUid)?.delete(uid);
    if (byPod.get(podUid)?.size === 0) byPod.delete(podUid);
  };
  const put = (request: ObservedRequest): void => {
    const next = keptRequest(request, kept.get(request.uid), clock.now());
    kept.set(request.uid, { ...next, signerName: request.signerName });
    if (!next.pod) return;
    const siblings = byPod.get(next.pod.uid) ?? new Set<string>();
    siblings.add(request.uid);
    byPod.set(next.pod.uid, siblings);
    changedPods.add(next.pod.uid);
  };
  const due = (now: Date): Removal[] => {
    const finished = [...kept.values()].flatMap((request) => {
      const why = finishedReason(request, now);
      return why ? [{ request, why }] : [];
    });
    const excess = [...changedPods].flatMap((podUid) => {
      const siblings = [...(byPod.get(podUid) ?? [])].flatMap((uid) => kept.get(uid) ?? []);
      const excess = excessOf(siblings, world.maximumOpenRequests);
      // Looked at again until nothing is too many: a removal may fail.
      if (excess.length === 0) changedPods.delete(podUid);
      return excess;
    });
    return [...finished, ...excess.map((request) => ({ request, why: 'excess' as const }))];
  };
  /** Before a request is called abandoned, the pod itself is read. */
  const abandoned = async (now: Date): Promise<Removal[]> => {
    const removals: Removal[] = [];
    for (const request of kept.values()) {
      if (!request.pod || !isUnfinished(request)) continue;
      if (now < later(lookedAt.get(request.uid) ?? request.since, doubtAfterMs)) continue;
      lookedAt.set(request.uid, now);
      const pod = await world.readPod(request.pod);
      if (pod?.uid !== request.pod.uid) removals.push({ request, why: 'abandoned' });
    }
    return removals;
  };
  const remove = async ({ request, why }: Removal): Promise<void> => {
    try {
      await world.issuance.remove(request);
    } catch (thrown) {
      const error = asPodsealError(thrown);
      // Gone, or created anew under the same name: not ours to remove.
      if (error.code !== 'API_NOT_FOUND' && error.code !== 'API_CONFLICT') throw error;
    }
    forget(request.uid);
    world.metrics.add('podseal_signer_removed_total', { why });
    world.log('info', 'request.removed', `Removed signing request ${request.name}`, {
      request: request.name,
      pod: request.pod ? `${request.pod.namespace}/${request.pod.name}` : undefined,
      why,
    });
  };
  const tick = async (): Promise<void> => {
    const now = clock.now();
    const removals = [...due(now), ...(await abandoned(now))];
    for (let i = 0; i < removals.length; i += atOnce)
      await Promise.all(removals.slice(i, i + atOnce).map(remove));
  };
  return {
    follower: (belongs) => ({
      put,
      remove: ({ uid }) => forget(uid),
      replace(all) {
        const present = new Set(all.map(({ uid }) => uid));
        for (const [uid, request] of [...kept])
          if (belongs(request) && !present.has(uid)) forget(uid);
        for (const request of all) put(request);
      },
    }),
    async run(stop) {
      while (!stop.aborted) {
        await tick().catch((thrown: unknown) => world.onFailure(asPodsealError(thrown)));
        await clock.sleepUntil(later(clock.now(), tickMs), stop);
      }
    },
  };
}
