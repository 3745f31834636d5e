/**
 * Elements of DER (X.690) as bytes, in both directions. Only what certificates need: tag numbers up to
 * 30, definite lengths, no strings in parts. What is made of them: der.ts.
 */

export interface Element {
  /** Class, form and tag number: the first byte of its encoding. */
  readonly identifier: number;
  /** Of its encoding, all in all. */
  readonly size: number;
  /** The content of a primitive element that is to be written. */
  readonly bytes: Uint8Array | undefined;
  /** The content of a constructed one. */
  readonly members: readonly Element[] | undefined;
  /** What it was read from, and where it begins there. */
  readonly source: Buffer | undefined;
  readonly at: number;
}

/** The content of a primitive element. Made when it is asked for: nobody asks for most of what is read. */
export function contentOf({ bytes, source, at, size }: Element): Buffer {
  if (!source) return bufferOf(bytes ?? new Uint8Array(0));
  const first = source[at + 1] ?? 0;
  const start = at + 2 + (first < 0x80 ? 0 : first & 0x7f);
  return source.subarray(start, at + size);
}

/** Identifiers of the universal class, with their form. */
export const universal = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Bits of an identifier. */
export const constructed = 0x20;
export const contextual = 0x80;
export const classMask = 0xc0;
export const numberMask = 0x1f;

/** A primitive one, to be written. */
export function primitive(identifier: number, bytes: Uint8Array): Element {
  const size = sizeWith(bytes.length);
  return { identifier, size, bytes, members: undefined, source: undefined, at: 0 };
}

/** A constructed one, to be written. */
export function constructedOf(identifier: number, members: readonly Element[]): Element {
  const size = sizeWith(sizeOf(members));
  return { identifier, size, bytes: undefined, members, source: undefined, at: 0 };
}

/** One that stands encoded already, to be written as it is; nobody can look into it. */
export function encodedElement(source: Buffer): Element {
  const identifier = source[0] ?? 0;
  return { identifier, size: source.length, bytes: undefined, members: undefined, source, at: 0 };
}

/** The same bytes. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function sizeOf(members: readonly Element[]): number {
  let sum = 0;
  for (const { size } of members) sum += size;
  return sum;
}

/** Bytes of a length beyond its first: none below 128, else as few as hold the number (X.690 10.1). */
function moreLengthBytes(length: number): number {
  if (length < 0x80) return 0;
  if (length < 0x100) return 1;
  if (length < 0x1_0000) return 2;
  return length < 0x100_0000 ? 3 : 4;
}

function sizeWith(length: number): number {
  return 2 + moreLengthBytes(length) + length;
}

/** Of what was read, the very bytes that were read. */
export function encodeElement(node: Element): Buffer {
  const { source, at, size } = node;
  if (source) return source.subarray(at, at + size);
  const target = Buffer.allocUnsafe(size);
  write(node, target, 0);
  return target;
}

const none: readonly Element[] = [];

function write(node: Element, target: Buffer, to: number): void {
  const { identifier, bytes, members = none, size, source, at } = node;
  if (source) {
    source.copy(target, to, at, at + size);
    return;
  }
  const length = bytes ? bytes.length : sizeOf(members);
  const more = moreLengthBytes(length);
  target[to] = identifier;
  target[to + 1] = more === 0 ? length : 0x80 | more;
  if (more > 0) target.writeUIntBE(length, to + 2, more);
  let next = to + 2 + more;
  if (bytes) target.set(bytes, next);
  for (const member of members) {
    write(member, target, next);
    next += member.size;
  }
}

/** Certificates need some ten levels; a request of nothing but nested SEQUENCEs must not exhaust the stack. */
const maximumDepth = 32;

/**
 * Strict DER to the last byte: there is one encoding of what is returned, and it is the input. Throws
 * an Error otherwise. What is read shares its memory with the input.
 */
export function decodeElement(bytes: Uint8Array): Element {
  const input = bufferOf(bytes);
  const node = read(input, 0, input.length, maximumDepth);
  if (node.size !== input.length) throw notDer();
  return node;
}

function notDer(): Error {
  return new Error('it is not in DER');
}

/** The element that begins at `at`, and ends at `limit` or before. */
function read(input: Buffer, at: number, limit: number, depth: number): Element {
  const identifier = input[at] ?? 0;
  const { start, end } = extent(input, at, limit);
  if (end > limit || depth === 0 || !isKnown(identifier)) throw notDer();
  const size = end - at;
  if ((identifier & constructed) === 0) {
    if (!(canonical.get(identifier)?.(input, start, end) ?? true)) throw notDer();
    return { identifier, size, bytes: undefined, members: undefined, source: input, at };
  }
  const members: Element[] = [];
  for (let next = start; next < end;) {
    const member = read(input, next, end, depth - 1);
    members.push(member);
    next += member.size;
  }
  return { identifier, size, bytes: undefined, members, source: input, at };
}

/** Where the content of the element at `at` begins and ends, by its length. */
function extent(input: Buffer, at: number, limit: number): { start: number; end: number } {
  const start = at + 2;
  if (start > limit) throw notDer();
  const first = input[at + 1] ?? 0;
  if (first < 0x80) return { start, end: start + first };
  const more = first & 0x7f;
  // None: the length is indefinite.
  if (more === 0 || more > 4 || start + more > limit) throw notDer();
  const length = input.readUIntBE(start, more);
  if (moreLengthBytes(length) !== more) throw notDer();
  return { start: start + more, end: start + more + length };
}

/** In the universal class the kind decides whether there are members (X.690 10.2). */
function isKnown(identifier: number): boolean {
  // 31: the tag number follows in bytes of its own.
  if ((identifier & numberMask) === numberMask) return false;
  if ((identifier & classMask) !== 0) return true;
  const isOfMembers = identifier === universal.sequence || identifier === universal.set;
  if ((identifier & constructed) !== 0) return isOfMembers;
  const number = identifier | constructed;
  // 0 would end an indefinite length.
  return identifier !== 0 && number !== universal.sequence && number !== universal.set;
}

/** Looks at the bytes from `start` on, before `end`. */
type Check = (input: Buffer, start: number, end: number) => boolean;

/** Of kinds whose values have several encodings in BER: whether this is the one of DER (X.690 8, 11). */
const canonical: ReadonlyMap<number, Check> = new Map<number, Check>([
  [universal.boolean, isTrueOrFalse],
  [universal.integer, isShortest],
  [universal.enumerated, isShortest],
  [universal.bitString, hasSpareZeros],
  [universal.null, (_input, start, end) => start === end],
  [universal.oid, isCanonicalOid],
]);

function isTrueOrFalse(input: Buffer, start: number, end: number): boolean {
  return end - start === 1 && (input[start] === 0 || input[start] === 0xff);
}

/** Nine equal bits at its start would be a byte too many. */
function isShortest(input: Buffer, start: number, end: number): boolean {
  if (end - start < 2) return end - start === 1;
  const [first, second] = [input.readUInt8(start), input.readUInt8(start + 1)];
  return !(first === 0 && second < 0x80) && !(first === 0xff && second >= 0x80);
}

/** The unused bits at its end are at most seven, and zero. */
function hasSpareZeros(input: Buffer, start: number, end: number): boolean {
  const unusedBits = end > start ? (input[start] ?? 0) : 8;
  if (end - start < 2) return unusedBits === 0;
  return unusedBits < 8 && (input.readUInt8(end - 1) & ((1 << unusedBits) - 1)) === 0;
}

/** Each arc ends with a byte below 128, and none begins with seven zero bits (X.690 8.19.2). */
function isCanonicalOid(input: Buffer, start: number, end: number): boolean {
  let isStart = true;
  for (let at = start; at < end; at++) {
    const byte = input[at] ?? 0;
    if (isStart && byte === 0x80) return false;
    isStart = byte < 0x80;
  }
  return end > start && isStart;
}
