import forge from 'node-forge';

const { asn1 } = forge;

/**
 * DER (X.690) on top of forge's codec: builders for what we write, and a strict reader. forge keeps
 * bytes in binary (latin1) strings; that stays inside this file.
 */
export type Der = forge.asn1.Asn1;

const binary = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const universal = asn1.Class.UNIVERSAL;
const contextual = asn1.Class.CONTEXT_SPECIFIC;

export function sequence(...items: readonly Der[]): Der {
  return asn1.create(universal, asn1.Type.SEQUENCE, true, [...items]);
}

/** A SET OF in DER order (X.690 11.6: members sorted by their encoding). */
export function setOf(...items: readonly Der[]): Der {
  const sorted = [...items].sort((a, b) => Buffer.compare(encodeDer(a), encodeDer(b)));
  return asn1.create(universal, asn1.Type.SET, true, sorted);
}

export function oid(dotted: string): Der {
  return asn1.create(universal, asn1.Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

/** A non-negative integer from big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  const first = bytes.findIndex((byte) => byte !== 0);
  const short = first < 0 ? Uint8Array.of(0) : bytes.subarray(first);
  const padded = (short[0] ?? 0) >= 0x80 ? Uint8Array.of(0, ...short) : short;
  return asn1.create(universal, asn1.Type.INTEGER, false, binary(padded));
}

export function boolean(value: boolean): Der {
  return asn1.create(universal, asn1.Type.BOOLEAN, false, value ? '\xff' : '\x00');
}

export function nothing(): Der {
  return asn1.create(universal, asn1.Type.NULL, false, '');
}

export function octetString(bytes: Uint8Array): Der {
  return asn1.create(universal, asn1.Type.OCTETSTRING, false, binary(bytes));
}

/** A BIT STRING of whole bytes, or with `unusedBits` at its end. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Der {
  const content = binary(Uint8Array.of(unusedBits, ...bytes));
  return asn1.create(universal, asn1.Type.BITSTRING, false, content);
}

export function utf8String(text: string): Der {
  return asn1.create(universal, asn1.Type.UTF8, false, forge.util.encodeUtf8(text));
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5). Sub-seconds are dropped. */
export function time(date: Date): Der {
  return date.getUTCFullYear() < 2050
    ? asn1.create(universal, asn1.Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(universal, asn1.Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

/** forge keeps the number of a context tag where universal types stand. */
function tagType(tag: number): forge.asn1.Type {
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- the published types have one field for both
  return tag;
}

/** `[tag] EXPLICIT`: the items inside a constructed context tag. */
export function tagged(tag: number, ...items: readonly Der[]): Der {
  return asn1.create(contextual, tagType(tag), true, [...items]);
}

/** `[tag] IMPLICIT` of a primitive value. */
export function taggedBytes(tag: number, bytes: Uint8Array): Der {
  return asn1.create(contextual, tagType(tag), false, binary(bytes));
}

export function encodeDer(node: Der): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}

/**
 * Strict DER to the last byte: what was read, written again, must be the input. Throws an Error
 * otherwise. Callers cap the size of foreign input before (a megabyte of NULLs costs 126 ms).
 */
export function decodeDer(bytes: Uint8Array): Der {
  const node = asn1.fromDer(forge.util.createBuffer(binary(bytes)), {
    strict: true,
    parseAllBytes: true,
    decodeBitStrings: false,
    // The published types know only the older boolean form of this argument.
  } as unknown as boolean);
  if (!encodeDer(node).equals(bytes)) throw new Error('it is not in DER');
  return node;
}

/** The members of a constructed node of this kind; throws an Error naming `what` otherwise. */
export function membersOf(node: Der | undefined, kind: 'sequence' | 'set', what: string): Der[] {
  const type = kind === 'sequence' ? asn1.Type.SEQUENCE : asn1.Type.SET;
  if (node?.tagClass !== universal || node.type !== type || !Array.isArray(node.value))
    throw new Error(`${what} is not a ${kind.toUpperCase()}`);
  return node.value;
}

/** The members of `[tag]`, constructed. */
export function taggedMembers(node: Der | undefined, tag: number, what: string): Der[] {
  if (!isTagged(node, tag) || !Array.isArray(node.value))
    throw new Error(`${what} is not [${tag}]`);
  return node.value;
}

export function isTagged(node: Der | undefined, tag: number): node is Der {
  return node?.tagClass === contextual && (node.type as number) === tag;
}

/** The number of a context tag, or undefined for another class. */
export function tagOf(node: Der): number | undefined {
  return node.tagClass === contextual ? node.type : undefined;
}

function primitive(node: Der | undefined, type: forge.asn1.Type, what: string): Buffer {
  if (node?.tagClass !== universal || node.type !== type || typeof node.value !== 'string')
    throw new Error(`${what} has another type`);
  return Buffer.from(node.value, 'latin1');
}

export function oidOf(node: Der | undefined, what: string): string {
  const bytes = primitive(node, asn1.Type.OID, what);
  const dotted = asn1.derToOid(bytes.toString('latin1'));
  // The codec reads padded arcs that DER forbids (X.690 8.19.2).
  if (asn1.oidToDer(dotted).getBytes() !== bytes.toString('latin1'))
    throw new Error(`${what} is not in DER`);
  return dotted;
}

export function octetsOf(node: Der | undefined, what: string): Buffer {
  return primitive(node, asn1.Type.OCTETSTRING, what);
}

export function integerOf(node: Der | undefined, what: string): Buffer {
  return primitive(node, asn1.Type.INTEGER, what);
}

export function booleanOf(node: Der | undefined, what: string): boolean {
  const bytes = primitive(node, asn1.Type.BOOLEAN, what);
  if (bytes.length !== 1 || (bytes[0] !== 0 && bytes[0] !== 0xff))
    throw new Error(`${what} is not in DER`);
  return bytes[0] === 0xff;
}

/** The bytes of a BIT STRING and how many bits at its end are unused. */
export function bitsOf(node: Der | undefined, what: string): { bytes: Buffer; unusedBits: number } {
  const content = primitive(node, asn1.Type.BITSTRING, what);
  return { bytes: content.subarray(1), unusedBits: content[0] ?? 0 };
}

/** The text of a UTF8String, PrintableString or IA5String. */
export function textOf(node: Der | undefined, what: string): string {
  const kinds = [asn1.Type.UTF8, asn1.Type.PRINTABLESTRING, asn1.Type.IA5STRING];
  const type = kinds.find((each) => each === node?.type) ?? asn1.Type.UTF8;
  return primitive(node, type, what).toString('utf8');
}

/** The content bytes of a primitive context-tagged value. */
export function taggedContent(node: Der, what: string): Buffer {
  if (typeof node.value !== 'string') throw new Error(`${what} is not primitive`);
  return Buffer.from(node.value, 'latin1');
}

export function isBoolean(node: Der | undefined): boolean {
  return node?.tagClass === universal && node.type === asn1.Type.BOOLEAN;
}
