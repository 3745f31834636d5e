import { createPublicKey, verify } from 'node:crypto';
import * as der from '../../src/pki/der.ts';
import { findPemBlocks } from './pem.ts';

/** Signature algorithm by object identifier: its hash, or null where the algorithm has its own. */
const hashes: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.113549.1.1.5', 'sha1'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.1', 'sha1'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', null],
]);

/**
 * What the API server would hold against `spec.request`, undefined when nothing: its first PEM block
 * must be a PKCS#10 request whose signature verifies with its own key. What it asks for is not looked at.
 */
export function faultOfCertificationRequest(bytes: Buffer): string | undefined {
  const [block] = findPemBlocks(bytes);
  if (block?.label !== 'CERTIFICATE REQUEST') return 'PEM block type must be CERTIFICATE REQUEST';
  try {
    return isSelfSigned(block.der) ? undefined : 'x509: signature verification failure';
  } catch (error) {
    return `x509: malformed certification request: ${(error as Error).message}`;
  }
}

function isSelfSigned(bytes: Buffer): boolean {
  const [info, algorithm, signature] = der.membersOf(der.decodeDer(bytes), 'sequence', 'request');
  if (!info) throw new Error('it is empty');
  const [, , publicKeyInfo] = der.membersOf(info, 'sequence', 'CertificationRequestInfo');
  if (!publicKeyInfo) throw new Error('it has no public key');
  const publicKey = createPublicKey({
    key: der.encodeDer(publicKeyInfo),
    format: 'der',
    type: 'spki',
  });
  const [identifier] = der.membersOf(algorithm, 'sequence', 'signature algorithm');
  const hash = hashes.get(der.oidOf(identifier, 'signature algorithm'));
  if (hash === undefined) throw new Error('its signature algorithm is unknown');
  return verify(hash, der.encodeDer(info), publicKey, der.bitsOf(signature, 'signature').bytes);
}
