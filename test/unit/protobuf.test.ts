import { deepEqual, equal, throws } from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Json } from '../../src/kubernetes/json.ts';
import {
  bytes,
  encodedOf,
  field,
  flag,
  isProtobuf,
  keptMessage,
  list,
  listShape,
  map,
  message,
  number,
  objectMeta,
  protobufObject,
  readProtobuf,
  readWatchEvent,
  type Shape,
  text,
  texts,
  time,
} from '../../src/kubernetes/protobuf.ts';

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(' ', ''), 'hex');
const thing = { apiVersion: 'example.com/v1', kind: 'Thing' };
/** What is read of a Thing with these bytes. */
const read = (shape: Shape, ...fields: Buffer[]) =>
  readProtobuf(shape, protobufObject(thing, fields));
const broken = /broken protobuf/;

describe('readProtobuf()', () => {
  test('each kind of field by its number, whatever stands in between', () => {
    const shape: Shape = {
      1: ['name', text],
      2: ['count', number],
      3: ['isOn', flag],
      4: ['raw', bytes],
      5: ['at', time],
      6: ['colours', list(text)],
      7: ['labels', map(text)],
      8: ['inner', message({ 1: ['name', text] })],
      9: ['extra', map(texts)],
      200: ['far', text],
    };
    const entry = (key: string, value: Buffer): Buffer => Buffer.concat([field(1, key), value]);
    deepEqual(
      read(
        shape,
        hex('10 96 01'), // 2: 150
        field(1, 'ü€😀'),
        hex('59 0102030405060708 65 01020304 68 05'), // 11: eight bytes, 12: four, 13: a number
        hex('18 01'),
        field(4, hex('00 ff')),
        field(5, hex('08 c0 b6 97 d8 06')),
        field(6, 'red'),
        field(7, entry('__proto__', field(2, 'own'))),
        field(6, ''),
        field(7, entry('b', field(2, '2'))),
        field(8, [field(1, 'x'), field(9, 'unknown')]),
        field(9, entry('ids', field(2, [field(1, 'a'), field(1, 'b')]))),
        field(200, 'away'),
      ),
      {
        count: 150,
        name: 'ü€😀',
        isOn: true,
        raw: hex('00 ff'),
        at: '2026-11-24T18:45:20.000Z',
        colours: ['red', ''],
        labels: Object.assign(Object.create(null) as object, {
          ['__proto__']: 'own',
          b: '2',
        }),
        inner: { name: 'x' },
        extra: Object.assign(Object.create(null) as object, { ids: ['a', 'b'] }),
        far: 'away',
      },
    );
  });

  test('a field whose kind is not the expected one is passed over', () => {
    deepEqual(read({ 1: ['n', number], 2: ['t', text] }, field(1, 'text'), hex('10 05')), {});
  });

  test('a kept message has its bytes, all of them; what is not kept or came as JSON has none', () => {
    const metadata = Buffer.concat([field(1, 'web'), field(99, 'unknown to us')]);
    const object = read({ 1: ['metadata', keptMessage(objectMeta)] }, field(1, metadata));
    const json = { metadata: { name: 'web', encoded: 'a text' } };
    deepEqual(encodedOf(object['metadata'] as Json), metadata);
    equal(encodedOf(object), undefined);
    equal(encodedOf(json.metadata), undefined);
  });

  test('a list, whatever its kind', () => {
    const item = (name: string): Buffer => field(2, field(1, field(1, name)));
    const things = listShape({ 1: ['metadata', message(objectMeta)] });
    deepEqual(read(things, field(1, [field(2, '7'), field(3, 'more')]), item('a'), item('b')), {
      metadata: { resourceVersion: '7', continue: 'more' },
      items: [{ metadata: { name: 'a' } }, { metadata: { name: 'b' } }],
    });
  });

  test('a Status is read as one, whatever was expected', () => {
    const details = field(5, hex('28 07'));
    const status = protobufObject({ apiVersion: 'v1', kind: 'Status' }, [
      field(3, 'too old'),
      field(4, 'Expired'),
      details,
      hex('30 9a 03'),
    ]);
    deepEqual(readProtobuf({ 3: ['number', text] }, status), {
      message: 'too old',
      reason: 'Expired',
      details: { retryAfterSeconds: 7 },
      code: 410,
    });
  });

  test('what is broken is refused: cut off anywhere, or with a length that goes too far', () => {
    const shape: Shape = { 1: ['name', text], 2: ['inner', message({ 1: ['name', text] })] };
    const fields = [field(1, 'name'), field(2, [field(1, 'x'.repeat(200))])];
    const whole = protobufObject(thing, fields);
    equal(isProtobuf(whole), true);
    for (let end = 0; end < whole.length; end++) {
      const cut = whole.subarray(0, end);
      // Nothing after the magic is an object without fields.
      if (end === 4 || end === 4 + typeMetaBytes) deepEqual(readProtobuf(shape, cut), {});
      else throws(() => readProtobuf(shape, cut), broken, `${end}`);
    }
    for (const bad of [
      '0a 05 61',
      '12 03 0a 05 61',
      '0b',
      '0a ff ff ff ff ff ff ff ff ff ff 01',
      '09 00',
    ])
      throws(() => read(shape, hex(bad)), broken, bad);
    throws(() => readProtobuf(shape, Buffer.from('<html>')), broken);
  });

  test('bytes of chance are read or refused, soon, and never read beyond their end', () => {
    const any: Shape = { 1: ['a', text], 2: ['b', list(message({ 1: ['c', map(texts)] }))] };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (chance) => {
        const isWhole = (object: Json): boolean => !('b' in object) || Array.isArray(object['b']);
        try {
          return isWhole(read(any, Buffer.from(chance)));
        } catch (error) {
          return String(error).includes('broken protobuf');
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

/** Of a Thing: its apiVersion and kind. */
const typeMetaBytes = protobufObject(thing, []).length - 6;

describe('field()', () => {
  test('lengths of one byte, two and three', () => {
    const ofLength = (length: number): string => field(1, 'x'.repeat(length)).toString('hex');
    equal(ofLength(127).slice(0, 4), '0a7f');
    equal(ofLength(128).slice(0, 6), '0a8001');
    equal(ofLength(70_000).slice(0, 8), '0af0a204');
    equal(field(200, 'x').toString('hex'), 'c20c0178');
  });
});

describe('readWatchEvent()', () => {
  const shape: Shape = { 1: ['metadata', message(objectMeta)] };
  const event = (type: string, object: Buffer): Buffer =>
    Buffer.concat([field(1, type), field(2, field(1, object))]);

  test('type and object; an ERROR has a Status', () => {
    const web = protobufObject(thing, [field(1, field(1, 'web'))]);
    deepEqual(readWatchEvent(shape, event('ADDED', web)), {
      type: 'ADDED',
      object: { metadata: { name: 'web' } },
    });
    const status = protobufObject({ apiVersion: 'v1', kind: 'Status' }, [field(4, 'Expired')]);
    deepEqual(readWatchEvent(shape, event('ERROR', status)), {
      type: 'ERROR',
      object: { reason: 'Expired' },
    });
  });

  test('no event, or one without an object, is refused', () => {
    throws(() => readWatchEvent(shape, Buffer.from('{"type":"ADDED"}')), broken);
    throws(() => readWatchEvent(shape, field(1, 'ADDED')), broken);
  });
});
