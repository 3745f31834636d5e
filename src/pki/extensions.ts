import { formatIpAddress, parseIpAddress } from '../identity/ip-address.ts';
import { type SubjectNames } from '../identity/subject-names.ts';
import * as der from './der.ts';
import { type Der } from './der.ts';

export const extensionOids = {
  subjectAltName: '2.5.29.17',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
} as const;

/** Usages as certificates.k8s.io writes them, with their bit of keyUsage or OID of extendedKeyUsage (RFC 5280 4.2.1.3, 4.2.1.12). */
const usageTable = {
  'digital signature': { bit: 0 },
  'key encipherment': { bit: 2 },
  'cert sign': { bit: 5 },
  'crl sign': { bit: 6 },
  'server auth': { oid: '1.3.6.1.5.5.7.3.1' },
  'client auth': { oid: '1.3.6.1.5.5.7.3.2' },
} as const satisfies Record<string, { bit: number } | { oid: string }>;

export type Usage = keyof typeof usageTable;

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** The DER inside the OCTET STRING. */
  readonly value: Buffer;
}

/** An Extension of RFC 5280 4.1 (critical is left out when false, as DER wants a default). */
export function encodeExtension(extension: Extension): Der {
  const { oid, critical, value } = extension;
  return (
    encodings.get(extension) ??
    der.sequence(der.oid(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value))
  );
}

/** Of extensions that are the same in certificate after certificate. */
const encodings = new WeakMap<Extension, Der>();

type OfUsages = (usages: readonly Usage[]) => Extension | undefined;

/** There are few sets of usages: what follows from one is made once. */
function madeOnce(make: OfUsages): OfUsages {
  const made = new Map<string, Extension | undefined>();
  return (usages) => {
    const key = usages.join();
    if (made.has(key)) return made.get(key);
    const extension = make(usages);
    if (extension) encodings.set(extension, der.encoded(der.encodeDer(encodeExtension(extension))));
    made.set(key, extension);
    return extension;
  };
}

/** Throws an Error naming the part that is not an Extension. */
export function decodeExtension(node: Der): Extension {
  const members = der.membersOf(node, 'sequence', 'extension');
  const hasCritical = der.isBoolean(members[1]);
  if (members.length !== (hasCritical ? 3 : 2)) throw new Error('extension has extra members');
  // DER leaves a default out (X.690 11.5).
  if (hasCritical && !der.booleanOf(members[1], 'extension critical'))
    throw new Error('extension writes out that it is not critical');
  return {
    oid: der.oidOf(members[0], 'extension id'),
    critical: hasCritical,
    value: der.octetsOf(members.at(-1), 'extension value'),
  };
}

/** GeneralNames of RFC 5280 4.2.1.6: dNSName [2], uniformResourceIdentifier [6], iPAddress [7]. */
export function subjectAltName(names: SubjectNames, critical: boolean): Extension {
  const value = der.encodeDer(
    der.sequence(
      ...names.dnsNames.map((name) => der.taggedBytes(2, Buffer.from(name, 'latin1'))),
      ...names.ipAddresses.map((address) => der.taggedBytes(7, addressBytes(address))),
      ...names.uris.map((uri) => der.taggedBytes(6, Buffer.from(uri, 'latin1'))),
    ),
  );
  return { oid: extensionOids.subjectAltName, critical, value };
}

function addressBytes(address: string): Uint8Array {
  const bytes = parseIpAddress(address);
  if (!bytes) throw new Error(`${JSON.stringify(address)} is not an IP address`);
  return bytes;
}

/** Names of a subjectAltName's value; other kinds of name are returned as their tag numbers. */
export function readSubjectAltName(
  value: Buffer,
): SubjectNames & { readonly otherKinds: number[] } {
  const dnsNames: string[] = [];
  const ipAddresses: string[] = [];
  const uris: string[] = [];
  const otherKinds: number[] = [];
  for (const node of der.membersOf(der.decodeDer(value), 'sequence', 'subjectAltName')) {
    const tag = der.tagOf(node);
    if (tag === 2) dnsNames.push(der.taggedContent(node, 'dNSName').toString('latin1'));
    else if (tag === 6) uris.push(der.taggedContent(node, 'URI').toString('latin1'));
    else if (tag === 7) ipAddresses.push(readAddress(der.taggedContent(node, 'iPAddress')));
    else otherKinds.push(tag ?? -1);
  }
  return { dnsNames, ipAddresses, uris, otherKinds };
}

function readAddress(bytes: Buffer): string {
  if (bytes.length !== 4 && bytes.length !== 16)
    throw new Error(`an address of ${bytes.length} bytes`);
  return formatIpAddress(bytes);
}

/** keyUsage (critical) of the usages that are bits; undefined when none is. */
export const keyUsage = madeOnce((usages) => {
  let bits = 0;
  for (const usage of usages) {
    const entry = usageTable[usage];
    if ('bit' in entry) bits |= 0x80 >> entry.bit;
  }
  if (bits === 0) return undefined;
  // DER: trailing zero bits of a named bit list are dropped (X.690 11.2.2).
  const unusedBits = 31 - Math.clz32(bits & -bits);
  const value = der.encodeDer(der.bitString(Uint8Array.of(bits), unusedBits));
  return { oid: extensionOids.keyUsage, critical: true, value };
});

/** extendedKeyUsage of the usages that are purposes; undefined when none is. */
export const extendedKeyUsage = madeOnce((usages) => {
  const oids = usages.flatMap((usage) => {
    const entry = usageTable[usage];
    return 'oid' in entry ? [der.oid(entry.oid)] : [];
  });
  if (oids.length === 0) return undefined;
  const value = der.encodeDer(der.sequence(...oids));
  return { oid: extensionOids.extendedKeyUsage, critical: false, value };
});

/**
 * The usages that a certificate with these extensions does not allow. A certificate without
 * extendedKeyUsage allows any purpose, one without keyUsage any use of its key (RFC 5280 4.2.1.3, 4.2.1.12).
 */
export function usagesNotAllowed(
  usages: readonly Usage[],
  extensions: readonly Extension[],
): readonly Usage[] {
  const valueOf = (oid: string): Buffer | undefined =>
    extensions.find((extension) => extension.oid === oid)?.value;
  const bits = valueOf(extensionOids.keyUsage);
  const purposes = valueOf(extensionOids.extendedKeyUsage);
  const allowed = bits && (der.bitsOf(der.decodeDer(bits), 'keyUsage').bytes[0] ?? 0);
  const oids =
    purposes &&
    der
      .membersOf(der.decodeDer(purposes), 'sequence', 'extendedKeyUsage')
      .map((each) => der.oidOf(each, 'purpose'));
  const any = '2.5.29.37.0';
  return usages.filter((usage) => {
    const entry = usageTable[usage];
    if ('bit' in entry) return allowed !== undefined && (allowed & (0x80 >> entry.bit)) === 0;
    return oids !== undefined && !oids.includes(entry.oid) && !oids.includes(any);
  });
}
