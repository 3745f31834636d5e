import { type ObservedRequest } from '../certificates/observed-request.ts';
import {
  type CertificationRequest,
  maximumBytes,
  parseCertificationRequest,
} from '../pki/certification-request.ts';
import { type Usage } from '../pki/extensions.ts';
import { type KeyAlgorithm } from '../pki/key-pair.ts';
import { type NameConstraints } from '../pki/name-constraints.ts';
import { decodeSinglePem } from '../pki/pem.ts';

/** Usages that a pod's certificate may have; the first two are purposes, and at least one of them is needed. */
export const grantableUsages = [
  'server auth',
  'client auth',
  'digital signature',
  'key encipherment',
] as const satisfies readonly Usage[];
export type GrantableUsage = (typeof grantableUsages)[number];

/** Bounds of what may be asked, whoever asks. */
export interface Limits {
  readonly keyAlgorithms: readonly KeyAlgorithm[];
  readonly usages: readonly GrantableUsage[];
  readonly maximumLifetimeMs: number;
  /** What is issued where no lifetime is asked for. */
  readonly defaultLifetimeMs: number;
  readonly maximumNames: number;
}

/** The signer's default: a day, or the longest that it signs. Approver and signer must agree on it. */
export function defaultLifetimeMs(longestMs: number): number {
  return Math.min(86_400_000, longestMs);
}

/** The certification request in a signing request, or why it cannot be accepted. */
export type Content =
  | { readonly kind: 'read'; readonly value: CertificationRequest }
  | { readonly kind: 'unreadable'; readonly why: string };

/** What is asked, apart from who asks. */
export interface Asked {
  readonly request: Pick<ObservedRequest, 'usages' | 'expirationSeconds'>;
  readonly content: Content;
  readonly limits: Limits;
  /** Of the CA that signs and those above it; undefined: it is not known who signs. */
  readonly caConstraints: readonly NameConstraints[] | undefined;
}

/** More than any request that is read further: base64 and line breaks make it half as long again. */
const maximumText = 3 * (maximumBytes / 2);

/** The one way in which approver and signer read what was sent: `text` is `spec.request`, decoded from base64. */
export function readContent(text: string): Content {
  if (text.length > maximumText)
    return {
      kind: 'unreadable',
      why: `it has ${text.length} characters, more than ${maximumText}`,
    };
  try {
    const value = parseCertificationRequest(decodeSinglePem(text, 'CERTIFICATE REQUEST'));
    return { kind: 'read', value };
  } catch (error) {
    return { kind: 'unreadable', why: error instanceof Error ? error.message : String(error) };
  }
}
