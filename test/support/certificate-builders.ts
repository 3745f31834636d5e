import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { noNames, type SubjectNames } from '../../src/identity/subject-names.ts';
import {
  certificateFromDer,
  certificatesPem,
  type Certificate,
  type Validity,
} from '../../src/pki/certificate.ts';
import * as der from '../../src/pki/der.ts';
import {
  extendedKeyUsage,
  extensionOids,
  keyUsage,
  subjectAltName,
  type Extension,
  type Usage,
} from '../../src/pki/extensions.ts';
import { issueCertificate, issuerFrom, selfIssuer } from '../../src/pki/issue-certificate.ts';
import { keyPairOf, type KeyPair } from '../../src/pki/key-pair.ts';

/** The moment at which the unit tests take place. */
export const noon = new Date('2026-06-01T12:00:00Z');

const minuteMs = 60_000;

export const hourMs = 60 * minuteMs;

export const dayMs = 24 * hourMs;

/** `noon` and some milliseconds. */
export function atNoonPlus(ms: number): Date {
  return new Date(noon.getTime() + ms);
}

/** One day around noon: valid since 11:55 today. */
export const today: Validity = {
  notBefore: atNoonPlus(-5 * minuteMs),
  notAfter: atNoonPlus(dayMs - 5 * minuteMs),
};

const years: Validity = { notBefore: atNoonPlus(-365 * dayMs), notAfter: atNoonPlus(365 * dayMs) };

export const tlsUsages: readonly Usage[] = ['digital signature', 'server auth', 'client auth'];

export function dnsNames(...names: readonly string[]): SubjectNames {
  return { ...noNames, dnsNames: names };
}

/** A P-256 key, at once. */
export function newKey(): KeyPair {
  return keyPairOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

/** A CA with its key, to sign with. */
export interface TestCa {
  readonly certificate: Certificate;
  readonly keyPair: KeyPair;
  readonly pem: string;
}

export interface CaRequest {
  readonly commonName?: string;
  readonly validity?: Validity;
  readonly keyPair?: KeyPair;
  /** Undefined: self-signed. */
  readonly parent?: TestCa;
  /** false: basicConstraints says that it is none. */
  readonly isCa?: boolean;
  /** Besides basicConstraints and keyUsage. */
  readonly extensions?: readonly Extension[];
}

/** A root, or an intermediate of `parent`; without name constraints unless they are among its extensions. */
export function newCa(request: CaRequest = {}): TestCa {
  const { commonName = 'test root', validity = years, parent, isCa = true } = request;
  const keyPair = request.keyPair ?? newKey();
  const template = {
    commonName,
    validity,
    serial: newSerial(),
    publicKeyDer: keyPair.publicKeyDer,
    extensions: defined([
      basicConstraints(isCa),
      keyUsage(['digital signature', 'cert sign', 'crl sign']),
      ...(request.extensions ?? []),
    ]),
  };
  const issuer = parent
    ? issuerFrom(parent.certificate, parent.keyPair.privateKey)
    : selfIssuer(template, keyPair.privateKey);
  const certificate = certificateFromDer(issueCertificate(template, issuer));
  return { certificate, keyPair, pem: certificatesPem([certificate]) };
}

export interface LeafRequest {
  readonly keyPair?: KeyPair;
  readonly names?: SubjectNames;
  readonly usages?: readonly Usage[];
  readonly validity?: Validity;
  /** Instead of the ones that follow from names and usages. */
  readonly extensions?: readonly Extension[];
}

export function newLeaf(ca: TestCa, request: LeafRequest = {}): Certificate {
  const { keyPair = newKey(), names = dnsNames('web.shop.svc'), usages = tlsUsages } = request;
  const extensions =
    request.extensions ??
    defined([
      subjectAltName(names, true),
      keyUsage(usages),
      extendedKeyUsage(usages),
      basicConstraints(false),
    ]);
  const template = {
    commonName: undefined,
    validity: request.validity ?? today,
    serial: newSerial(),
    publicKeyDer: keyPair.publicKeyDer,
    extensions,
  };
  const issuer = issuerFrom(ca.certificate, ca.keyPair.privateKey);
  return certificateFromDer(issueCertificate(template, issuer));
}

export function basicConstraints(isCa: boolean): Extension {
  const value = der.encodeDer(isCa ? der.sequence(der.boolean(true)) : der.sequence());
  return { oid: extensionOids.basicConstraints, critical: true, value };
}

/** 16 random bytes with the first bit clear: positive. */
function newSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function defined<T>(items: readonly (T | undefined)[]): T[] {
  return items.filter((item) => item !== undefined);
}
