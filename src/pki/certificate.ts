import { X509Certificate } from 'node:crypto';
import { noNames, type SubjectNames } from '../identity/subject-names.ts';
import * as der from './der.ts';
import { decodeExtension, extensionOids, readSubjectAltName } from './extensions.ts';
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

const namesRead = new WeakMap<Certificate, SubjectNames>();

/** The subject alternative names (DNS, IP and URI; other kinds are not ours to judge). */
export function subjectNamesIn(certificate: Certificate): SubjectNames {
  const names = namesRead.get(certificate) ?? readSubjectNames(certificate);
  namesRead.set(certificate, names);
  return names;
}

function readSubjectNames(certificate: Certificate): SubjectNames {
  const [tbs] = der.membersOf(der.decodeDer(certificate.der), 'sequence', 'certificate');
  const fields = der.membersOf(tbs, 'sequence', 'TBSCertificate');
  const holder = fields.find((field) => der.isTagged(field, 3));
  if (!holder) return noNames;
  const [list] = der.taggedMembers(holder, 3, 'extensions');
  const san = der
    .membersOf(list, 'sequence', 'extensions')
    .map(decodeExtension)
    .find((extension) => extension.oid === extensionOids.subjectAltName);
  if (!san) return noNames;
  const { dnsNames, ipAddresses, uris } = readSubjectAltName(san.value);
  return { dnsNames, ipAddresses, uris };
}

/** OIDs of extendedKeyUsage; undefined when the certificate has none (and so allows any purpose). */
export function purposeOids(certificate: Certificate): readonly string[] | undefined {
  // Node calls the extended key usages `keyUsage`; its types leave out that it may be undefined.
  return certificate.x509.keyUsage;
}

/** The issuer or subject as one line for people. */
export function oneLine(name: string): string {
  return name === '' ? '(empty)' : name.replaceAll('\n', ', ');
}
