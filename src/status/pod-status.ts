import { type AgentReading, type AgentReport } from './agent-report.ts';
import { type Clues } from './clues.ts';
import { type Agent, agentOfNow, hasFailed, type PodFacts } from './pod-facts.ts';
import { hasEnded } from './wants-agent.ts';

/** Every state of a pod, and whether a person may leave it as it is. docs/operations.md says what each means. */
export const states = {
  ready: { isFine: true },
  issued: { isFine: true },
  degraded: { isFine: false },
  waiting: { isFine: false },
  denied: { isFine: false },
  failed: { isFine: false },
  expired: { isFine: false },
  starting: { isFine: false },
  crashed: { isFine: false },
  unknown: { isFine: false },
  'not injected': { isFine: false },
  'no agent': { isFine: false },
  ending: { isFine: true },
  finished: { isFine: true },
} as const satisfies Record<string, { isFine: boolean }>;

export type State = keyof typeof states;

/** All that was found out about one pod. */
export interface PodCase {
  readonly pod: PodFacts;
  /** Somebody opted in. */
  readonly isWanted: boolean;
  readonly reading: AgentReading;
  readonly clues: Clues;
}

export interface PodStatus extends PodCase {
  readonly state: State;
}

export function podStatus(each: PodCase): PodStatus {
  return { ...each, state: stateOf(each) };
}

export function isFine({ state }: PodStatus): boolean {
  return states[state].isFine;
}

/** What the agent told; undefined: it could not be asked. */
export function reportOf({ reading }: PodCase): AgentReport | undefined {
  return reading.kind === 'read' ? reading.report : undefined;
}

function stateOf({ pod, isWanted, reading, clues }: PodCase): State {
  if (hasEnded(pod)) return pod.agents.some(endedBadly) ? 'crashed' : 'finished';
  if (pod.isTerminating) return 'ending';
  const agent = agentOfNow(pod);
  if (!agent) return isWanted ? 'not injected' : 'no agent';
  if (reading.kind === 'read') return stateByReport(reading.report);
  return stateByContainer(agent, clues);
}

function endedBadly({ state }: Agent): boolean {
  return state.kind === 'ended' && hasFailed(state);
}

function stateByReport(report: AgentReport): State {
  const { certificate, expired, lastError } = report;
  if (expired) return 'expired';
  if (certificate) return complaintsOf(report).length === 0 ? 'ready' : 'degraded';
  if (!lastError || isAskingAnew(report)) return 'waiting';
  return lastError.code === 'SIGNING_REQUEST_DENIED' ? 'denied' : 'failed';
}

/** Errors that only say that it is not so yet. */
const notYet: ReadonlySet<string> = new Set(['NAMES_UNKNOWN', 'SIGNING_REQUEST_PENDING']);

function isAskingAnew({ lastError, pending }: AgentReport): boolean {
  if (!lastError || notYet.has(lastError.code)) return true;
  return pending !== undefined && pending.since > lastError.at;
}

/**
 * What is wrong by the agent's own words, one text each. Each begins with words of ours: what an agent says
 * must not be taken for what we say.
 */
export function complaintsOf(report: AgentReport): readonly string[] {
  const { ready, reasons, certificate, lastError, hooks, application } = report;
  return [
    ...reasons.map((reason) => `it says: ${reason}`),
    ...(ready || reasons.length > 0 ? [] : ['it says that it is not ready']),
    ...(certificate && lastError ? [`renewal fails: ${lastError.message}`] : []),
    ...hooks
      .filter(({ outcome }) => outcome === 'failed')
      .map(({ hook, why }) => `the hook ${hook} failed: ${why}`),
    ...(applicationComplaints.get(application) ?? []),
  ];
}

/** Maps, not objects: what is looked up may be any word of somebody else. */
const applicationComplaints: ReadonlyMap<string, readonly string[]> = new Map([
  ['other', ['the application serves another certificate than the one on the volume']],
  ['unreachable', ['the application cannot be reached where PODSEAL_PROBE says']],
]);

/** From what the kubelet says about its container, where the agent itself cannot be asked. */
function stateByContainer({ state, lastEnd, ...agent }: Agent, clues: Clues): State {
  const decided = decidedState(clues);
  switch (state.kind) {
    case 'running':
      return stateOfRunning(agent, decided);
    case 'ended':
      if (hasFailed(state)) return decided ?? 'crashed';
      return agent.kind === 'init' && state.exitCode === 0 ? 'issued' : 'starting';
    case 'waiting':
    case 'unseen':
      return lastEnd && hasFailed(lastEnd) ? (decided ?? 'crashed') : 'starting';
  }
}

function stateOfRunning(
  { kind, isProbed, isReady }: Pick<Agent, 'kind' | 'isProbed' | 'isReady'>,
  decided: State | undefined,
): State {
  if (kind === 'init') return decided ?? 'waiting';
  // It may have a certificate that is fine, whatever became of a newer request.
  if (!isProbed) return 'unknown';
  if (!isReady) return decided ?? 'waiting';
  return decided === 'denied' || decided === 'failed' ? 'degraded' : 'ready';
}

const stateByEvent: ReadonlyMap<string, State> = new Map([
  ['CertificateWaiting', 'waiting'],
  ['CertificateDenied', 'denied'],
  ['CertificateFailed', 'failed'],
]);

/** Where the newest request stands, if that is what stands in the way. */
function decidedState({ request, said }: Clues): State | undefined {
  if (!request) return said && stateByEvent.get(said.reason);
  switch (request.standing) {
    case 'pending':
    case 'approved':
      return 'waiting';
    case 'denied':
    case 'failed':
      return request.standing;
    case 'issued':
      return undefined;
  }
}
