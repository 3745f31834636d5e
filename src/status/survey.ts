import { PodsealError } from '../errors.ts';
import { type AgentReading } from './agent-report.ts';
import { cluesOf, noClues, type SeenEvent, type SeenRequest, telling } from './clues.ts';
import { type Cluster, type Scope, type Withheld } from './cluster.ts';
import { agentOfNow, type PodFacts, statusPort } from './pod-facts.ts';
import { isFine, type PodCase, podStatus, type PodStatus } from './pod-status.ts';
import { hasEnded, wantsAgent } from './wants-agent.ts';

/** Agents asked at once. */
export const readersAtOnce = 16;

export interface Survey {
  /** By namespace and name. */
  readonly statuses: readonly PodStatus[];
  /** What could not be looked at, for people. */
  readonly notes: readonly string[];
}

/**
 * Finds the pods that have an agent or should have one, asks each agent, and reads what others say about
 * those that are not well. `onProgress` is told in words how far it is. Throws PodsealErrors: those of the
 * API where the pods cannot be listed, USAGE for a pod that there is not.
 */
export async function survey(
  scope: Scope,
  cluster: Cluster,
  onProgress: (text: string) => void,
): Promise<Survey> {
  const [pods, optedIn] = await Promise.all([
    cluster.pods(scope, (count) => onProgress(`${count} pods listed`)),
    cluster.optedIn(scope.namespace),
  ]);
  refuseMissing(scope, pods);
  const notes: string[] = [];
  const seen = <T>(answer: T | Withheld, fallback: T, loss: string): T => {
    if (!isWithheld(answer)) return answer;
    notes.push(`${answer.withheld}; ${loss}`);
    return fallback;
  };
  const namespaces = seen(optedIn, new Set<string>(), 'pods without an agent may be missing');
  const isNamed = scope.names.length > 0;
  const chosen = pods
    .map((pod) => ({ pod, isWanted: wantsAgent(pod, namespaces) }))
    .filter(({ pod, isWanted }) => isNamed || isWanted || pod.agents.length > 0 || pod.isMarked)
    .sort((a, b) => compare(a.pod, b.pod));
  let asked = 0;
  const read = reader(cluster);
  const cases = await inParallel(chosen, readersAtOnce, async (each): Promise<PodCase> => {
    const reading = await read(each.pod);
    onProgress(`${++asked} of ${chosen.length} agents asked`);
    return { ...each, reading, clues: noClues };
  });
  const unwell = cases.filter((each) => each.reading.kind === 'unread' || !isFine(podStatus(each)));
  const clues = await gatherClues(scope, unwell, cluster);
  const events = seen(clues.events, [], 'what approver, signer and kubelet say is not shown');
  const requests = clues.requests.flatMap((each) =>
    seen(each, [], 'why a request was denied may be missing'),
  );
  const statuses = cases.map((each) =>
    podStatus({ ...each, clues: cluesOf(each.pod.uid, events, requests) }),
  );
  return { statuses, notes: [...new Set([...notes, ...unreadNotes(statuses)])] };
}

function isWithheld(answer: unknown): answer is Withheld {
  return typeof answer === 'object' && answer !== null && 'withheld' in answer;
}

function refuseMissing({ names, namespace }: Scope, pods: readonly PodFacts[]): void {
  const missing = names.find((name) => !pods.some((pod) => pod.name === name));
  if (missing === undefined) return;
  throw new PodsealError(
    'USAGE',
    `Cannot find pod ${JSON.stringify(missing)} in namespace ${JSON.stringify(namespace ?? '')}`,
    { hint: 'Another namespace is chosen with -n NAMESPACE; kubectl get pods shows the names.' },
  );
}

/** By bytes, as kubectl sorts. */
function compare(a: PodFacts, b: PodFacts): number {
  const [left, right] = [`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** So many agents without one answer, and the others are not waited for, five seconds each. */
const mostTimeouts = 48;

function reader(cluster: Cluster): (pod: PodFacts) => Promise<AgentReading> {
  let timeouts = 0;
  let hasAnswered = false;
  return async (pod) => {
    const agent = agentOfNow(pod);
    const isThere = agent?.kind === 'watch' && agent.state.kind === 'running';
    if (!isThere || hasEnded(pod)) return { kind: 'unasked' };
    const place = statusPort(agent);
    if ('why' in place) return { kind: 'unread', why: place.why };
    if (!hasAnswered && timeouts >= mostTimeouts) return { kind: 'unread', why: walledOff };
    const reading = await cluster.ask(pod, place.port);
    if (reading.kind === 'unread' && reading.isTimeout) timeouts++;
    else hasAnswered = true;
    return reading;
  };
}

const walledOff = `not asked, because none of ${mostTimeouts} others answered; does a NetworkPolicy keep the API server away?`;

interface AllClues {
  readonly events: readonly SeenEvent[] | Withheld;
  /** For each signer name. */
  readonly requests: readonly (readonly SeenRequest[] | Withheld)[];
}

/** A few lists for all of them, however many they are. */
async function gatherClues(
  { namespace }: Scope,
  unwell: readonly PodCase[],
  cluster: Cluster,
): Promise<AllClues> {
  const withAgent = unwell.filter(({ pod }) => pod.agents.length > 0);
  if (withAgent.length === 0) return { events: [], requests: [] };
  const uidsBySigner = new Map<string, Set<string>>();
  for (const { pod } of withAgent) {
    // As its object says: an agent could make us ask for a thousand others.
    const signerName = agentOfNow(pod)?.signerName ?? '';
    uidsBySigner.set(signerName, (uidsBySigner.get(signerName) ?? new Set()).add(pod.uid));
  }
  const [events, requests] = await Promise.all([
    cluster.events(namespace, [...telling.said, ...telling.unmounted]),
    inParallel([...uidsBySigner], signersAtOnce, ([signerName, uids]) =>
      cluster.requests(signerName, uids),
    ),
  ]);
  return { events, requests };
}

/** Usually there is one. */
const signersAtOnce = 4;

/** Pods that are fine have no block that could say it. */
function unreadNotes(statuses: readonly PodStatus[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const status of statuses)
    if (isFine(status) && status.reading.kind === 'unread')
      counts.set(status.reading.why, (counts.get(status.reading.why) ?? 0) + 1);
  return [...counts].map(
    ([why, count]) =>
      `${count === 1 ? 'one agent' : `${count} agents`} could not be read, so that the kubelet's word stands: ${why}`,
  );
}

async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const rest = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of rest) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
