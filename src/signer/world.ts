import { type Issuance } from '../certificates/decisions.ts';
import { type WrittenEvent } from '../controller/event-writer.ts';
import { type Listing } from '../controller/list-watch.ts';
import { type ReplicaConfig, type ReplicaWorld } from '../controller/replica.ts';
import { type RequestSource } from '../controller/request-source.ts';
import { type LivePod } from '../identity/live-pod.ts';
import { type KeyGenerator } from '../pki/key-pair.ts';
import { type PodReference } from '../telemetry/pod-events.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { type TrustPublisher } from '../trust/publication.ts';
import { type AuthorityScope } from './authority.ts';

export interface SignerConfig extends ReplicaConfig {
  readonly signerNames: readonly string[];
  /** What a root made on first start may vouch for. */
  readonly scope: AuthorityScope;
  readonly defaultLifetimeMs: number;
  readonly maximumLifetimeMs: number;
  readonly backDateMs: number;
  readonly maximumOpenRequests: number;
  /** How long a changed bundle is out before the CA that it announces signs. */
  readonly settleMs: number;
  readonly workers: number;
}

/** The Secret of the CA. */
export interface CaStore {
  readonly listing: Listing<CaSecret>;
  /** Where it is, for messages: `podseal-system/podseal-ca`. */
  readonly where: string;
  /** Throws API_CONFLICT when there is one by now. */
  create(secret: CaSecret): Promise<void>;
}

/** What the signer needs of the outside. */
export interface SignerWorld extends ReplicaWorld {
  /** Unpredictable bytes, for serial numbers. */
  randomBytes(count: number): Uint8Array;
  readonly generateKey: KeyGenerator;
  readonly requests: readonly RequestSource[];
  readonly ca: CaStore;
  readonly trust: TrustPublisher;
  readonly issuance: Issuance;
  /** A live read; undefined: there is none of that name. */
  readPod(pod: { readonly namespace: string; readonly name: string }): Promise<LivePod | undefined>;
  writeEvent(pod: PodReference, event: WrittenEvent): Promise<void>;
}
