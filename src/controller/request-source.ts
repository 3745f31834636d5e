import { type ObservedRequest } from '../certificates/observed-request.ts';
import { boundPodOf } from '../identity/requester.ts';
import { type Work } from './fair-queue.ts';
import { type Listing } from './list-watch.ts';

/** The requests of one signer name. */
export interface RequestSource {
  readonly signerName: string;
  readonly listing: Listing<ObservedRequest>;
}

/** Namespaces take turns; what comes from no pod shares one turn. */
export function turnOf(request: ObservedRequest): Omit<Work, 'key'> {
  const requester = boundPodOf(request.requester);
  return {
    group: requester.kind === 'pod' ? requester.pod.namespace : '',
    lane: request.isRenewal ? 'renewal' : 'start',
  };
}
