import { createHash, sign, verify, type KeyObject } from 'node:crypto';
import { decodeDer, encodeDer, nothing, oid, sequence, type Der } from './der.ts';

interface SignatureAlgorithm {
  readonly keyType: string;
  readonly hash: string | null;
  /** AlgorithmIdentifier, as it was encoded once for all. */
  readonly identifier: Der;
  readonly encoding: Buffer;
}

/** RSA's identifier has a NULL (RFC 4055), ECDSA's and Ed25519's none (RFC 5758, 8410). */
function algorithm(keyType: 'ec' | 'ed25519' | 'rsa', dotted: string, hash: string | null) {
  const parameters = keyType === 'rsa' ? [nothing()] : [];
  const encoding = encodeDer(sequence(oid(dotted), ...parameters));
  return { keyType, hash, identifier: decodeDer(encoding), encoding };
}

/** What we sign with and accept: RFC 4055, 5758, 8410. SHA-1 and RSA-PSS are left out on purpose. */
const signatureAlgorithms: readonly SignatureAlgorithm[] = [
  algorithm('ec', '1.2.840.10045.4.3.2', 'sha256'),
  algorithm('ec', '1.2.840.10045.4.3.3', 'sha384'),
  algorithm('ec', '1.2.840.10045.4.3.4', 'sha512'),
  algorithm('ed25519', '1.3.101.112', null),
  algorithm('rsa', '1.2.840.113549.1.1.11', 'sha256'),
  algorithm('rsa', '1.2.840.113549.1.1.12', 'sha384'),
  algorithm('rsa', '1.2.840.113549.1.1.13', 'sha512'),
];

/** By key: to ask OpenSSL for the curve costs as much as to sign. */
const chosen = new WeakMap<KeyObject, SignatureAlgorithm>();

function algorithmFor(key: KeyObject): SignatureAlgorithm {
  const algorithm = chosen.get(key) ?? chooseAlgorithm(key);
  chosen.set(key, algorithm);
  return algorithm;
}

/** The algorithm to sign with: the hash as strong as the curve (RFC 5656's pairing). */
function chooseAlgorithm(key: KeyObject): SignatureAlgorithm {
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
  return algorithmFor(key).identifier;
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
  const found = signatureAlgorithms.find(({ encoding }) => encoding.equals(identifier));
  if (found?.keyType !== publicKey.asymmetricKeyType) return false;
  return verify(found?.hash ?? null, der, publicKey, signature.bytes);
}

/** SHA-256 in lower-case hex. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
