import { type Usage } from '../pki/extensions.ts';

export interface Condition {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** A CertificateSigningRequest of certificates.k8s.io/v1, as far as we use it. */
export interface SigningRequest {
  readonly name: string;
  readonly uid: string;
  /** The certification request, PEM. */
  readonly request: string;
  readonly signerName: string;
  readonly conditions: readonly Condition[];
  /** The issued chain, PEM; undefined until a signer wrote it. */
  readonly certificate: string | undefined;
}

export interface NewSigningRequest {
  readonly name: string;
  /** The certification request, PEM. */
  readonly request: string;
  readonly signerName: string;
  readonly usages: readonly Usage[];
  readonly expirationSeconds: number;
  /** The pod has a usable certificate already, so others may be served first. */
  readonly isRenewal: boolean;
}

/** The label by which the agent says so: a hint for the order of work, never for a decision. */
export const renewalLabel = 'podseal.dev/renewal';

/**
 * The workload's view of the API: create and get, nothing else (list and watch cannot be narrowed
 * to one pod). Both throw PodsealErrors: API_UNREACHABLE, API_FORBIDDEN, API_REFUSED; create also
 * API_CONFLICT when the name is taken.
 */
export interface SigningRequests {
  create(request: NewSigningRequest): Promise<SigningRequest>;
  /** Undefined when there is no such request. */
  get(name: string): Promise<SigningRequest | undefined>;
}

/** `podseal-<pod uid>-<hash of the public key>`: who asks and with which key, so that a restart finds it again. */
export function requestName(podUid: string, publicKeySha256Hex: string): string {
  // 128 bits of the hash: nobody can find a second key with this name.
  return `podseal-${podUid}-${publicKeySha256Hex.slice(0, 32)}`;
}
