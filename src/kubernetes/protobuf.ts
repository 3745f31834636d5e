import { type Json, objectOf, textOf } from './json.ts';

/**
 * Objects of the API as kube-controller-manager reads and writes them: the API server then neither makes
 * nor merges JSON, which costs it more than its work on the object (docs/adr/0020). They are read into the
 * `Json` that an answer in JSON would be, with a Buffer where JSON has base64, so that whoever reads an
 * object need not know how it came. The numbers of the fields are those of the `generated.proto` files of
 * k8s.io/api and k8s.io/apimachinery; a number never changes its meaning, and what we do not know is passed
 * over.
 */

export const protobufType = 'application/vnd.kubernetes.protobuf';

/** What a field holds, from `start` to `end`; `before` is what the same field held earlier in the message. */
type Read = (bytes: Buffer, start: number, end: number, before: unknown) => unknown;
interface InBytes {
  readonly wire: 'bytes';
  readonly read: Read;
}
type Content = InBytes | { readonly wire: 'number'; read(value: number): unknown };

/** The fields of a message that we read, by number: the name that JSON gives them, and what they hold. */
export type Shape = Readonly<Record<number, readonly [name: string, content: Content]>>;

export const number: Content = { wire: 'number', read: (value) => value };
export const flag: Content = { wire: 'number', read: (value) => value !== 0 };
export const text = inBytes((bytes, start, end) => bytes.toString('utf8', start, end));
/** Not copied: it holds on to the whole answer. */
export const bytes = inBytes((bytes, start, end) => bytes.subarray(start, end));
/** metav1.Time, of which the API server writes whole seconds. */
export const time = inBytes((bytes, start, end) => {
  const { seconds } = readMessage(timestamp, bytes, start, end);
  return new Date((typeof seconds === 'number' ? seconds : 0) * 1000).toISOString();
});
const timestamp: Shape = { 1: ['seconds', number] };

export function message(shape: Shape): InBytes {
  return inBytes((bytes, start, end) => readMessage(shape, bytes, start, end));
}

/** A repeated field. */
export function list({ read }: InBytes): InBytes {
  return inBytes((bytes, start, end, before) => {
    const items: unknown[] = Array.isArray(before) ? before : [];
    items.push(read(bytes, start, end, undefined));
    return items;
  });
}

/** A map by text: its entries are messages of key and value. */
export function map(value: InBytes): InBytes {
  const entry: Shape = { 1: ['key', text], 2: ['value', value] };
  return inBytes((bytes, start, end, before) => {
    // Without a prototype, so that no key is special.
    const entries = (before ?? Object.create(null)) as Record<string, unknown>;
    const { key, value } = readMessage(entry, bytes, start, end);
    entries[textOf(key) ?? ''] = value;
    return entries;
  });
}

/** A message of nothing but a repeated text, as certificates.k8s.io/v1 ExtraValue: JSON has the list alone. */
export const texts = inBytes(
  (bytes, start, end) => readMessage(items, bytes, start, end)['items'] ?? [],
);
const items: Shape = { 1: ['items', list(text)] };

function inBytes(read: Read): InBytes {
  return { wire: 'bytes', read };
}

/** The fields of metav1.ObjectMeta that anybody here reads. */
export const objectMeta: Shape = {
  1: ['name', text],
  3: ['namespace', text],
  5: ['uid', text],
  6: ['resourceVersion', text],
  8: ['creationTimestamp', time],
  9: ['deletionTimestamp', time],
  11: ['labels', map(text)],
  12: ['annotations', map(text)],
};

/** A list of any kind, of objects of this shape. */
export function listShape(shape: Shape): Shape {
  const metadata = message({ 2: ['resourceVersion', text], 3: ['continue', text] });
  return { 1: ['metadata', metadata], 2: ['items', list(message(shape))] };
}

/** metav1.Status */
const status: Shape = {
  3: ['message', text],
  4: ['reason', text],
  5: ['details', message({ 5: ['retryAfterSeconds', number] })],
  6: ['code', number],
};

/** A message that is written back with something added to it: `encodedOf` it has every field, known or unknown. */
export function keptMessage(shape: Shape): InBytes {
  return inBytes((bytes, start, end) => {
    const encoded = bytes.subarray(start, end);
    return { ...readMessage(shape, bytes, start, end), encoded };
  });
}

/** What a `keptMessage` was read from; undefined: it came as JSON. Not copied. */
export function encodedOf({ encoded }: Json): Buffer | undefined {
  return Buffer.isBuffer(encoded) ? encoded : undefined;
}

/** Stands before what is not JSON, then a runtime.Unknown (apimachinery/pkg/runtime/serializer/protobuf). */
const magic = Buffer.from('k8s\0');
const unknown: Shape = { 1: ['typeMeta', message({ 2: ['kind', text] })], 2: ['raw', bytes] };

export function isProtobuf(answer: Buffer): boolean {
  return answer.subarray(0, magic.length).equals(magic);
}

/** An object or list of this shape, or a Status. Throws an Error when it is neither, or broken. */
export function readProtobuf(shape: Shape, answer: Buffer): Json {
  if (!isProtobuf(answer)) throw broken();
  const { typeMeta, raw } = readMessage(unknown, answer, magic.length, answer.length);
  const { kind } = objectOf(typeMeta);
  const content = Buffer.isBuffer(raw) ? raw : Buffer.alloc(0);
  return readMessage(kind === 'Status' ? status : shape, content, 0, content.length);
}

/** metav1.WatchEvent, whose object is a runtime.RawExtension. */
const watchEvent: Shape = {
  1: ['type', text],
  2: ['object', message({ 1: ['raw', bytes] })],
};

/** One event of a watch, as a line of JSON would be: `type` and `object`. Throws like readProtobuf. */
export function readWatchEvent(shape: Shape, frame: Buffer): Json {
  const { type, object } = readMessage(watchEvent, frame, 0, frame.length);
  const { raw } = objectOf(object);
  if (!Buffer.isBuffer(raw)) throw broken();
  return { type, object: readProtobuf(shape, raw) };
}

function readMessage(shape: Shape, bytes: Buffer, start: number, end: number): Json {
  const message: Record<string, unknown> = {};
  const cursor = { bytes, at: start, end };
  while (cursor.at < end) {
    const key = readVarint(cursor);
    const wire = key % 8;
    const value = readValue(cursor, wire);
    const begin = cursor.at;
    if (wire !== wires.number) cursor.at += value;
    if (cursor.at > end) throw broken();
    const known = shape[Math.floor(key / 8)];
    if (!known) continue;
    const [name, content] = known;
    if (wire === wires.number && content.wire === 'number') message[name] = content.read(value);
    if (wire === wires.bytes && content.wire === 'bytes')
      message[name] = content.read(bytes, begin, cursor.at, message[name]);
  }
  return message;
}

/** protobuf.dev/programming-guides/encoding */
const wires = { number: 0, eightBytes: 1, bytes: 2, fourBytes: 5 };

/** The number itself, or how many bytes there are. */
function readValue(cursor: Cursor, wire: number): number {
  switch (wire) {
    case wires.number:
    case wires.bytes:
      return readVarint(cursor);
    case wires.eightBytes:
      return 8;
    case wires.fourBytes:
      return 4;
    default:
      throw broken();
  }
}

interface Cursor {
  readonly bytes: Buffer;
  readonly end: number;
  at: number;
}

/** Exact up to 2^53: no number that we read is larger. */
function readVarint(cursor: Cursor): number {
  let value = 0;
  for (let unit = 1; ; unit *= 128) {
    const byte = cursor.at < cursor.end ? cursor.bytes[cursor.at++] : undefined;
    if (byte === undefined || unit > 2 ** 63) throw broken();
    value += (byte & 127) * unit;
    if (byte < 128) return value;
  }
}

function broken(): Error {
  return new Error('the answer is broken protobuf');
}

/** A field that holds bytes, text (UTF-8), or a message as the concatenation of its fields. */
export function field(number: number, content: string | Buffer | readonly Buffer[]): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const body = Buffer.isBuffer(bytes) ? bytes : Buffer.concat(bytes);
  return Buffer.concat([varint(number * 8 + wires.bytes), varint(body.length), body]);
}

function varint(value: number): Buffer {
  const units: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) units.push((rest % 128) + 128);
  return Buffer.from([...units, rest]);
}

/** An object, ready to be sent. */
export function protobufObject(
  { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
  fields: readonly Buffer[],
): Buffer {
  const typeMeta = field(1, [field(1, apiVersion), field(2, kind)]);
  return Buffer.concat([magic, typeMeta, field(2, fields)]);
}
