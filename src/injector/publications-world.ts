import { type WrittenEvent } from '../controller/event-writer.ts';
import { type Listing } from '../controller/list-watch.ts';
import { type Replica, type ReplicaConfig, type ReplicaWorld } from '../controller/replica.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type PodLists } from '../injection/listed-pod.ts';
import { type LiveNamespace } from '../injection/live-namespace.ts';
import { type PublishedConfigMaps } from '../injection/published-config-map.ts';
import { type WebhookConfigurations } from '../injection/webhook-configuration.ts';
import { type PodReference } from '../telemetry/pod-events.ts';

export interface PublicationsConfig extends Pick<ReplicaConfig, 'follow'> {
  /** Our own: the trust bundle comes from there, and nothing is published there. */
  readonly namespace: string;
  /** How many namespaces are written to at once. */
  readonly workers: number;
  /** How often pods are looked through. */
  readonly sweepMs: number;
  /** What no pod needs is kept for so long: one may just be in the making. 60 s by default. */
  readonly spareMs?: number;
}

/** What publications need of the outside. */
export interface PublicationsWorld extends Pick<
  ReplicaWorld,
  'clock' | 'random' | 'log' | 'metrics'
> {
  readonly namespaces: Listing<LiveNamespace>;
  /** Of all namespaces. */
  readonly services: Listing<LiveService>;
  /** Of one namespace, read live. Throws PodsealErrors. */
  servicesOf(namespace: string): Promise<readonly LiveService[]>;
  readonly configMaps: PublishedConfigMaps;
  /** The signer's bundle in our own namespace, PEM. */
  readonly trust: Listing<string>;
  readonly webhooks: WebhookConfigurations;
  readonly pods: PodLists;
  writeEvent(pod: PodReference, event: WrittenEvent): Promise<void>;
}

export type PublicationsReplica = Pick<Replica, 'follows' | 'failed' | 'silentMs' | 'missing'>;
