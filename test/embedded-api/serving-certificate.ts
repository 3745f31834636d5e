import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { certificateFromDer, certificatesPem } from '../../src/pki/certificate.ts';
import * as der from '../../src/pki/der.ts';
import {
  extensionOids,
  keyUsage,
  subjectAltName,
  type Extension,
} from '../../src/pki/extensions.ts';
import {
  issueCertificate,
  selfIssuer,
  type CertificateTemplate,
} from '../../src/pki/issue-certificate.ts';
import { keyPairOf, privateKeyPem, type KeyPair } from '../../src/pki/key-pair.ts';

export interface ServingPair {
  /** Of the root alone, PEM. */
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

const day = 24 * 60 * 60 * 1000;

/** A fresh root, and under it a P-256 pair for a server on the loopback interface. */
export function makeServingPair(now: Date): ServingPair {
  const caKey = newKeyPair();
  const caTemplate = template('embedded-api-ca', caKey, now, [
    extension(extensionOids.basicConstraints, der.sequence(der.boolean(true))),
    keyUsage(['cert sign', 'digital signature']),
  ]);
  const issuer = selfIssuer(caTemplate, caKey.privateKey);
  const key = newKeyPair();
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1', '::1'], uris: [] };
  const serving = template('embedded-api', key, now, [subjectAltName(names, false)]);
  const pem = (of: CertificateTemplate): string =>
    certificatesPem([certificateFromDer(issueCertificate(of, issuer))]);
  return {
    caPem: pem(caTemplate),
    certificatePem: pem(serving),
    keyPem: privateKeyPem(key),
  };
}

function newKeyPair(): KeyPair {
  return keyPairOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

function template(
  commonName: string,
  keyPair: KeyPair,
  now: Date,
  extensions: readonly (Extension | undefined)[],
): CertificateTemplate {
  return {
    commonName,
    validity: {
      notBefore: new Date(now.getTime() - day),
      notAfter: new Date(now.getTime() + 30 * day),
    },
    serial: Uint8Array.of(1, ...randomBytes(15)),
    publicKeyDer: keyPair.publicKeyDer,
    extensions: extensions.filter((each) => each !== undefined),
  };
}

function extension(oid: string, value: der.Der): Extension {
  return { oid, critical: true, value: der.encodeDer(value) };
}
