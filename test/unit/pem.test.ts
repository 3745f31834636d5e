import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decodePem, encodePem } from '../../src/pki/pem.ts';

describe('decodePem()', () => {
  test('gives back what encodePem() wrote', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
        const [block, ...more] = decodePem(encodePem('CERTIFICATE', bytes));
        assert.equal(block?.label, 'CERTIFICATE');
        assert.deepEqual(block.der, Buffer.from(bytes));
        assert.deepEqual(more, []);
      }),
    );
  });

  test('reads every block in order, whatever stands around them', () => {
    const text = `first\n${encodePem('A', Buffer.of(1))}between\n${encodePem('B', Buffer.of(2))}end`;
    assert.deepEqual(decodePem(text), [
      { label: 'A', der: Buffer.of(1) },
      { label: 'B', der: Buffer.of(2) },
    ]);
  });

  test('reads lines that end as on Windows', () => {
    const text = encodePem('CERTIFICATE', Buffer.from('some bytes')).replaceAll('\n', '\r\n');
    assert.equal(decodePem(text)[0]?.der.toString(), 'some bytes');
  });

  test('finds no block in a text without any', () => {
    assert.deepEqual(decodePem('nothing here\n'), []);
  });

  const begin = '-----BEGIN CERTIFICATE-----';
  const end = '-----END CERTIFICATE-----';
  for (const [what, text, why] of [
    ['without end line', `${begin}\nAAAA\n`, /block 1 \(CERTIFICATE\) has no end line/],
    ['with another end line', `${begin}\nAAAA\n-----END KEY-----\n`, /no end line/],
    ['without content', `${begin}\n${end}\n`, /is not plain base64/],
    ['with a cut line', `${begin}\nAAA\n${end}\n`, /is not plain base64/],
    ['with a foreign character', `${begin}\nAA*A\n${end}\n`, /is not plain base64/],
    ['in the alphabet of URLs', `${begin}\nAA-_\n${end}\n`, /is not plain base64/],
    ['with a header', `${begin}\nProc-Type: 4,ENCRYPTED\n\nAAAA\n${end}\n`, /is not plain base64/],
    ['with another block inside', `${begin}\n${begin}\nAAAA\n${end}\n`, /is not plain base64/],
  ] as const)
    test(`refuses a block ${what}`, () => {
      assert.throws(() => decodePem(text), why);
    });

  test('says which block is wrong', () => {
    const text = encodePem('CERTIFICATE', Buffer.of(1)) + `${begin}\nA\n${end}\n`;
    assert.throws(() => decodePem(text), /PEM block 2/);
  });
});

describe('encodePem()', () => {
  test('breaks lines at 64 characters and ends with a line feed', () => {
    const lines = encodePem('X', Buffer.alloc(100)).split('\n');
    assert.deepEqual(
      lines.map((line) => line.length),
      [17, 64, 64, 8, 15, 0],
    );
  });
});
