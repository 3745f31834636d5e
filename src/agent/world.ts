import { type SigningRequests } from '../certificates/signing-request.ts';
import { type WantedName } from '../identity/wanted-names.ts';
import { type KeyAlgorithm, type KeyGenerator } from '../pki/key-pair.ts';
import { type Clock } from '../runtime/clock.ts';
import { type Random } from '../runtime/random.ts';
import { type Retry } from '../runtime/retry.ts';
import { type Log } from '../telemetry/log.ts';
import { type Metrics } from '../telemetry/metrics.ts';
import { type TrustFileReading } from '../trust/bundle.ts';
import { type PayloadSettings } from '../volume/payload.ts';
import { type Volume } from '../volume/volume.ts';

export interface AgentConfig {
  readonly podUid: string;
  readonly signerName: string;
  readonly keyAlgorithm: KeyAlgorithm;
  /** Asked of the signer, which may issue shorter. */
  readonly lifetimeMs: number;
  /** How long one attempt may take: hours when people approve. */
  readonly timeoutMs: number;
  /** Puts the first DNS name of at most 64 characters into the subject too. */
  readonly withCommonName: boolean;
  readonly payload: PayloadSettings;
}

/** The names the pod may act under, as its sources say right now. */
export type NamesReading =
  | { readonly kind: 'known'; readonly names: readonly WantedName[]; readonly source: string }
  | { readonly kind: 'unknown'; readonly why: string; readonly unconfigured: boolean };

/** What changes while the agent runs, read anew at each call. */
export interface AgentSources {
  names(): NamesReading;
  trust(): readonly TrustFileReading[];
  /** The annotation `podseal.dev/renew`: a changed value asks for a renewal now. */
  renewAnnotation(): string | undefined;
}

/** All that the agent's programs touch. */
export interface AgentWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: Retry;
  readonly generateKey: KeyGenerator;
  readonly requests: SigningRequests;
  readonly sources: AgentSources;
  readonly volume: Volume;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Gives back the memory that a renewal left behind, where that can be asked for. */
  readonly freeMemory: () => void;
}
