import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import { keyPairOf } from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';

const keyPairs = {
  p256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ed25519: () => generateKeyPairSync('ed25519'),
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
} satisfies Record<string, () => { privateKey: KeyObject }>;

export type KeyKind = keyof typeof keyPairs;

/** A good certification request, DER; every call has a new key. */
export function certificationRequestDer(kind: KeyKind = 'p256'): Buffer {
  const names = { dnsNames: ['web.contract.svc'], ipAddresses: [], uris: [] };
  const usages = ['digital signature', 'server auth'] as const;
  return buildCertificationRequest({ names, usages }, keyPairOf(keyPairs[kind]().privateKey));
}

export function certificationRequestPem(der = certificationRequestDer()): string {
  return encodePem('CERTIFICATE REQUEST', der);
}

/** One bit of the last byte turned: still a well-formed signature, but of other bytes. */
export function brokenSignature(): Buffer {
  const der = certificationRequestDer();
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  return der;
}

/** Asks for another name than was signed. */
export function forgedName(): Buffer {
  const der = certificationRequestDer();
  der.write('xeb.contract.svc', der.indexOf('web.contract.svc'));
  return der;
}
