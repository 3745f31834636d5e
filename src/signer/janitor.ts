import { type Issuance } from '../certificates/decisions.ts';
import { type ObservedRequest } from '../certificates/observed-request.ts';
import { type Follower } from '../controller/list-watch.ts';
import { asPodsealError, type PodsealError } from '../errors.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Clock } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';
import { type ControllerMetrics } from '../telemetry/controller-metrics.ts';
import { type Log } from '../telemetry/log.ts';
import {
  doubtAfterMs,
  excessOf,
  finishedReason,
  hasManyIssued,
  isUnfinished,
  type KeptRequest,
  keptRequest,
  type RemovalReason,
} from './removals.ts';

export interface JanitorWorld {
  readonly clock: Clock;
  readonly random: Random;
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
/** Pods that are read in one tick, for the same reason. */
const looksPerTick = 20;
/** What could not be done waits for so long, so that it does not hold up the rest. */
const putOffMs = 30_000;
const backoff = { firstMs: tickMs, maximumMs: 15_000 };

interface Removal {
  readonly request: KeptRequest;
  readonly why: RemovalReason;
}

/** Something to be done about one request. */
interface Job {
  readonly uid: string;
  readonly run: () => Promise<void>;
}

export function janitor(world: JanitorWorld): Janitor {
  const { clock } = world;
  const kept = new Map<string, KeptRequest & { readonly signerName: string }>();
  const byPod = new Map<string, Set<string>>();
  /** Pods with a request that came or was denied since nothing was too many. */
  const changedPods = new Set<string>();
  /** By uptime. */
  const lookedAtMs = new Map<string, number>();
  /** Until when, by uptime. */
  const putOffUntilMs = new Map<string, number>();

  const forget = (uid: string): void => {
    const podUid = kept.get(uid)?.pod?.uid;
    for (const each of [kept, lookedAtMs, putOffUntilMs]) each.delete(uid);
    if (podUid === undefined) return;
    byPod.get(podUid)?.delete(uid);
    if (byPod.get(podUid)?.size === 0) byPod.delete(podUid);
  };
  const put = (request: ObservedRequest): void => {
    const next = keptRequest(request, kept.get(request.uid), clock.uptimeMs());
    kept.set(request.uid, { ...next, signerName: request.signerName });
    if (!next.pod) return;
    const siblings = byPod.get(next.pod.uid) ?? new Set<string>();
    siblings.add(request.uid);
    byPod.set(next.pod.uid, siblings);
    changedPods.add(next.pod.uid);
  };
  const isFree = ({ uid }: KeptRequest): boolean =>
    clock.uptimeMs() >= (putOffUntilMs.get(uid) ?? 0);
  const due = (): readonly Removal[] => {
    const removals = new Map<string, Removal>();
    for (const podUid of changedPods) {
      const siblings = [...(byPod.get(podUid) ?? [])].flatMap((uid) => kept.get(uid) ?? []);
      const maximum = world.maximumOpenRequests;
      const excess = excessOf(siblings, maximum, clock.uptimeMs());
      // Looked at again until nothing is too many: a removal may fail.
      if (excess.length === 0 && !hasManyIssued(siblings, maximum)) changedPods.delete(podUid);
      for (const request of excess) removals.set(request.uid, { request, why: 'excess' });
    }
    for (const request of kept.values()) {
      const why = finishedReason(request, clock.uptimeMs());
      if (why) removals.set(request.uid, { request, why });
    }
    return [...removals.values()].filter(({ request }) => isFree(request));
  };
  const doubted = (): readonly KeptRequest[] =>
    [...kept.values()]
      .filter((request) => request.pod && isUnfinished(request) && isFree(request))
      .filter(
        ({ uid, sinceMs }) => clock.uptimeMs() >= (lookedAtMs.get(uid) ?? sinceMs) + doubtAfterMs,
      )
      .slice(0, looksPerTick);
  const remove = async ({ request, why }: Removal): Promise<void> => {
    const isRemoved = await removed(request);
    forget(request.uid);
    if (!isRemoved) return;
    world.metrics.add('podseal_signer_removed_total', { why });
    world.log('info', 'request.removed', `Removed signing request ${request.name}`, {
      request: request.name,
      pod: request.pod ? `${request.pod.namespace}/${request.pod.name}` : undefined,
      why,
    });
  };
  /** False: it is gone, or was created anew under the same name, which is not ours to remove. */
  const removed = async (request: KeptRequest): Promise<boolean> => {
    try {
      await world.issuance.remove(request);
      return true;
    } catch (thrown) {
      const error = asPodsealError(thrown);
      if (error.code === 'API_NOT_FOUND' || error.code === 'API_CONFLICT') return false;
      throw error;
    }
  };
  /** Before a request is called abandoned, the pod itself is read. */
  const look = async (request: KeptRequest): Promise<void> => {
    if (!request.pod) return;
    const pod = await world.readPod(request.pod);
    if (pod?.uid === request.pod.uid) lookedAtMs.set(request.uid, clock.uptimeMs());
    else await remove({ request, why: 'abandoned' });
  };
  const jobs = (): readonly Job[] => [
    ...due().map((each) => ({ uid: each.request.uid, run: () => remove(each) })),
    ...doubted().map((each) => ({ uid: each.uid, run: () => look(each) })),
  ];
  /** The first failure, if there was any. */
  const tick = async (stop: AbortSignal): Promise<PodsealError | undefined> => {
    const all = jobs();
    let first: PodsealError | undefined;
    for (let i = 0; i < all.length && !stop.aborted; i += atOnce) {
      const some = all.slice(i, i + atOnce);
      const errors = await Promise.all(some.map(attempt));
      first ??= errors.find((error) => error !== undefined);
      // Nothing succeeds: the rest need not be tried.
      if (!errors.includes(undefined)) break;
    }
    return first;
  };
  const attempt = async ({ uid, run }: Job): Promise<PodsealError | undefined> => {
    try {
      await run();
      return undefined;
    } catch (thrown) {
      putOffUntilMs.set(uid, clock.uptimeMs() + putOffMs);
      return asPodsealError(thrown);
    }
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
      for (let failures = 0; !stop.aborted;) {
        const error = await tick(stop);
        failures = error ? failures + 1 : 0;
        if (error) world.onFailure(error);
        const pauseMs = error ? backoffMs(failures, backoff, world.random.fraction()) : tickMs;
        await clock.pause(Math.max(pauseMs, error?.retryAfterMs ?? 0), stop);
      }
    },
  };
}
