import { hash, type KeyObject } from 'node:crypto';
import { type Certificate, type Validity } from './certificate.ts';
import * as der from './der.ts';
import { distinguishedName } from './distinguished-name.ts';
import { encodeExtension, extensionOids, type Extension } from './extensions.ts';
import { signatureIdentifier, signDer } from './signature.ts';

/** All that a certificate says, before its key identifiers and signature. */
export interface CertificateTemplate {
  /** Undefined: an empty subject. */
  readonly commonName: string | undefined;
  readonly validity: Validity;
  /** Positive, big-endian, at most 20 bytes (RFC 5280 4.1.2.2). */
  readonly serial: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer;
  readonly extensions: readonly Extension[];
}

/** Who signs: a CA, or for a root the template's own name and key. What is the same in each certificate is encoded once. */
export interface CertificateIssuer {
  readonly subject: der.Der;
  readonly authorityKeyIdentifier: der.Der;
  readonly privateKey: KeyObject;
}

/** A signed X.509 v3 certificate (RFC 5280 4.1), DER. */
export function issueCertificate(template: CertificateTemplate, issuer: CertificateIssuer): Buffer {
  const identifier = signatureIdentifier(issuer.privateKey);
  const tbs = der.encodeDer(
    der.sequence(
      version3,
      der.integer(template.serial),
      identifier,
      issuer.subject,
      der.sequence(der.time(template.validity.notBefore), der.time(template.validity.notAfter)),
      distinguishedName(template.commonName),
      der.encoded(template.publicKeyDer),
      der.tagged(
        3,
        der.sequence(
          ...template.extensions.map(encodeExtension),
          encodeExtension(subjectKeyIdentifierOf(template.publicKeyDer)),
          issuer.authorityKeyIdentifier,
        ),
      ),
    ),
  );
  const signature = signDer(tbs, issuer.privateKey);
  return der.encodeDer(der.sequence(der.encoded(tbs), identifier, der.bitString(signature)));
}

const version3 = der.tagged(0, der.integer(Uint8Array.of(2)));

/** A self-signed root's issuer: itself. */
export function selfIssuer(
  template: CertificateTemplate,
  privateKey: KeyObject,
): CertificateIssuer {
  return {
    subject: distinguishedName(template.commonName),
    authorityKeyIdentifier: authorityKeyIdentifierOf(keyIdentifierOf(template.publicKeyDer)),
    privateKey,
  };
}

/** A CA's certificate and key as an issuer; its own key identifier is copied, not computed again (openssl: error 20). */
export function issuerFrom(ca: Certificate, privateKey: KeyObject): CertificateIssuer {
  const tbs = der.membersOf(der.decodeDer(ca.der), 'sequence', 'certificate')[0];
  const fields = der.membersOf(tbs, 'sequence', 'TBSCertificate');
  const subject = fields[5];
  if (!subject) throw new Error('the CA certificate has no subject');
  const keyIdentifier = keyIdentifierIn(fields) ?? keyIdentifierOf(ca.publicKeyDer);
  return {
    subject,
    authorityKeyIdentifier: authorityKeyIdentifierOf(keyIdentifier),
    privateKey,
  };
}

function keyIdentifierIn(fields: readonly der.Der[]): Buffer | undefined {
  const holder = fields.find((field) => der.isTagged(field, 3));
  if (!holder) return undefined;
  const wanted = extensionOids.subjectKeyIdentifier;
  for (const node of der.membersOf(
    der.taggedMembers(holder, 3, 'extensions')[0],
    'sequence',
    'extensions',
  )) {
    const [id, ...rest] = der.membersOf(node, 'sequence', 'extension');
    if (der.oidOf(id, 'extension id') === wanted)
      return der.octetsOf(
        der.decodeDer(der.octetsOf(rest.at(-1), 'extension value')),
        'subjectKeyIdentifier',
      );
  }
  return undefined;
}

/** SHA-1 of the public key's bits (RFC 5280 4.2.1.2, method 1): an identifier, no protection. */
function keyIdentifierOf(publicKeyDer: Buffer): Buffer {
  const [, bits] = der.membersOf(der.decodeDer(publicKeyDer), 'sequence', 'public key');
  return hash('sha1', der.bitsOf(bits, 'public key').bytes, 'buffer');
}

function subjectKeyIdentifierOf(publicKeyDer: Buffer): Extension {
  return {
    oid: extensionOids.subjectKeyIdentifier,
    critical: false,
    value: der.encodeDer(der.octetString(keyIdentifierOf(publicKeyDer))),
  };
}

function authorityKeyIdentifierOf(keyIdentifier: Buffer): der.Der {
  const value = der.encodeDer(der.sequence(der.taggedBytes(0, keyIdentifier)));
  const extension = encodeExtension({
    oid: extensionOids.authorityKeyIdentifier,
    critical: false,
    value,
  });
  return der.encoded(der.encodeDer(extension));
}
