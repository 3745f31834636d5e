import { type KeyObject } from 'node:crypto';
import { isRsa, type KeyAlgorithm } from './key-pair.ts';

/**
 * The only accepted encodings of the curves' keys (RFC 5480, RFC 8410): SubjectPublicKeyInfo up to
 * the coordinates, and its length. A named curve, an uncompressed point, no parameters for Ed25519.
 */
const curveEncodings = [
  {
    algorithm: 'ECDSAP256',
    start: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
    lengthBytes: 91,
  },
  {
    algorithm: 'ECDSAP384',
    start: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
    lengthBytes: 120,
  },
  {
    algorithm: 'ED25519',
    start: Buffer.from('302a300506032b6570032100', 'hex'),
    lengthBytes: 44,
  },
] as const;

const acceptedKeys =
  'P-256 and P-384 (named curve, uncompressed point), Ed25519 (canonical, not of small order), ' +
  'and RSA with 2048 to 4096 bits and exponent 65537';

/**
 * Why no certificate is issued for the key, in words that fit after "the certification request: ";
 * undefined when nothing is wrong with it. `publicKey` was read from `publicKeyDer`; reading it has
 * proved that a point of P-256 or P-384 lies on its curve.
 */
export function publicKeyProblem(publicKey: KeyObject, publicKeyDer: Buffer): string | undefined {
  const encoding = curveEncodingOf(publicKeyDer);
  const seen = encoding
    ? encoding.algorithm === 'ED25519' && ed25519Flaw(publicKeyDer.subarray(encoding.start.length))
    : otherFlaw(publicKey, publicKeyDer);
  return seen ? `its key is ${seen}; accepted are ${acceptedKeys}` : undefined;
}

/** By its bytes: to ask OpenSSL for the curve costs a hundred times more, and it forgives other encodings. */
function curveEncodingOf(publicKeyDer: Buffer): (typeof curveEncodings)[number] | undefined {
  return curveEncodings.find(
    ({ start, lengthBytes }) =>
      publicKeyDer.length === lengthBytes && publicKeyDer.subarray(0, start.length).equals(start),
  );
}

/** The algorithm of a key with which `publicKeyProblem` finds nothing wrong. */
export function acceptedAlgorithm(
  publicKey: KeyObject,
  publicKeyDer: Buffer,
): KeyAlgorithm | undefined {
  return curveEncodingOf(publicKeyDer)?.algorithm ?? keyAlgorithmOf(publicKey);
}

/** The algorithm that a public key's kind and size stand for; undefined for kinds and sizes that nobody is given. */
export function keyAlgorithmOf(publicKey: KeyObject): KeyAlgorithm | undefined {
  const { namedCurve, modulusLength = 0 } = publicKey.asymmetricKeyDetails ?? {};
  switch (publicKey.asymmetricKeyType) {
    case 'ed25519':
      return 'ED25519';
    case 'ec':
      if (namedCurve === 'prime256v1') return 'ECDSAP256';
      return namedCurve === 'secp384r1' ? 'ECDSAP384' : undefined;
    case 'rsa':
      if (modulusLength < 2048 || modulusLength > 4096) return undefined;
      if (modulusLength < 3072) return 'RSA2048';
      return modulusLength < 4096 ? 'RSA3072' : 'RSA4096';
    default:
      return undefined;
  }
}

/** The y coordinates, little-endian, of the eight points whose order divides 8: 0, 1, -1, and two of order 8. */
const smallOrders = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

/**
 * RFC 8032 5.1.3 wants y below p = 2^255 - 19, and verifiers do not all check it. Under a key of small
 * order anybody can make signatures that verify, so a signature by it proves nothing.
 */
function ed25519Flaw(point: Buffer): string | undefined {
  const y = Buffer.from(point);
  // The highest bit is the sign of x.
  y[31] = (y[31] ?? 0) & 0x7f;
  const isBelowP =
    (y[0] ?? 0) < 0xed || y[31] !== 0x7f || y.subarray(1, 31).some((byte) => byte !== 0xff);
  if (!isBelowP) return 'an Ed25519 point in a form that is not canonical';
  return smallOrders.has(y.toString('hex')) ? 'an Ed25519 point of small order' : undefined;
}

/** Of every key that is not in one of the curves' encodings. */
function otherFlaw(publicKey: KeyObject, publicKeyDer: Buffer): string | undefined {
  const algorithm = keyAlgorithmOf(publicKey);
  if (algorithm)
    return isRsa(publicKey) ? rsaFlaw(publicKey, publicKeyDer) : `${algorithm} in another encoding`;
  const { namedCurve, modulusLength = 0 } = publicKey.asymmetricKeyDetails ?? {};
  switch (publicKey.asymmetricKeyType) {
    case 'ec':
      return `an EC key on ${namedCurve ?? 'a curve without name'}`;
    case 'rsa':
      return `an RSA key of ${modulusLength} bits`;
    default:
      return `of type ${publicKey.asymmetricKeyType ?? 'unknown'}`;
  }
}

function rsaFlaw(publicKey: KeyObject, publicKeyDer: Buffer): string | undefined {
  const { modulusLength = 0, publicExponent = 0n } = publicKey.asymmetricKeyDetails ?? {};
  if (publicExponent !== 65537n) {
    const digits = publicExponent.toString();
    return `an RSA key with ${digits.length > 20 ? `an exponent of ${digits.length} digits` : `exponent ${digits}`}`;
  }
  if (!publicKey.export({ type: 'spki', format: 'der' }).equals(publicKeyDer))
    return 'an RSA key in another encoding than DER wants';
  const factor = smallFactorOf(modulusIn(publicKeyDer, modulusLength));
  return factor === undefined ? undefined : `an RSA key whose modulus is divisible by ${factor}`;
}

/** The canonical encoding ends with the modulus and the five bytes of the exponent 65537. */
function modulusIn(publicKeyDer: Buffer, modulusBits: number): bigint {
  const modulus = publicKeyDer.subarray(0, -5).subarray(-Math.ceil(modulusBits / 8));
  return BigInt(`0x${modulus.toString('hex')}`);
}

/** NIST SP 800-89 5.3.3: no factor below 752. */
const smallPrimes = Array.from({ length: 750 }, (_, index) => index + 2).filter((candidate) => {
  for (let divisor = 2; divisor * divisor <= candidate; divisor++)
    if (candidate % divisor === 0) return false;
  return true;
});
const primorial = smallPrimes.reduce((product, prime) => product * BigInt(prime), 1n);

function smallFactorOf(modulus: bigint): number | undefined {
  const rest = modulus % primorial;
  return smallPrimes.find((prime) => rest % BigInt(prime) === 0n);
}
