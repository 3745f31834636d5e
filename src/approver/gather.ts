import { type ObservedRequest } from '../certificates/observed-request.ts';
import { boundPodOf } from '../identity/requester.ts';
import { readContent } from '../vetting/asked.ts';
import { type ClusterView } from './cluster-view.ts';
import { type ApproverSettings, type Facts } from './facts.ts';
import { type Policy } from './policy.ts';
import { type ApproverReads } from './world.ts';

/** What facts are gathered from. */
export interface FactSources {
  readonly settings: ApproverSettings;
  readonly reads: ApproverReads;
  readonly view: ClusterView;
  policy(): Policy;
  /** Whether what the watch says of Services is recent enough to approve by. */
  areServicesFresh(): boolean;
}

/**
 * Everything that the verdict on one request rests on. The pod is read live, because a uid that is gone
 * never comes back; Services come from the watch, or live where `services` says so, because before
 * anything is denied the API itself is asked.
 */
export async function gatherFacts(
  request: ObservedRequest,
  sources: FactSources,
  services: 'watched' | 'live',
): Promise<Facts> {
  const { settings, reads, view } = sources;
  const requester = boundPodOf(request.requester);
  const namespace = requester.kind === 'pod' ? requester.pod.namespace : undefined;
  const [pod, own, caConstraints] = await Promise.all([
    requester.kind === 'pod' ? reads.pod(requester.pod) : undefined,
    namespace === undefined
      ? []
      : services === 'live'
        ? reads.services(namespace)
        : view.servicesOf(namespace),
    reads.caConstraints(),
  ]);
  return {
    request,
    content: readContent(request.request),
    requester,
    pod,
    services: own,
    network: view.network(),
    caConstraints,
    policy: sources.policy(),
    settings,
  };
}
