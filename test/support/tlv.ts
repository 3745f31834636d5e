/**
 * BER elements as trees that can be changed at will, right or wrong, apart from src/pki: for requests
 * that no honest encoder makes.
 */
export interface Tlv {
  tag: number;
  content: Buffer | Tlv[];
  /** Instead of the shortest one. */
  length?: Buffer;
}

/** Of DER. Constructed elements have their members, primitive ones their bytes. */
export function parseTlv(bytes: Buffer): Tlv {
  const [tlv, ...more] = parseAll(bytes);
  if (!tlv || more.length > 0) throw new Error('not one element');
  return tlv;
}

function parseAll(bytes: Buffer): Tlv[] {
  const all: Tlv[] = [];
  for (let at = 0; at < bytes.length;) {
    const [tag = 0, first = 0] = bytes.subarray(at);
    const more = first < 0x80 ? 0 : first & 0x7f;
    const length = more === 0 ? first : bytes.readUIntBE(at + 2, more);
    const start = at + 2 + more;
    const content = bytes.subarray(start, start + length);
    all.push({ tag, content: (tag & 0x20) === 0 ? content : parseAll(content) });
    at = start + length;
  }
  return all;
}

export function encodeTlv({ tag, content, length }: Tlv): Buffer {
  const bytes = Array.isArray(content) ? Buffer.concat(content.map(encodeTlv)) : content;
  return Buffer.concat([Buffer.of(tag), length ?? lengthOf(bytes.length), bytes]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length);
  return length < 0x100
    ? Buffer.of(0x81, length)
    : length < 0x1_0000
      ? Buffer.of(0x82, length >> 8, length & 0xff)
      : Buffer.of(0x83, length >> 16, (length >> 8) & 0xff, length & 0xff);
}

/** The element and all that is in it, outermost first. */
export function elementsOf(tlv: Tlv): Tlv[] {
  return [tlv, ...(Array.isArray(tlv.content) ? tlv.content.flatMap(elementsOf) : [])];
}
