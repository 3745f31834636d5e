import { parseTlv, type Tlv } from './tlv.ts';

/**
 * DER as text for golden files, read apart from src/pki: one line for each element, its members below it.
 * What differs from key to key is masked.
 */
export function dumpCertificate(bytes: Buffer): string {
  const [tbs, ...rest] = membersOf(parseTlv(bytes));
  if (!tbs) throw new Error('not a certificate');
  const fields = membersOf(tbs);
  const key = fields.find((field) => isKeyInfo(field));
  return ['certificate', ...fields.flatMap((field) => dump(field, 1, field === key)), 'signature']
    .concat(rest.flatMap((each) => dump(each, 1, true)))
    .join('\n')
    .concat('\n');
}

const universal: Readonly<Record<number, string>> = {
  0x01: 'BOOLEAN',
  0x02: 'INTEGER',
  0x03: 'BIT STRING',
  0x04: 'OCTET STRING',
  0x05: 'NULL',
  0x06: 'OBJECT IDENTIFIER',
  0x0c: 'UTF8String',
  0x17: 'UTCTime',
  0x18: 'GeneralizedTime',
  0x30: 'SEQUENCE',
  0x31: 'SET',
};

/** So that a person can read the files; anything else stands there in numbers. */
const oids: Readonly<Record<string, string>> = {
  '550403': 'commonName',
  '551d0e': 'subjectKeyIdentifier',
  '551d0f': 'keyUsage',
  '551d11': 'subjectAltName',
  '551d13': 'basicConstraints',
  '551d1e': 'nameConstraints',
  '551d23': 'authorityKeyIdentifier',
  '551d25': 'extKeyUsage',
  '2b06010505070301': 'serverAuth',
  '2b06010505070302': 'clientAuth',
  '2a8648ce3d0201': 'id-ecPublicKey',
  '2a8648ce3d030107': 'prime256v1',
  '2a8648ce3d040302': 'ecdsa-with-SHA256',
  '2b6570': 'id-Ed25519',
  '2a864886f70d010101': 'rsaEncryption',
  '2a864886f70d01010b': 'sha256WithRSAEncryption',
};

/** Extensions whose value is the hash of a key. */
const keyIdentifiers = ['551d0e', '551d23'];

function membersOf({ content }: Tlv): Tlv[] {
  return Array.isArray(content) ? content : [];
}

/** SubjectPublicKeyInfo: an algorithm, then bits. */
function isKeyInfo(field: Tlv): boolean {
  const [algorithm, bits, ...more] = membersOf(field);
  return algorithm?.tag === 0x30 && bits?.tag === 0x03 && more.length === 0;
}

function nameOf(tag: number): string {
  return universal[tag] ?? `[${tag & 0x1f}]${(tag & 0x20) === 0 ? ' primitive' : ''}`;
}

function dump(node: Tlv, depth: number, hidesBits: boolean): string[] {
  const line = (text: string): string => `${'  '.repeat(depth)}${nameOf(node.tag)}${text}`;
  const { tag, content } = node;
  if (Array.isArray(content)) {
    const [id] = content;
    const hidden = id?.tag === 0x06 && keyIdentifiers.includes(hexOf(id));
    return [line('')].concat(
      content.flatMap((each) =>
        hidden && each.tag === 0x04
          ? dumpHidden(each, depth + 1)
          : dump(each, depth + 1, hidesBits),
      ),
    );
  }
  if (tag === 0x03 && hidesBits) return [line(' (of the key)')];
  if (tag === 0x04) return [line(''), ...dump(parseTlv(content), depth + 1, hidesBits)];
  return [line(` ${valueOf(tag, content)}`.trimEnd())];
}

/** The structure, with a length in place of the hash. */
function dumpHidden({ content }: Tlv, depth: number): string[] {
  const all = (node: Tlv, at: number): string[] => {
    const start = `${'  '.repeat(at)}${nameOf(node.tag)}`;
    return Array.isArray(node.content)
      ? [start, ...node.content.flatMap((each) => all(each, at + 1))]
      : [`${start} (${node.content.length} bytes of the key)`];
  };
  const inner = parseTlv(Array.isArray(content) ? Buffer.alloc(0) : content);
  return [`${'  '.repeat(depth)}OCTET STRING`, ...all(inner, depth + 1)];
}

function hexOf({ content }: Tlv): string {
  return Array.isArray(content) ? '' : content.toString('hex');
}

function valueOf(tag: number, content: Buffer): string {
  const hex = content.toString('hex');
  if (tag === 0x06) return oids[hex] ?? hex;
  const isText = tag !== 0x02 && tag !== 0x01 && content.length > 1;
  return isText && content.every((byte) => byte >= 0x20 && byte < 0x7f)
    ? JSON.stringify(content.toString('latin1'))
    : hex;
}
