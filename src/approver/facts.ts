import { type ObservedRequest } from '../certificates/observed-request.ts';
import { type NetworkFacts } from '../identity/network.ts';
import { type BoundPod } from '../identity/requester.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type NameConstraints } from '../pki/name-constraints.ts';
import { type Content } from '../vetting/asked.ts';
import { type Policy } from './policy.ts';

/** What the approver is told by its settings. */
export interface ApproverSettings {
  readonly signerNames: readonly string[];
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** What the signer issues where no lifetime is asked for. */
  readonly defaultLifetimeMs: number;
}

/** All that a verdict rests on. Gathered by reading; the rules are pure functions of it. */
export interface Facts {
  readonly request: ObservedRequest;
  readonly content: Content;
  readonly requester:
    | { readonly kind: 'pod'; readonly pod: BoundPod }
    | { readonly kind: 'other'; readonly why: string };
  /** By one live read; undefined: there is no pod of that name, or the requester is none. */
  readonly pod: LivePod | undefined;
  /** Of the pod's namespace. */
  readonly services: readonly LiveService[];
  readonly network: NetworkFacts;
  /** Of the CA that signs now and those above it; undefined: it is not known who signs. */
  readonly caConstraints: readonly NameConstraints[] | undefined;
  readonly policy: Policy;
  readonly settings: ApproverSettings;
}
