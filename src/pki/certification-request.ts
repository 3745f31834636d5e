import { createPublicKey, type KeyObject } from 'node:crypto';
import { type SubjectNames } from '../identity/subject-names.ts';
import * as der from './der.ts';
import {
  decodeExtension,
  encodeExtension,
  extendedKeyUsage,
  extensionOids,
  keyUsage,
  readSubjectAltName,
  subjectAltName,
  type Extension,
  type Usage,
} from './extensions.ts';
import { type KeyPair } from './key-pair.ts';
import { distinguishedName, readDistinguishedName } from './distinguished-name.ts';
import { encodePem } from './pem.ts';
import { signatureIdentifier, signDer, verifyDer } from './signature.ts';

const extensionRequest = '1.2.840.113549.1.9.14';

export interface CertificationRequestContent {
  readonly names: SubjectNames;
  /** None: the subject is empty and the names stand in a critical SAN (RFC 5280 4.1.2.6). */
  readonly commonName?: string | undefined;
  readonly usages: readonly Usage[];
}

/**
 * A signed PKCS#10 certification request (RFC 2986), DER. Names and usages stand in an
 * extensionRequest attribute (RFC 2985 5.4.2), so that openssl and cfssl can copy them.
 */
export function buildCertificationRequest(
  content: CertificationRequestContent,
  keyPair: KeyPair,
): Buffer {
  const extensions = [
    subjectAltName(content.names, content.commonName === undefined),
    keyUsage(content.usages),
    extendedKeyUsage(content.usages),
  ].filter((extension) => extension !== undefined);
  const info = der.sequence(
    der.integer(Uint8Array.of(0)),
    distinguishedName(content.commonName),
    der.decodeDer(keyPair.publicKeyDer),
    der.tagged(
      0,
      der.sequence(
        der.oid(extensionRequest),
        der.setOf(der.sequence(...extensions.map(encodeExtension))),
      ),
    ),
  );
  const signed = der.encodeDer(info);
  return der.encodeDer(
    der.sequence(
      info,
      signatureIdentifier(keyPair.privateKey),
      der.bitString(signDer(signed, keyPair.privateKey)),
    ),
  );
}

/** What a certification request asks for, after its signature was verified. */
export interface CertificationRequest {
  readonly commonName: string | undefined;
  readonly names: SubjectNames;
  readonly extensions: readonly Extension[];
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer;
}

/** More than any honest request needs: 250 names of 253 characters fit. */
export const maximumBytes = 96 * 1024;

/**
 * Reads a DER certification request and verifies its signature over the very bytes received.
 * Strict: one extensionRequest at most, nothing besides it, no name kind but DNS, IP and URI.
 * Throws an Error that says what is wrong, in words that fit after "the certification request: ".
 */
export function parseCertificationRequest(bytes: Buffer): CertificationRequest {
  if (bytes.length > maximumBytes)
    throw new Error(`it has ${bytes.length} bytes, more than ${maximumBytes}`);
  const [info, algorithm, signature, ...more] = der.membersOf(
    der.decodeDer(bytes),
    'sequence',
    'certification request',
  );
  if (more.length > 0) throw new Error('it has more than three parts');
  const [version, subject, publicKeyInfo, attributes, ...rest] = der.membersOf(
    info,
    'sequence',
    'CertificationRequestInfo',
  );
  if (!info || !algorithm || !subject || !publicKeyInfo || rest.length > 0)
    throw new Error('CertificationRequestInfo does not have its four parts');
  if (!der.integerOf(version, 'version').equals(Buffer.of(0)))
    throw new Error('its version is not 0');
  const publicKeyDer = der.encodeDer(publicKeyInfo);
  const publicKey = readPublicKey(publicKeyDer);
  const bits = der.bitsOf(signature, 'signature');
  const isSigned =
    bits.unusedBits === 0 &&
    // decodeDer has proved that encoding again gives the received bytes.
    verifyDer(der.encodeDer(info), { algorithm, bytes: bits.bytes }, publicKey);
  if (!isSigned)
    throw new Error(
      'its signature does not verify with its own public key; accepted are ECDSA and ' +
        'RSA PKCS#1 v1.5 with SHA-256, 384 or 512, and Ed25519',
    );
  const extensions = requestedExtensions(attributes);
  return {
    commonName: readDistinguishedName(subject),
    names: requestedNames(extensions),
    extensions,
    publicKey,
    publicKeyDer,
  };
}

function readPublicKey(publicKeyDer: Buffer): KeyObject {
  try {
    // As text: of an object Node finds out by exceptions whether it is a key, which costs more than to read one.
    return createPublicKey(encodePem('PUBLIC KEY', publicKeyDer));
  } catch {
    // OpenSSL's own text tells nobody anything.
    throw new Error('its public key cannot be read');
  }
}

function requestedExtensions(attributes: der.Der | undefined): Extension[] {
  const all = attributes ? der.taggedMembers(attributes, 0, 'attributes') : [];
  if (all.length > 1) throw new Error('it has more than one attribute');
  const [attribute] = all;
  if (!attribute) return [];
  const [type, values, ...more] = der.membersOf(attribute, 'sequence', 'attribute');
  if (der.oidOf(type, 'attribute type') !== extensionRequest || more.length > 0)
    throw new Error('it has an attribute other than extensionRequest');
  const [value, ...moreValues] = der.membersOf(values, 'set', 'attribute values');
  if (moreValues.length > 0) throw new Error('its extensionRequest has more than one value');
  const extensions = der.membersOf(value, 'sequence', 'extensions').map(decodeExtension);
  const oids = new Set(extensions.map((extension) => extension.oid));
  if (oids.size !== extensions.length) throw new Error('it asks for an extension twice');
  return extensions;
}

function requestedNames(extensions: readonly Extension[]): SubjectNames {
  const san = extensions.find((extension) => extension.oid === extensionOids.subjectAltName);
  if (!san) throw new Error('it has no subject alternative names');
  const { otherKinds, ...names } = readSubjectAltName(san.value);
  if (otherKinds.length > 0)
    throw new Error(
      `it has names of a kind other than DNS, IP and URI ([${otherKinds.join(', ')}])`,
    );
  return names;
}
