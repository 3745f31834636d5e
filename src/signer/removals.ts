import {
  type ObservedRequest,
  type Standing,
  standingOf,
} from '../certificates/observed-request.ts';
import { type BoundPod, boundPodOf } from '../identity/requester.ts';

/** What the signer remembers of a request, to remove it in time. */
export interface KeptRequest {
  readonly name: string;
  readonly uid: string;
  readonly standing: Standing;
  readonly createdAt: Date;
  /** The uptime at which it was first seen to stand so: clocks of others decide nothing. */
  readonly sinceMs: number;
  /** Undefined: not from a pod. */
  readonly pod: BoundPod | undefined;
}

export function keptRequest(
  request: ObservedRequest,
  before: KeptRequest | undefined,
  uptimeMs: number,
): KeptRequest {
  const standing = standingOf(request);
  const requester = boundPodOf(request.requester);
  return {
    name: request.name,
    uid: request.uid,
    standing,
    createdAt: request.createdAt,
    sinceMs: before?.standing === standing ? before.sinceMs : uptimeMs,
    pod: requester.kind === 'pod' ? requester.pod : undefined,
  };
}

export type RemovalReason = 'issued' | 'denied' | 'failed' | 'excess' | 'abandoned';

/** Kubernetes' own cleaner keeps all of them for an hour or more; the agent reads its answer within seconds. */
const keptForMs = {
  issued: 10 * 60_000,
  denied: 60 * 60_000,
  failed: 60 * 60_000,
} as const satisfies Partial<Record<Standing, number>>;

/** Whether it has stood finished for long enough, and why it goes. */
export function finishedReason(
  { standing, sinceMs }: KeptRequest,
  uptimeMs: number,
): RemovalReason | undefined {
  if (!isFinished(standing)) return undefined;
  return uptimeMs - sinceMs >= keptForMs[standing] ? standing : undefined;
}

function isFinished(standing: Standing): standing is keyof typeof keptForMs {
  return standing in keptForMs;
}

/** The agent has read its answer long before. */
const readWithinMs = 60_000;

/**
 * Which requests of one pod are too many: unfinished and denied ones count, the oldest denied go first,
 * then the newest pending. Of those issued a minute ago or earlier only as many stay, the newest: a pod that
 * asks without end must not fill what has to be listed.
 */
export function excessOf(
  ofOnePod: readonly KeptRequest[],
  maximum: number,
  uptimeMs: number,
): readonly KeptRequest[] {
  const read = ofOnePod
    .filter(({ standing, sinceMs }) => standing === 'issued' && uptimeMs - sinceMs >= readWithinMs)
    .sort((a, b) => b.sinceMs - a.sinceMs);
  return [...openExcessOf(ofOnePod, maximum), ...read.slice(maximum)];
}

/** Whether more of one pod are issued than may stay, now or once they are old enough. */
export function hasManyIssued(ofOnePod: readonly KeptRequest[], maximum: number): boolean {
  return ofOnePod.filter(({ standing }) => standing === 'issued').length > maximum;
}

function openExcessOf(ofOnePod: readonly KeptRequest[], maximum: number): readonly KeptRequest[] {
  const counted = ofOnePod.filter(({ standing }) => standing !== 'issued' && standing !== 'failed');
  const excess = counted.length - maximum;
  if (excess <= 0) return [];
  const byAge = [...counted].sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  const of = (standing: Standing): KeptRequest[] =>
    byAge.filter((each) => each.standing === standing);
  // An approved one is about to be issued: it is the last to go.
  return [...of('denied'), ...of('pending').reverse(), ...of('approved').reverse()].slice(
    0,
    excess,
  );
}

/** Unfinished for so long that its pod should be looked at. */
export const doubtAfterMs = 2 * 60_000;

export function isUnfinished({ standing }: KeptRequest): boolean {
  return standing === 'pending' || standing === 'approved';
}
