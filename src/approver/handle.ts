import { formatDenial, inAscii } from '../certificates/denial.ts';
import { type Decisions } from '../certificates/decisions.ts';
import { type ObservedRequest } from '../certificates/observed-request.ts';
import { type Outcome } from '../controller/run-workers.ts';
import { PodsealError } from '../errors.ts';
import { shownNames } from '../identity/subject-names.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type Clock } from '../runtime/clock.ts';
import { type ControllerMetrics } from '../telemetry/controller-metrics.ts';
import { type Log, type LogFields } from '../telemetry/log.ts';
import { type PodReference } from '../telemetry/pod-events.ts';
import { type Facts } from './facts.ts';
import { type FactSources, gatherFacts } from './gather.ts';
import { type RuleId } from './rules.ts';
import { denialOf, reasonToIgnore, type Verdict, verdictOn, type Violation } from './verdict.ts';
import { type RecordEvent } from './world.ts';

export interface HandleWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: ControllerMetrics;
  readonly sources: FactSources;
  readonly decisions: Decisions;
  readonly recordEvent: RecordEvent;
}

/** What follows from Services, which the watch may tell late. */
const rulesAboutServices: ReadonlySet<RuleId> = new Set(['dns-names', 'addresses']);

/**
 * Decides about one request: gathers, judges, writes the condition. `waitedMs` since it was first seen.
 * Throws PodsealErrors of the API; then nothing was decided, and it is handled again.
 */
export async function handleRequest(
  request: ObservedRequest,
  waitedMs: number,
  world: HandleWorld,
): Promise<Outcome> {
  const { sources } = world;
  if (reasonToIgnore({ request, settings: sources.settings }) !== undefined)
    return { kind: 'done' };
  const isFresh = sources.areServicesFresh();
  let facts = await gatherFacts(request, sources, isFresh ? 'watched' : 'live');
  let verdict = verdictOn(facts, waitedMs);
  if (isFresh && isAboutServices(verdict)) {
    // Before anything is denied or put off for a missing Service, the API itself is asked.
    facts = await gatherFacts(request, sources, 'live');
    verdict = verdictOn(facts, waitedMs);
  }
  return act(verdict, facts, waitedMs, world);
}

/** What was said of each request that waits. */
const lastReasons = new WeakMap<ObservedRequest, string>();

function isAboutServices(verdict: Verdict): boolean {
  if (verdict.kind !== 'deny' && verdict.kind !== 'wait') return false;
  return verdict.violations.some(({ rule }) => rulesAboutServices.has(rule));
}

async function act(
  verdict: Verdict,
  facts: Facts,
  waitedMs: number,
  world: HandleWorld,
): Promise<Outcome> {
  const { request } = facts;
  switch (verdict.kind) {
    case 'ignore':
      return { kind: 'done' };
    case 'approve': {
      const ended = await obstacle(world.decisions.approve(request, approvalMessage(facts)));
      if (ended) return ended;
      count(verdict, facts, world);
      world.log('info', 'request.approved', `Approved ${request.name}`, fieldsOf(facts));
      return { kind: 'done' };
    }
    case 'deny': {
      const message = formatDenial(denialOf(verdict.violations));
      const ended = await obstacle(world.decisions.deny(request, message));
      if (ended) return ended;
      count(verdict, facts, world);
      tellPod(facts, 'CertificateDenied', verdict.violations, world);
      world.log('warn', 'request.denied', `Denied ${request.name}`, {
        ...fieldsOf(facts),
        reasons: message.split('\n'),
      });
      return { kind: 'done' };
    }
    case 'wait': {
      count(verdict, facts, world);
      tellPod(facts, 'CertificateWaiting', verdict.violations, world);
      const reasons = formatDenial(denialOf(verdict.violations));
      // Looked at every few seconds, and whenever a Service of the namespace changes.
      if (lastReasons.get(request) !== reasons)
        world.log('info', 'request.undecided', `Waiting before deciding about ${request.name}`, {
          ...fieldsOf(facts),
          reasons: reasons.split('\n'),
        });
      lastReasons.set(request, reasons);
      return { kind: 'again', afterMs: waitGapMs(waitedMs) };
    }
  }
}

/** The watch tells what was written in between, and then it is handled at once; this is for a watch that is late. */
const conflictGapMs = 1_000;

/** What became of a write; undefined: it was written. What is gone needs no decision. */
async function obstacle(write: Promise<void>): Promise<Outcome | undefined> {
  try {
    await write;
    return undefined;
  } catch (error) {
    if (!(error instanceof PodsealError)) throw error;
    if (error.code === 'API_NOT_FOUND') return { kind: 'done' };
    // Somebody wrote in between, so what we read no longer holds.
    if (error.code === 'API_CONFLICT') return { kind: 'again', afterMs: conflictGapMs };
    throw error;
  }
}

/** A changed Service is noticed at once; this gap is for what is not watched: the pod itself. */
function waitGapMs(waitedMs: number): number {
  return Math.min(15_000, Math.max(500, waitedMs / 4));
}

function approvalMessage({ requester }: Facts): string {
  const pod = requester.kind === 'pod' ? `${requester.pod.namespace}/${requester.pod.name}` : '';
  return `every name follows from pod ${pod} and the Services that select it`;
}

function podOf({ requester }: Facts): PodReference | undefined {
  return requester.kind === 'pod' ? requester.pod : undefined;
}

function count(
  verdict: Exclude<Verdict, { kind: 'ignore' }>,
  facts: Facts,
  world: HandleWorld,
): void {
  const { metrics, clock } = world;
  if (verdict.kind === 'wait') {
    metrics.add('podseal_approver_waits_total', {});
    return;
  }
  metrics.add('podseal_approver_verdicts_total', { verdict: verdict.kind });
  const seconds = (clock.now().getTime() - facts.request.createdAt.getTime()) / 1000;
  metrics.observe('podseal_approver_verdict_seconds', Math.max(0, seconds));
  if (verdict.kind === 'deny')
    for (const rule of new Set(verdict.violations.map((each) => each.rule)))
      metrics.add('podseal_approver_violations_total', { rule });
}

/** Only about a pod that exists: anybody could else have Events written about anything. */
function tellPod(
  facts: Facts,
  reason: 'CertificateDenied' | 'CertificateWaiting',
  violations: readonly Violation[],
  world: HandleWorld,
): void {
  const pod = podOf(facts);
  if (!pod || facts.pod?.uid !== pod.uid) return;
  const message = formatDenial(denialOf(violations));
  const head = reason === 'CertificateDenied' ? 'Denied' : 'Waiting';
  world.recordEvent(pod, {
    type: 'Warning',
    reason,
    // Events hold 1024 bytes.
    message: `${head} ${inAscii(facts.request.name)}:\n${message}`.slice(0, 1000),
  });
}

/** Who asked for what, for the log. */
function fieldsOf({ request, requester, content }: Facts): LogFields {
  return {
    request: request.name,
    signerName: request.signerName,
    requester: request.requester.username,
    pod: requester.kind === 'pod' ? `${requester.pod.namespace}/${requester.pod.name}` : undefined,
    podUid: requester.kind === 'pod' ? requester.pod.uid : undefined,
    names: content.kind === 'read' ? shownNames(content.value.names) : undefined,
    keyFingerprint: content.kind === 'read' ? sha256Hex(content.value.publicKeyDer) : undefined,
  };
}
