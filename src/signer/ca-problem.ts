import { type Certificate, extensionsOf } from '../pki/certificate.ts';
import * as der from '../pki/der.ts';
import { type Extension, extensionOids, usagesNotAllowed } from '../pki/extensions.ts';
import { publicKeyProblem } from '../pki/public-key.ts';
import { isSelfSigned } from './authority.ts';

/** Where a CA stands, and when. */
export interface Place {
  /** How many CAs stand between it and the leaf: 0 for the one that signs leaves. */
  readonly below: number;
  readonly now: Date;
}

/**
 * What keeps a certificate from being a CA at this place, in words that fit after what it is called. A
 * certificate must please every client, so the strictest is followed.
 */
export function caProblem(certificate: Certificate, place: Place): string | undefined {
  try {
    const extensions = extensionsOf(certificate);
    return (
      basicProblem(extensions, place.below) ??
      validityProblem(certificate, place.now) ??
      usageProblem(extensions) ??
      keyProblem(certificate, place.below) ??
      signatureProblem(certificate)
    );
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** RFC 5280 4.2.1.9; like Go we also count CAs that bear their issuer's name. */
function basicProblem(extensions: readonly Extension[], below: number): string | undefined {
  const found = extensions.find(({ oid }) => oid === extensionOids.basicConstraints);
  const [isCa, length] = found
    ? der.membersOf(der.decodeDer(found.value), 'sequence', 'basicConstraints')
    : [];
  if (!isCa || !der.booleanOf(isCa, 'cA')) return 'is not the certificate of a CA';
  if (!length) return undefined;
  const limit = Number(`0x${der.integerOf(length, 'pathLenConstraint').toString('hex')}`);
  return below > limit
    ? `may have ${limit} CAs below it by its path length, and there are ${below}`
    : undefined;
}

function validityProblem({ x509, validity }: Certificate, now: Date): string | undefined {
  const { notBefore, notAfter } = validity;
  if (now >= notAfter) return `expired at ${notAfter.toISOString()}`;
  if (now < notBefore) return `is valid only from ${notBefore.toISOString()}`;
  // RFC 5280 4.1.2.6: what it signs could not name its issuer.
  return x509.subject ? undefined : 'has no subject';
}

/** keyUsage and extendedKeyUsage; a CA without them may do everything. */
function usageProblem(extensions: readonly Extension[]): string | undefined {
  if (usagesNotAllowed(['cert sign'], extensions).length > 0)
    return 'may not sign certificates (keyUsage lacks keyCertSign)';
  // Clients ask every CA of a chain (openssl, Go), and agents ask for both.
  const [wrong] = usagesNotAllowed(['server auth', 'client auth'], extensions);
  return wrong && `does not sign for ${wrong} (its extendedKeyUsage)`;
}

function keyProblem({ x509, publicKeyDer }: Certificate, below: number): string | undefined {
  // Of those above nothing is asked but that they are not weak: their keys are others' choice.
  const { modulusLength = 2048 } = x509.publicKey.asymmetricKeyDetails ?? {};
  if (below > 0)
    return modulusLength < 2048 ? `has an RSA key of ${modulusLength} bits` : undefined;
  const problem = publicKeyProblem(x509.publicKey, publicKeyDer);
  return problem && `cannot be used: ${problem}`;
}

/** Signatures with hashes for which others' certificates could be made; most clients refuse them. */
const weakHashes = new Map([
  ['1.2.840.113549.1.1.4', 'MD5'],
  ['1.2.840.113549.1.1.5', 'SHA-1'],
  ['1.2.840.10040.4.3', 'SHA-1'],
  ['1.2.840.10045.4.1', 'SHA-1'],
]);

/** Nobody looks at a root's own signature. */
function signatureProblem(certificate: Certificate): string | undefined {
  if (isSelfSigned(certificate)) return undefined;
  const [, algorithm] = der.membersOf(der.decodeDer(certificate.der), 'sequence', 'certificate');
  const [oid] = der.membersOf(algorithm, 'sequence', 'signature algorithm');
  const hash = weakHashes.get(der.oidOf(oid, 'signature algorithm'));
  return hash && `is signed with ${hash}`;
}
