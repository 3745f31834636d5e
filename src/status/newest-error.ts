import { type ErrorCode } from '../errors.ts';
import { type Clues } from './clues.ts';
import { agentOfNow, type PodFacts } from './pod-facts.ts';
import { type PodCase } from './pod-status.ts';

/** What went wrong last with a pod, in a word. */
export interface NewestError {
  /** A code of docs/operations.md, `exit` and a number, or the kubelet's word. */
  readonly code: string;
  /** Undefined: nobody says when. */
  readonly at: Date | undefined;
}

export function newestError({ pod, reading, clues }: PodCase): NewestError | undefined {
  if (reading.kind === 'read') return reading.report.lastError;
  return errorOfRequest(clues) ?? errorOfContainer(pod, clues);
}

function errorOfRequest({ request, said }: Clues): NewestError | undefined {
  const error = (code: ErrorCode): NewestError => ({ code, at: said?.lastAt });
  if (request?.standing === 'denied') return error('SIGNING_REQUEST_DENIED');
  if (request?.standing === 'failed') return error('SIGNING_REQUEST_FAILED');
  // A newer request than the one that they speak of.
  if (request) return undefined;
  if (said?.reason === 'CertificateDenied') return error('SIGNING_REQUEST_DENIED');
  if (said?.reason === 'CertificateFailed') return error('SIGNING_REQUEST_FAILED');
  return undefined;
}

function errorOfContainer(pod: PodFacts, { unmounted }: Clues): NewestError | undefined {
  const agent = agentOfNow(pod);
  if (!agent) return undefined;
  const { state, lastEnd } = agent;
  const end = state.kind === 'ended' ? state : lastEnd;
  if (end && end.exitCode !== 0) return { code: `exit ${end.exitCode}`, at: end.at };
  if (state.kind === 'running') return undefined;
  if (unmounted) return { code: unmounted.reason, at: unmounted.lastAt };
  return state.kind === 'waiting' && !usualWaits.has(state.reason)
    ? { code: state.reason, at: undefined }
    : undefined;
}

/** Every container waits so for a moment. */
const usualWaits: ReadonlySet<string> = new Set(['ContainerCreating', 'PodInitializing']);
