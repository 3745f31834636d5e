import { type Requester } from '../identity/requester.ts';
import { type Condition } from './signing-request.ts';

/** A condition with the time that Kubernetes' own cleaner counts from. */
export interface ObservedCondition extends Condition {
  readonly updatedAt: Date;
  /** As the API has it: whoever writes another one writes this back unchanged. */
  readonly asRead: Readonly<Record<string, unknown>>;
}

/** A CertificateSigningRequest of certificates.k8s.io/v1 as approver and signer see it. */
export interface ObservedRequest {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly createdAt: Date;
  /** As it stands in `spec.request`, decoded from base64: PEM is expected, latin1 keeps every byte. */
  readonly request: string;
  readonly signerName: string;
  /** As the API has them; some may be none of ours. */
  readonly usages: readonly string[];
  readonly expirationSeconds: number | undefined;
  readonly requester: Requester;
  readonly conditions: readonly ObservedCondition[];
  readonly hasCertificate: boolean;
  /** The agent says so of itself: a hint for the order of work, never for a decision. */
  readonly isRenewal: boolean;
}

/** Where a request stands. A certificate counts only beside Approved (kubernetes-facts 1.3). */
export type Standing = 'pending' | 'approved' | 'issued' | 'denied' | 'failed';

/** Conditions of foreign types say nothing (kubernetes-facts 1.2). */
export function standingOf(
  request: Pick<ObservedRequest, 'conditions' | 'hasCertificate'>,
): Standing {
  const has = (type: string): boolean => request.conditions.some((each) => each.type === type);
  if (has('Denied')) return 'denied';
  if (has('Failed')) return 'failed';
  if (!has('Approved')) return 'pending';
  return request.hasCertificate ? 'issued' : 'approved';
}
