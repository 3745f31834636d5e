import { formatDuration } from '../runtime/duration.ts';
import { type ReportedError } from './agent-report.ts';
import { type Clues, type SeenEvent } from './clues.ts';
import { agentOfNow, type ContainerEnd, type PodFacts } from './pod-facts.ts';
import { complaintsOf, isFine, type PodStatus, reportOf } from './pod-status.ts';

/** Why a pod is not fine, in lines for people; none when it is. Texts of others stand in it as they came: whoever prints it escapes. */
export function whyOf(status: PodStatus, now: Date): readonly string[] {
  if (isFine(status)) return [];
  const { pod, reading, clues } = status;
  return [
    ...(pod.agents.length === 0 ? withoutAgent(status) : []),
    ...(reading.kind === 'unread' ? [`its status cannot be read: ${reading.why}`] : []),
    ...byReport(status, now),
    ...(reading.kind === 'read' ? [] : byContainer(pod, now)),
    ...byOthers(clues, hasStarted(pod), now),
  ];
}

function withoutAgent({ pod, state }: PodStatus): readonly string[] {
  if (pod.isMarked)
    return ['it is labelled podseal.dev/agent: injected, and has no container podseal'];
  if (state === 'not injected')
    return [
      pod.inject === 'true'
        ? 'its label podseal.dev/inject: "true" asks for an agent, and it has none'
        : `its namespace is labelled podseal.dev/inject: enabled, and it has no agent`,
    ];
  return [
    pod.inject === 'false'
      ? 'its label podseal.dev/inject: "false" keeps the agent away'
      : 'neither its namespace (podseal.dev/inject: enabled) nor the pod (podseal.dev/inject: "true") asks for an agent',
  ];
}

function byReport(status: PodStatus, now: Date): readonly string[] {
  const report = reportOf(status);
  if (!report) return [];
  const { certificate, lastError, pending } = report;
  const told = [
    ...complaintsOf(report),
    ...(!certificate && lastError ? [`it says: ${lastError.message}`] : []),
  ];
  return [
    // The request itself says it better.
    ...told.filter((text) => !isToldByRequest(status) || !text.endsWith(lastError?.message ?? '')),
    ...(lastError ? whatFollows(lastError, now) : []),
    ...(pending && !status.clues.request
      ? [`it waits for request ${pending.request} since ${age(pending.since, now)}`]
      : []),
  ].flatMap(paragraph);
}

function isToldByRequest(status: PodStatus): boolean {
  return (
    reportOf(status)?.lastError?.code === 'SIGNING_REQUEST_DENIED' &&
    status.clues.request?.standing === 'denied'
  );
}

function whatFollows({ hint, again }: ReportedError, now: Date): readonly string[] {
  return [
    ...(hint === '' ? [] : [`its hint: ${hint}`]),
    ...(again > now ? [`it is tried again in ${age(now, again)}`] : []),
  ];
}

function byContainer(pod: PodFacts, now: Date): readonly string[] {
  const agent = agentOfNow(pod);
  if (!agent) return [];
  const { container, state, lastEnd } = agent;
  const end = (text: ContainerEnd): readonly string[] =>
    paragraph(
      `container ${container} ended with exit code ${text.exitCode} (${text.reason}) ${age(text.at, now)} ago:\n${text.message}`,
    );
  return [
    ...(pod.unscheduled === undefined ? [] : [`no node takes it: ${pod.unscheduled}`]),
    ...(state.kind === 'waiting'
      ? paragraph(`container ${container} waits: ${[state.reason, state.message].join('\n')}`)
      : []),
    ...(state.kind === 'ended' ? end(state) : lastEnd ? end(lastEnd) : []),
  ];
}

function hasStarted(pod: PodFacts): boolean {
  return agentOfNow(pod)?.state.kind === 'running';
}

/** What approver, signer and kubelet say. */
function byOthers(
  { request, said, unmounted }: Clues,
  isStarted: boolean,
  now: Date,
): readonly string[] {
  const event = ({ reason, message, lastAt }: SeenEvent): readonly string[] =>
    paragraph(`Event ${reason}, ${age(lastAt, now)} ago:\n${message}`);
  const isDecided = request?.standing === 'denied' || request?.standing === 'failed';
  return [
    ...(isDecided
      ? paragraph(
          `request ${request.name} ${decided[request.standing]} (${request.reason}):\n${request.message}`,
        )
      : request && request.standing !== 'issued'
        ? [`request ${request.name} ${open[request.standing]}, for ${age(request.createdAt, now)}`]
        : []),
    ...(said && !isDecided ? event(said) : []),
    ...(unmounted && !isStarted ? event(unmounted) : []),
  ];
}

const decided = { denied: 'was denied', failed: 'could not be signed' } as const;
const open = { pending: 'has not been approved', approved: 'is approved and not signed' } as const;

/** A text of several lines: those after the first stand below it. */
function paragraph(text: string): readonly string[] {
  const [first = '', ...more] = text.split('\n').filter((line) => line.trim() !== '');
  return [more.length > 0 ? first : first.replace(/:$/, ''), ...more.map((line) => `  ${line}`)];
}

/** Its largest unit: `5m`, `3d`. */
export function age(from: Date, to: Date): string {
  return formatDuration(to.getTime() - from.getTime()).split(' ')[0] ?? '';
}
