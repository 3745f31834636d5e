import { type Validity } from '../pki/certificate.ts';
import { type CertificationRequest } from '../pki/certification-request.ts';
import * as der from '../pki/der.ts';
import {
  extendedKeyUsage,
  extensionOids,
  keyUsage,
  subjectAltName,
  type Extension,
  type Usage,
} from '../pki/extensions.ts';
import { type CertificateTemplate } from '../pki/issue-certificate.ts';

/** What the administrator allows. */
export interface ProfileLimits {
  readonly defaultLifetimeMs: number;
  readonly maximumLifetimeMs: number;
  /** notBefore lies this far back, because clocks of nodes differ. */
  readonly backDateMs: number;
  /** Nothing is valid beyond its issuer. */
  readonly issuerValidity: Validity;
}

/** What the signing request says beside its certification request. */
export interface Asked {
  readonly usages: readonly Usage[];
  readonly expirationSeconds: number | undefined;
}

/**
 * The certificate for a checked request. Built, never copied: names, common name and public key pass
 * through, everything else is ours (RFC 5280 4.2). `serial` is 16 random bytes.
 */
export function certificateProfile(
  request: CertificationRequest,
  asked: Asked,
  limits: ProfileLimits,
  moment: { readonly now: Date; readonly serial: Uint8Array },
): CertificateTemplate {
  return {
    commonName: request.commonName,
    validity: validityOf(asked.expirationSeconds, limits, moment.now),
    serial: positive(moment.serial),
    publicKeyDer: request.publicKeyDer,
    extensions: [
      subjectAltName(request.names, request.commonName === undefined),
      keyUsage(asked.usages),
      extendedKeyUsage(asked.usages),
      notACa,
    ].filter((extension) => extension !== undefined),
  };
}

function validityOf(
  expirationSeconds: number | undefined,
  limits: ProfileLimits,
  now: Date,
): Validity {
  const askedMs =
    expirationSeconds === undefined ? limits.defaultLifetimeMs : expirationSeconds * 1000;
  const lifetimeMs = Math.min(askedMs, limits.maximumLifetimeMs);
  const { notBefore, notAfter } = limits.issuerValidity;
  return {
    notBefore: new Date(Math.max(now.getTime() - limits.backDateMs, notBefore.getTime())),
    notAfter: new Date(Math.min(now.getTime() + lifetimeMs, notAfter.getTime())),
  };
}

/** Positive and of full length: the top bit cleared, the next one set. */
function positive(serial: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(serial);
  copy[0] = ((copy[0] ?? 0) & 0x7f) | 0x40;
  return copy;
}

/** basicConstraints with everything at its default: no CA (RFC 5280 4.2.1.9). */
const notACa: Extension = {
  oid: extensionOids.basicConstraints,
  critical: true,
  value: der.encodeDer(der.sequence()),
};
