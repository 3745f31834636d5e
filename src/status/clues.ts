import { type Standing } from '../certificates/observed-request.ts';

/** An Event about a pod. */
export interface SeenEvent {
  readonly podUid: string;
  readonly reason: string;
  readonly message: string;
  readonly lastAt: Date;
}

/** A signing request of a pod. */
export interface SeenRequest {
  readonly podUid: string;
  readonly name: string;
  readonly signerName: string;
  readonly createdAt: Date;
  readonly standing: Standing;
  /** Of the condition that decided it; empty while nothing has. */
  readonly reason: string;
  readonly message: string;
}

/** What others know about a pod; `undefined` and empty also where it may not be read. */
export interface Clues {
  /** What approver or signer said last. */
  readonly said: SeenEvent | undefined;
  /** Why its volumes are not there, as the kubelet said last. */
  readonly unmounted: SeenEvent | undefined;
  /** Its newest one. */
  readonly request: SeenRequest | undefined;
}

export const noClues: Clues = { said: undefined, unmounted: undefined, request: undefined };

/** What approver and signer say about a pod that has no certificate, and the kubelet about one that cannot start. */
export const telling = {
  said: ['CertificateWaiting', 'CertificateDenied', 'CertificateFailed'],
  unmounted: ['FailedMount'],
} as const;

export function cluesOf(
  podUid: string,
  events: readonly SeenEvent[],
  requests: readonly SeenRequest[],
): Clues {
  const newest = (reasons: readonly string[]): SeenEvent | undefined =>
    latest(
      events.filter((each) => each.podUid === podUid && reasons.includes(each.reason)),
      ({ lastAt }) => lastAt,
    );
  return {
    said: newest(telling.said),
    unmounted: newest(telling.unmounted),
    request: latest(
      requests.filter((each) => each.podUid === podUid),
      ({ createdAt }) => createdAt,
    ),
  };
}

function latest<T>(items: readonly T[], at: (item: T) => Date): T | undefined {
  const [first, ...more] = items;
  if (first === undefined) return undefined;
  return more.reduce((best, each) => (at(each) > at(best) ? each : best), first);
}
