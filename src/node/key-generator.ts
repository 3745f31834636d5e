import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { keyPairOf, type KeyAlgorithm, type KeyGenerator } from '../pki/key-pair.ts';

const generate = promisify(generateKeyPair);

/** Asynchronous, because an RSA-4096 key takes up to a second and must not hold up the probes. */
export const generateKey: KeyGenerator = async (algorithm) =>
  keyPairOf((await generateFor(algorithm)).privateKey);

function generateFor(algorithm: KeyAlgorithm): Promise<{ privateKey: KeyObject }> {
  switch (algorithm) {
    case 'ECDSAP256':
      return generate('ec', { namedCurve: 'P-256' });
    case 'ECDSAP384':
      return generate('ec', { namedCurve: 'P-384' });
    case 'ED25519':
      return generate('ed25519');
    case 'RSA2048':
      return generate('rsa', { modulusLength: 2048 });
    case 'RSA3072':
      return generate('rsa', { modulusLength: 3072 });
    case 'RSA4096':
      return generate('rsa', { modulusLength: 4096 });
  }
}
