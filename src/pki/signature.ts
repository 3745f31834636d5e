import { createHash, sign, verify, type KeyObject } from 'node:crypto';
import { encodeDer, nothing, oid, sequence, type Der } from './der.ts';

interface SignatureAlgorithm {
  readonly oid: string;
  /** RSA's AlgorithmIdentifier has a NULL (RFC 4055), ECDSA's and Ed25519's none (RFC 5758, 8410). */
  readonly hasNull: boolean;
  readonly hash: string | null;
  readonly keyType: string;
}

/** What we sign with and accept: RFC 4055, 5758, 8410. SHA-1 and RSA-PSS are left out on purpose. */
const signatureAlgorithms: readonly SignatureAlgorithm[] = [
  { oid: '1.2.840.10045.4.3.2', hasNull: false, hash: 'sha256', keyType: 'ec' },
  { oid: '1.2.840.10045.4.3.3', hasNull: false, hash: 'sha384', keyType: 'ec' },
  { oid: '1.2.840.10045.4.3.4', hasNull: false, hash: 'sha512', keyType: 'ec' },
  { oid: '1.3.101.112', hasNull: false, hash: null, keyType: 'ed25519' },
  { oid: '1.2.840.113549.1.1.11', hasNull: true, hash: 'sha256', keyType: 'rsa' },
  { oid: '1.2.840.113549.1.1.12', hasNull: true, hash: 'sha384', keyType: 'rsa' },
  { oid: '1.2.840.113549.1.1.13', hasNull: true, hash: 'sha512', keyType: 'rsa' },
];

/** The algorithm to sign with: the hash as strong as the curve (RFC 5656's pairing). */
function algorithmFor(key: KeyObject): SignatureAlgorithm {
  const hash = key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'sha384' : 'sha256';
  const found = signatureAlgorithms.find(
    (each) => each.keyType === key.asymmetricKeyType && (each.hash === null || each.hash === hash),
  );
  if (!found)
    throw new Error(`no signature algorithm for keys of type ${key.asymmetricKeyType ?? '?'}`);
  return found;
}

/** The AlgorithmIdentifier of what `signDer` produces with this key. */
export function signatureIdentifier(key: KeyObject): Der {
  return identifierOf(algorithmFor(key));
}

function identifierOf(algorithm: SignatureAlgorithm): Der {
  return sequence(oid(algorithm.oid), ...(algorithm.hasNull ? [nothing()] : []));
}

export function signDer(der: Buffer, key: KeyObject): Buffer {
  return sign(algorithmFor(key).hash, der, key);
}

/** Whether the signature over the bytes verifies. False as well for an algorithm that we do not accept or that does not fit the key. */
export function verifyDer(
  der: Buffer,
  signature: { readonly algorithm: Der; readonly bytes: Buffer },
  publicKey: KeyObject,
): boolean {
  // The whole identifier must fit: its parameters are not covered by the signature.
  const identifier = encodeDer(signature.algorithm);
  const algorithm = signatureAlgorithms.find((each) =>
    encodeDer(identifierOf(each)).equals(identifier),
  );
  if (algorithm?.keyType !== publicKey.asymmetricKeyType) return false;
  return verify(algorithm?.hash ?? null, der, publicKey, signature.bytes);
}

/** SHA-256 in lower-case hex. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
