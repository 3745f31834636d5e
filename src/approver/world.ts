import { type Decisions } from '../certificates/decisions.ts';
import { type RequestSource } from '../controller/request-source.ts';
import { type Listing } from '../controller/list-watch.ts';
import { type ReplicaConfig, type ReplicaWorld } from '../controller/replica.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type NodeFacts, type ServiceRanges } from '../identity/network.ts';
import { type NameConstraints } from '../pki/name-constraints.ts';
import { type PodEvent, type PodReference } from '../telemetry/pod-events.ts';
import { type WrittenEvent } from '../controller/event-writer.ts';
import { type ApproverSettings } from './facts.ts';
import { type Policy } from './policy.ts';

export interface ApproverConfig extends ApproverSettings, ReplicaConfig {
  readonly workers: number;
}

/** The live reads that a verdict rests on. All throw PodsealErrors. */
export interface ApproverReads {
  /** Undefined: there is none of that name. */
  pod(pod: { readonly namespace: string; readonly name: string }): Promise<LivePod | undefined>;
  /** Of one namespace, not from the watch. */
  services(namespace: string): Promise<readonly LiveService[]>;
  /** Of the CA that signs, as the signer publishes it; undefined: it is not known who signs. */
  caConstraints(): Promise<readonly NameConstraints[] | undefined>;
}

/** What the approver needs of the outside. */
export interface ApproverWorld extends ReplicaWorld {
  readonly requests: readonly RequestSource[];
  readonly services: Listing<LiveService>;
  readonly nodes: Listing<NodeFacts>;
  readonly serviceRanges: Listing<ServiceRanges>;
  readonly reads: ApproverReads;
  readonly decisions: Decisions;
  /** The policy of now; it may change at any time. */
  policy(): Policy;
  writeEvent(pod: PodReference, event: WrittenEvent): Promise<void>;
}

/** Tells people about a pod. */
export type RecordEvent = (pod: PodReference, event: PodEvent) => void;
