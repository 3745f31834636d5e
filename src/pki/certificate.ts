import { X509Certificate } from 'node:crypto';
import { noNames, type SubjectNames } from '../identity/subject-names.ts';
import * as der from './der.ts';
import {
  decodeExtension,
  extensionOids,
  readSubjectAltName,
  type Extension,
} from './extensions.ts';
import { decodePem, encodePem } from './pem.ts';
import { sha256Hex } from './signature.ts';

/** Our view of an X.509 certificate. */
export interface Certificate {
  readonly der: Buffer;
  readonly x509: X509Certificate;
  readonly validity: Validity;
  /** Upper-case hex, as openssl prints it. */
  readonly serial: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer;
}

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Throws an Error when the bytes are no certificate. */
export function certificateFromDer(bytes: Buffer): Certificate {
  const x509 = new X509Certificate(bytes);
  let publicKeyDer: Buffer | undefined;
  return {
    der: bytes,
    x509,
    validity: { notBefore: x509.validFromDate, notAfter: x509.validToDate },
    serial: x509.serialNumber,
    fingerprint: sha256Hex(bytes),
    // Of most certificates nobody asks for it.
    get publicKeyDer() {
      publicKeyDer ??= x509.publicKey.export({ type: 'spki', format: 'der' });
      return publicKeyDer;
    },
  };
}

/** The same few texts are read again at every look, and each X509Certificate holds native memory that V8 does not count. */
const recent = new Map<string, readonly Certificate[]>();
const recentTexts = 8;

/**
 * The certificates of a PEM text, in its order. Throws an Error naming the block that is no
 * certificate; a text without any block is an empty list.
 */
export function certificatesFromPem(pem: string): readonly Certificate[] {
  const known = recent.get(pem);
  if (known) return known;
  const certificates = decodePem(pem).map((block, index) => {
    if (block.label !== 'CERTIFICATE')
      throw new Error(`PEM block ${index + 1} is a ${block.label}, not a CERTIFICATE`);
    try {
      return certificateFromDer(block.der);
    } catch {
      throw new Error(`PEM block ${index + 1} does not hold an X.509 certificate`);
    }
  });
  for (const oldest of [...recent.keys()].slice(0, recent.size - recentTexts + 1))
    recent.delete(oldest);
  recent.set(pem, certificates);
  return certificates;
}

export function certificatesPem(certificates: readonly Certificate[]): string {
  return certificates.map((each) => encodePem('CERTIFICATE', each.der)).join('');
}

const extensionsRead = new WeakMap<Certificate, readonly Extension[]>();

/** The certificate's extensions. Throws an Error that says what is not DER. */
export function extensionsOf(certificate: Certificate): readonly Extension[] {
  const extensions = extensionsRead.get(certificate) ?? readExtensions(certificate);
  extensionsRead.set(certificate, extensions);
  return extensions;
}

function readExtensions(certificate: Certificate): readonly Extension[] {
  const [tbs] = der.membersOf(der.decodeDer(certificate.der), 'sequence', 'certificate');
  const holder = der
    .membersOf(tbs, 'sequence', 'TBSCertificate')
    .find((field) => der.isTagged(field, 3));
  if (!holder) return [];
  const [list] = der.taggedMembers(holder, 3, 'extensions');
  return der.membersOf(list, 'sequence', 'extensions').map(decodeExtension);
}

/**
 * The subject alternative names (DNS, IP and URI; other kinds are not ours to judge). Throws an
 * Error that says what in them cannot be read.
 */
export function subjectNamesIn(certificate: Certificate): SubjectNames {
  const san = extensionsOf(certificate).find(
    (extension) => extension.oid === extensionOids.subjectAltName,
  );
  if (!san) return noNames;
  const { dnsNames, ipAddresses, uris } = readSubjectAltName(san.value);
  return { dnsNames, ipAddresses, uris };
}

/** The issuer or subject as one line for people. */
export function oneLine(name: string): string {
  return name === '' ? '(empty)' : name.replaceAll('\n', ', ');
}
