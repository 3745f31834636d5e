import { certificatesFromPem, type Certificate, extensionsOf, type Validity } from '../pki/certificate.ts';
import * as der from '../pki/der.ts';
import { extensionOids } from '../pki/extensions.ts';
import { type NameConstraints, nameConstraintsOf } from '../pki/name-constraints.ts';
import { publicKeyProblem } from '../pki/public-key.ts';
import { bundleOf } from '../trust/bundle.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { verifyChain } from '../trust/verify-chain.ts';
import { authorityOf, isSelfIssued, type Authority } from './authority.ts';

/** A CA that may sign, with all that was checked. */
export interface SigningCa {
  readonly authority: Authority;
  /** Trusted for what it signs. */
  readonly roots: readonly Certificate[];
  /** Of the CA and those above it. */
  readonly constraints: readonly NameConstraints[];
  /** The CA, those above it and the root: what the approver reads to know what can be signed; PEM. */
  readonly chainPem: string;
  readonly validity: Validity;
  /** SHA-256 of the CA's certificate, lower-case hex. */
  readonly id: string;
}

/**
 * The CA in a Secret. Throws an Error that says what is wrong and what to put there, in words that fit
 * after "the CA Secret cannot be used: ".
 */
export function readSigningCa(secret: CaSecret, now: Date): SigningCa {
  const { certificate: pem, key, root } = secret;
  if (pem === undefined || key === undefined)
    throw new Error(`it lacks ${pem === undefined ? 'tls.crt' : 'tls.key'}`);
  const authority = readAuthority(pem, key);
  const { certificate } = authority;
  checkMaySign(certificate, now);
  const [, ...above] = readPem(pem, 'tls.crt');
  const given = root === undefined ? [] : readPem(root, 'ca.crt');
  const roots = given.length > 0 ? given.filter(isSelfIssued) : [certificate].filter(isSelfIssued);
  if (roots.length === 0)
    throw new Error(
      'tls.crt is an intermediate, and ca.crt does not hold its root; put the self-signed root there',
    );
  const verdict = verifyChain(certificate, above, bundleOf(roots), now);
  if (!isSelfIssued(certificate) && verdict.kind === 'untrusted')
    throw new Error(`tls.crt does not lead to the root in ca.crt: ${verdict.why}`);
  const path =
    verdict.kind === 'trusted' ? [...new Set([...verdict.path, verdict.root])] : [certificate];
  const usedRoots = verdict.kind === 'trusted' ? [verdict.root] : [certificate];
  checkPathLengths(path);
  return {
    authority,
    roots: usedRoots,
    constraints: path.flatMap((each) => nameConstraintsOf(each) ?? []),
    chainPem: bundlePem(path),
    validity: certificate.validity,
    id: certificate.fingerprint,
  };
}

function bundlePem(path: readonly Certificate[]): string {
  return path.map((each) => each.x509.toString()).join('');
}

function readPem(pem: string, name: string): readonly Certificate[] {
  try {
    return certificatesFromPem(pem);
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function readAuthority(pem: string, key: string): Authority {
  readPem(pem, 'tls.crt');
  return authorityOf(pem, key);
}

function checkMaySign(certificate: Certificate, now: Date): void {
  const { notBefore, notAfter } = certificate.validity;
  if (now >= notAfter) throw new Error(`its certificate expired at ${notAfter.toISOString()}`);
  if (now < notBefore)
    throw new Error(`its certificate is valid only from ${notBefore.toISOString()}`);
  const usage = extensionsOf(certificate).find(({ oid }) => oid === extensionOids.keyUsage);
  // keyCertSign is bit 5 (RFC 5280 4.2.1.3).
  const bits = usage && (der.bitsOf(der.decodeDer(usage.value), 'keyUsage').bytes[0] ?? 0);
  if (bits !== undefined && (bits & 0x04) === 0)
    throw new Error('its certificate may not sign certificates (keyUsage lacks keyCertSign)');
  const problem = publicKeyProblem(certificate.x509.publicKey, certificate.publicKeyDer);
  if (problem !== undefined) throw new Error(`its key: ${problem}`);
}

/** RFC 5280 4.2.1.9: how many intermediates may stand below a CA. `path` begins with the one that signs leaves. */
function checkPathLengths(path: readonly Certificate[]): void {
  for (const [below, certificate] of path.entries()) {
    const limit = pathLengthOf(certificate);
    if (limit !== undefined && limit < below)
      throw new Error(
        `the path length of ${JSON.stringify(certificate.x509.subject)} allows ${limit} CAs below it, and there are ${below}`,
      );
  }
}

function pathLengthOf(certificate: Certificate): number | undefined {
  const extension = extensionsOf(certificate).find(
    ({ oid }) => oid === extensionOids.basicConstraints,
  );
  if (!extension) return undefined;
  const members = der.membersOf(der.decodeDer(extension.value), 'sequence', 'basicConstraints');
  const length = members[1];
  return length && Number(`0x${der.integerOf(length, 'pathLenConstraint').toString('hex')}`);
}
