import {
  classMask,
  constructed,
  contextual,
  decodeElement,
  constructedOf,
  contentOf,
  type Element,
  encodedElement,
  encodeElement,
  numberMask,
  primitive,
  universal,
} from './der-element.ts';

/** DER (X.690): builders for what we write, and readers of single values. The bytes: der-element.ts. */
export type Der = Element;

export function sequence(...items: readonly Der[]): Der {
  return constructedOf(universal.sequence, items);
}

/** A SET OF in DER order (X.690 11.6: members sorted by their encoding). */
export function setOf(...items: readonly Der[]): Der {
  if (items.length < 2) return constructedOf(universal.set, items);
  const sorted = [...items].sort((a, b) => Buffer.compare(encodeDer(a), encodeDer(b)));
  return constructedOf(universal.set, sorted);
}

/** The few that we write, by their text, and their texts by content: both are needed over and over. */
const knownOids = new Map<string, Der>();
const knownTexts = new Map<string, string>();

export function oid(dotted: string): Der {
  const known = knownOids.get(dotted);
  if (known) return known;
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const arcs = [first * 40 + second, ...rest];
  const content = Buffer.from(arcs.flatMap(arcBytes));
  const made = primitive(universal.oid, content);
  knownOids.set(dotted, made);
  knownTexts.set(content.toString('latin1'), dotted);
  return made;
}

/** Base 128, the highest bit of every byte but the last is set. */
function arcBytes(arc: number): number[] {
  const bytes = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    bytes.unshift((rest % 128) | 0x80);
  return bytes;
}

/** A non-negative integer from big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  const first = bytes.findIndex((byte) => byte !== 0);
  const short = first < 0 ? Uint8Array.of(0) : bytes.subarray(first);
  const padded = (short[0] ?? 0) >= 0x80 ? Uint8Array.of(0, ...short) : short;
  return primitive(universal.integer, padded);
}

export function boolean(value: boolean): Der {
  return primitive(universal.boolean, Uint8Array.of(value ? 0xff : 0x00));
}

export function nothing(): Der {
  return primitive(universal.null, new Uint8Array(0));
}

export function octetString(bytes: Uint8Array): Der {
  return primitive(universal.octetString, bytes);
}

/** A BIT STRING of whole bytes, or with `unusedBits` at its end. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Der {
  const content = Buffer.allocUnsafe(bytes.length + 1);
  content[0] = unusedBits;
  content.set(bytes, 1);
  return primitive(universal.bitString, content);
}

export function utf8String(text: string): Der {
  return primitive(universal.utf8String, Buffer.from(text, 'utf8'));
}

/** UTF-16 in big-endian order, as PKCS#12 wants its names. */
export function bmpString(text: string): Der {
  return primitive(universal.bmpString, Buffer.from(text, 'utf16le').swap16());
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5). Sub-seconds are dropped. */
export function time(date: Date): Der {
  const year = date.getUTCFullYear();
  const [kind, shownYear] =
    year < 2050 ? [universal.utcTime, two(year % 100)] : [universal.generalizedTime, String(year)];
  const day = two(date.getUTCMonth() + 1) + two(date.getUTCDate());
  const clock = two(date.getUTCHours()) + two(date.getUTCMinutes()) + two(date.getUTCSeconds());
  return primitive(kind, Buffer.from(`${shownYear}${day}${clock}Z`, 'latin1'));
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/** `[tag] EXPLICIT`: the items inside a constructed context tag. */
export function tagged(tag: number, ...items: readonly Der[]): Der {
  return constructedOf(contextual | constructed | tag, items);
}

/** `[tag] IMPLICIT` of a primitive value. */
export function taggedBytes(tag: number, bytes: Uint8Array): Der {
  return primitive(contextual | tag, bytes);
}

/** What `encodeDer` gave before, to be written into something else as it is. */
export function encoded(bytes: Buffer): Der {
  return encodedElement(bytes);
}

export function encodeDer(node: Der): Buffer {
  return encodeElement(node);
}

/**
 * Strict DER to the last byte: what was read, written again, is the input. Throws an Error otherwise.
 * Callers cap the size of foreign input before.
 */
export function decodeDer(bytes: Uint8Array): Der {
  return decodeElement(bytes);
}

/** The members of a constructed node of this kind; throws an Error naming `what` otherwise. */
export function membersOf(
  node: Der | undefined,
  kind: 'sequence' | 'set',
  what: string,
): readonly Der[] {
  if (node?.identifier !== universal[kind] || !node.members)
    throw new Error(`${what} is not a ${kind.toUpperCase()}`);
  return node.members;
}

/** The members of `[tag]`, constructed. */
export function taggedMembers(node: Der | undefined, tag: number, what: string): readonly Der[] {
  if (!isTagged(node, tag) || !node.members) throw new Error(`${what} is not [${tag}]`);
  return node.members;
}

export function isTagged(node: Der | undefined, tag: number): node is Der {
  return node !== undefined && tagOf(node) === tag;
}

/** The number of a context tag, or undefined for another class. */
export function tagOf(node: Der): number | undefined {
  return (node.identifier & classMask) === contextual ? node.identifier & numberMask : undefined;
}

function bytesOf(node: Der | undefined, identifier: number, what: string): Buffer {
  if (node?.identifier !== identifier || node.members) throw new Error(`${what} has another type`);
  return contentOf(node);
}

export function oidOf(node: Der | undefined, what: string): string {
  const content = bytesOf(node, universal.oid, what);
  const known = knownTexts.get(content.toString('latin1'));
  if (known !== undefined) return known;
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) throw new Error(`${what} is too large`);
    if (byte >= 0x80) continue;
    const top = arcs.length === 0 ? Math.min(2, Math.floor(arc / 40)) : undefined;
    if (top === undefined) arcs.push(arc);
    else arcs.push(top, arc - top * 40);
    arc = 0;
  }
  return arcs.join('.');
}

export function octetsOf(node: Der | undefined, what: string): Buffer {
  return bytesOf(node, universal.octetString, what);
}

export function integerOf(node: Der | undefined, what: string): Buffer {
  return bytesOf(node, universal.integer, what);
}

export function booleanOf(node: Der | undefined, what: string): boolean {
  return bytesOf(node, universal.boolean, what)[0] === 0xff;
}

/** The bytes of a BIT STRING and how many bits at its end are unused. */
export function bitsOf(node: Der | undefined, what: string): { bytes: Buffer; unusedBits: number } {
  const content = bytesOf(node, universal.bitString, what);
  return { bytes: content.subarray(1), unusedBits: content[0] ?? 0 };
}

/** The text of a UTF8String, PrintableString or IA5String. */
export function textOf(node: Der | undefined, what: string): string {
  const kinds = [universal.printableString, universal.ia5String];
  const identifier = kinds.find((each) => each === node?.identifier) ?? universal.utf8String;
  const content = bytesOf(node, identifier, what);
  const text = content.toString('utf8');
  // The other two kinds are of ASCII.
  const isText =
    identifier === universal.utf8String
      ? Buffer.from(text, 'utf8').equals(content)
      : content.every((byte) => byte < 0x80);
  if (!isText) throw new Error(`${what} is no text`);
  return text;
}

/** The content bytes of a primitive context-tagged value. */
export function taggedContent(node: Der, what: string): Buffer {
  if (node.members) throw new Error(`${what} is not primitive`);
  return contentOf(node);
}

export function isBoolean(node: Der | undefined): boolean {
  return node?.identifier === universal.boolean;
}
