import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/** The kinds of key a pod may have, called as in podCertificate volumes (`keyType`). */
export const keyAlgorithms = [
  'ECDSAP256',
  'ECDSAP384',
  'ED25519',
  'RSA2048',
  'RSA3072',
  'RSA4096',
] as const;
export type KeyAlgorithm = (typeof keyAlgorithms)[number];

export interface KeyPair {
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer;
}

/** Makes new key pairs; a port, because it is slow (RSA) and random. */
export type KeyGenerator = (algorithm: KeyAlgorithm) => Promise<KeyPair>;

export function keyPairOf(privateKey: KeyObject): KeyPair {
  const publicKeyDer = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return { privateKey, publicKeyDer };
}

/** PKCS#8 PEM, the form that every TLS library reads. */
export function privateKeyPem(keyPair: KeyPair): string {
  return keyPair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** Reads a PEM private key (PKCS#8, PKCS#1 or SEC 1). Throws an Error that does not quote it. */
export function keyPairFromPem(pem: string | Buffer): KeyPair {
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch {
    // OpenSSL's own text is of no use to people, and could one day quote its input.
    throw new Error('it is not a PEM private key');
  }
  return keyPairOf(privateKey);
}

export function isRsa(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'rsa';
}
