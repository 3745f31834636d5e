import { generateKeyPair, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { keyPairOf, type KeyAlgorithm, type KeyGenerator } from '../pki/key-pair.ts';

/** RSA in the background, because an RSA-4096 key takes up to a second and must not hold up the probes. */
export const generateKey: KeyGenerator = async (algorithm) =>
  keyPairOf(await privateKeyFor(algorithm));

function privateKeyFor(algorithm: KeyAlgorithm): KeyObject | Promise<KeyObject> {
  switch (algorithm) {
    case 'ECDSAP256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'ECDSAP384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    case 'ED25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'RSA2048':
      return rsaKey(2048);
    case 'RSA3072':
      return rsaKey(3072);
    case 'RSA4096':
      return rsaKey(4096);
  }
}

function rsaKey(modulusLength: number): Promise<KeyObject> {
  return new Promise((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength }, (error, _, privateKey) => {
      if (error) reject(error);
      else resolve(privateKey);
    });
  });
}
