import { asPodsealError } from '../errors.ts';
import { type ListedPod } from '../injection/listed-pod.ts';
import { type PublishedConfigMap } from '../injection/published-config-map.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type PodEvents } from '../telemetry/pod-events.ts';
import { isOurs } from './publication-step.ts';
import { publishedNames, type PublicationView } from './publication-view.ts';
import {
  type PublicationsConfig,
  type PublicationsReplica,
  type PublicationsWorld,
} from './publications-world.ts';
import {
  askedAndMissed,
  injected,
  isConcerned,
  missedInNamespace,
  notInjectedMessage,
  slippedThrough,
} from './slipped-through.ts';

export interface RoundsContext {
  readonly config: Pick<PublicationsConfig, 'namespace' | 'sweepMs' | 'spareMs'>;
  readonly world: PublicationsWorld;
  readonly replica: Pick<PublicationsReplica, 'failed'>;
  readonly view: PublicationView;
  readonly events: PodEvents;
  /** Has the namespace looked at by a worker. */
  look(namespace: string): void;
}

const backoff = { firstMs: 2_000, maximumMs: 60_000 };
/** A pod is being created, perhaps, whose admission another replica has answered. */
const usualSpareMs = 60_000;
/** So many namespaces are listed one by one; more, in one list of all pods without the agent. */
const maximumLists = 50;
/** Events of a round: the metric counts all, and the log names as many as fit. */
const maximumEvents = 200;
const maximumNames = 20;
/** The API server forgets an Event after an hour. */
const tellAgainMs = 3_000_000;

/** Pods that wait for the agent, and the namespaces whose pods need what is published. */
interface Seen {
  readonly missed: readonly ListedPod[];
  readonly needing: ReadonlySet<string>;
}

/**
 * Looks through the pods every `sweepMs` until `stop`: reports those that slipped through, publishes to the
 * namespaces whose pods need it, and takes back what no pod needs any more, a round later at the earliest.
 */
export async function runRounds(context: RoundsContext, stop: AbortSignal): Promise<void> {
  const { config, world, replica } = context;
  const { clock, random } = world;
  const report = reporter(context);
  const idle = new Map<string, number>();
  for (let failures = 0; !stop.aborted;) {
    let pauseMs = config.sweepMs * (0.75 + random.fraction() / 2);
    try {
      const seen = await lookThrough(context);
      report(seen.missed);
      claimNeeded(context, seen.needing);
      for (const namespace of unneeded(context, seen.needing, idle))
        await withdraw(context, namespace);
      failures = 0;
    } catch (thrown) {
      const error = asPodsealError(thrown);
      replica.failed(error);
      const waitMs = backoffMs(++failures, backoff, random.fraction());
      pauseMs = Math.min(pauseMs, Math.max(waitMs, error.retryAfterMs ?? 0));
    }
    await clock.pause(pauseMs, stop);
  }
  world.metrics.set('podseal_injector_pods_not_injected', 0);
}

async function lookThrough({ config, world, view }: RoundsContext): Promise<Seen> {
  const { pods, clock } = world;
  const ownNamespace = config.namespace;
  const moment = { now: clock.now(), ownNamespace };
  const needing = new Set(await pods.namespaces({ labelSelector: injected }));
  const asked = await pods.pods({ labelSelector: askedAndMissed }, (pod) => {
    if (isConcerned(pod, ownNamespace)) needing.add(pod.namespace);
    return slippedThrough(pod, moment);
  });
  const missed = new Map(asked.map((pod) => [pod.uid, pod]));
  const injecting = new Set(view.injecting());
  const everywhere = { labelSelector: missedInNamespace };
  const queries =
    injecting.size > maximumLists
      ? [everywhere]
      : [...injecting].map((namespace) => ({ ...everywhere, namespace }));
  const isMissed = (pod: ListedPod): boolean =>
    injecting.has(pod.namespace) && slippedThrough(pod, moment);
  for (const query of queries)
    for (const pod of await pods.pods(query, isMissed)) missed.set(pod.uid, pod);
  return { missed: [...missed.values()], needing };
}

/** Says once an hour of each pod that it was not injected, and in one line when there are new ones. */
function reporter({ world, events }: RoundsContext): (missed: readonly ListedPod[]) => void {
  const { clock, log, metrics } = world;
  let toldAtMs: ReadonlyMap<string, number> = new Map();
  return (missed) => {
    metrics.set('podseal_injector_pods_not_injected', missed.length);
    const now = clock.uptimeMs();
    const isDue = ({ uid }: ListedPod): boolean =>
      now - (toldAtMs.get(uid) ?? -Infinity) >= tellAgainMs;
    const due = missed.filter(isDue).slice(0, maximumEvents);
    const told = missed.flatMap(({ uid }) => {
      const atMs = toldAtMs.get(uid);
      return atMs === undefined ? [] : [[uid, atMs] as const];
    });
    toldAtMs = new Map([...told, ...due.map(({ uid }) => [uid, now] as const)]);
    if (due.length === 0) return;
    for (const pod of due)
      events.record(pod, { type: 'Warning', reason: 'NotInjected', message: notInjectedMessage });
    log('warn', 'pods.missed', `${missed.length} pods that should have the agent do not`, {
      pods: due.slice(0, maximumNames).map(({ namespace, name }) => `${namespace}/${name}`),
      hint: 'Create them anew: kubectl rollout restart. Was the webhook away, or the namespace labelled later?',
    });
  };
}

function claimNeeded(context: RoundsContext, needing: ReadonlySet<string>): void {
  for (const namespace of needing) {
    context.view.claim(namespace);
    context.look(namespace);
  }
}

/** What was of no use a round ago already. `idle` says since when each is. */
function unneeded(
  { config, world, view }: RoundsContext,
  needing: ReadonlySet<string>,
  idle: Map<string, number>,
): readonly string[] {
  const { spareMs = usualSpareMs } = config;
  const now = world.clock.uptimeMs();
  const idleNow = view
    .claimed()
    .filter((namespace) => !view.isLabelled(namespace) && !needing.has(namespace));
  for (const namespace of idle.keys()) if (!idleNow.includes(namespace)) idle.delete(namespace);
  for (const namespace of idleNow) idle.set(namespace, idle.get(namespace) ?? now);
  return idleNow.filter((namespace) => now - (idle.get(namespace) ?? now) >= spareMs);
}

async function remove(standing: PublishedConfigMap, world: PublicationsWorld): Promise<void> {
  const { namespace, name } = standing;
  try {
    await world.configMaps.remove(standing);
  } catch (thrown) {
    if (asPodsealError(thrown).code === 'API_NOT_FOUND') return;
    throw thrown;
  }
  const labels = { config_map: name, write: 'remove' };
  world.metrics.add('podseal_injector_publications_total', labels);
  const what = JSON.stringify(`${namespace}/${name}`);
  world.log('info', 'publication.removed', `No pod needs ConfigMap ${what}`);
}

async function withdraw(context: RoundsContext, namespace: string): Promise<void> {
  const { world, view } = context;
  // First, or it would be restored.
  view.release(namespace);
  try {
    for (const name of publishedNames) {
      const standing = view.standing({ namespace, name });
      if (standing && isOurs(standing, view.webhook()?.uid)) await remove(standing, world);
    }
  } catch (thrown) {
    // The next round tries again.
    view.claim(namespace);
    throw thrown;
  }
  // Another replica may have admitted a pod meanwhile, content with what stood there.
  const came = await world.pods.namespaces({ labelSelector: injected, namespace });
  if (came.size === 0) return;
  claimNeeded(context, came);
}
