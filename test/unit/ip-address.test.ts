import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatIpAddress, parseIpAddress, readIpAddress } from '../../src/identity/ip-address.ts';

/** What the URL standard makes of an IPv6 address: RFC 5952. */
const canonicalIpv6 = (text: string): string => new URL(`http://[${text}]/`).hostname.slice(1, -1);

/** Groups with many zeros, because runs of zeros are what can go wrong. */
const ipv6Bytes = fc
  .array(fc.oneof(fc.constant(0), fc.constantFrom(1, 0x10, 0xa0, 0x100, 0xffff), fc.nat(0xffff)), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])));

/** Texts near to addresses, most of which are none. */
const almostAddress = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4Extended(),
  fc
    .array(fc.constantFrom(':', '::', '.', '0', '1', '00', 'ff', '1234', '12345', '255', '1.2.3.4'))
    .map((parts) => parts.join('')),
);

describe('parseIpAddress()', () => {
  test('takes exactly what node:net takes, without zones', () => {
    fc.assert(
      fc.property(almostAddress, (text) => {
        const expected = isIPv4(text) ? 4 : isIPv6(text) ? 16 : undefined;
        assert.equal(parseIpAddress(text)?.length, expected, JSON.stringify(text));
      }),
      { numRuns: 5_000 },
    );
  });

  for (const text of [
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4.5',
    '1.2.3.4 ',
    '0x1.2.3.4',
    ':',
    ':::',
    '1::2::3',
    'fe80::1%eth0',
    '1:2:3:4:5:6:7:8::',
    '::12345',
    '1.2.3.4::',
    '1.2.3.4::5',
    '[::1]',
  ])
    test(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(parseIpAddress(text), undefined);
    });

  test('reads an IPv4 tail', () => {
    assert.deepEqual(parseIpAddress('64:ff9b::10.1.2.3'), parseIpAddress('64:ff9b::a01:203'));
  });
});

describe('formatIpAddress()', () => {
  test('writes IPv6 as the URL standard does, and parseIpAddress() reads it back', () => {
    fc.assert(
      fc.property(ipv6Bytes, (bytes) => {
        const text = formatIpAddress(bytes);
        assert.equal(text, canonicalIpv6(text));
        assert.deepEqual(parseIpAddress(text), bytes);
      }),
      { numRuns: 3_000 },
    );
  });

  test('writes any IPv6 text canonically', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const bytes = parseIpAddress(text);
        assert.ok(bytes);
        assert.equal(formatIpAddress(bytes), canonicalIpv6(text));
      }),
    );
  });

  test('writes IPv4 with dots, and parseIpAddress() reads it back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
        const text = formatIpAddress(bytes);
        assert.ok(isIPv4(text));
        assert.deepEqual(parseIpAddress(text), Uint8Array.from(bytes));
      }),
    );
  });
});

describe('readIpAddress()', () => {
  test('gives the canonical text', () => {
    assert.deepEqual(readIpAddress('FD00:0:0::00:7'), { address: 'fd00::7' });
  });

  test('refuses an IPv4 address in IPv6 clothes and says how to write it', () => {
    assert.deepEqual(readIpAddress('::ffff:10.0.0.1'), { problem: 'write it as IPv4: 10.0.0.1' });
  });

  test('says what is wrong with a name', () => {
    assert.deepEqual(readIpAddress('web'), { problem: 'it is not an IPv4 or IPv6 address' });
  });
});
