import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatIpAddress, parseIpAddress } from '../../src/identity/ip-address.ts';
import {
  formatIpRange,
  ipRangeContains,
  ipRangesMeet,
  isPrefixMask,
  parseIpRange,
  type IpRange,
} from '../../src/identity/ip-range.ts';

function rangeOf(text: string): IpRange {
  const range = parseIpRange(text);
  assert.ok(range, text);
  return range;
}

function addressOf(text: string): Uint8Array {
  const bytes = parseIpAddress(text);
  assert.ok(bytes, text);
  return bytes;
}

/** An address, a prefix length, and a second address that shares a random number of bits with the first. */
const neighbours = fc.constantFrom(4, 16).chain((lengthBytes) => {
  const bytes = fc.uint8Array({ minLength: lengthBytes, maxLength: lengthBytes });
  const bits = fc.nat(lengthBytes * 8);
  return fc.record({ first: bytes, other: bytes, prefixBits: bits, sharedBits: bits });
});

const keepBits = (bytes: Uint8Array, count: number, rest?: Uint8Array): Uint8Array =>
  Uint8Array.from(bytes, (byte, index) => {
    const kept = 0xff & ~(0xff >> Math.min(Math.max(count - index * 8, 0), 8));
    return (byte & kept) | ((rest?.[index] ?? 0) & ~kept);
  });

describe('parseIpRange()', () => {
  test('gives the network and its mask', () => {
    assert.deepEqual(parseIpRange('172.16.0.0/12'), {
      network: Uint8Array.of(172, 16, 0, 0),
      mask: Uint8Array.of(255, 240, 0, 0),
    });
    assert.deepEqual(parseIpRange('fc00::/7'), {
      network: addressOf('fc00::'),
      mask: addressOf('fe00::'),
    });
  });

  test('reads everything from all addresses to one', () => {
    for (const text of ['0.0.0.0/0', '::/0', '10.0.0.7/32', 'fd00::7/128', '128.0.0.0/1'])
      assert.equal(formatIpRange(rangeOf(text)), text);
  });

  for (const text of [
    '',
    '10.0.0.0',
    '10.0.0.0/',
    '/8',
    '10.0.0.0/33',
    'fc00::/129',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/8.0',
    '10.0.0.0/8/8',
    ' 10.0.0.0/8',
    '10.0.0.0/8\n',
    '10.0.0.0/255.0.0.0',
    '10.0/8',
    'fc00::%1/7',
    'svc/8',
  ])
    test(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(parseIpRange(text), undefined);
    });

  for (const text of ['10.0.0.1/8', '10.0.0.1/31', '10.128.0.0/8', 'fe00::/6', '::1/0'])
    test(`refuses ${text}, which has bits beyond its prefix`, () => {
      assert.equal(parseIpRange(text), undefined);
    });

  test('refuses IPv4 in IPv6 clothes', () => {
    assert.equal(parseIpRange('::ffff:10.0.0.0/104'), undefined);
  });
});

describe('formatIpRange()', () => {
  test('writes what parseIpRange() reads back', () => {
    fc.assert(
      fc.property(neighbours, ({ first, prefixBits }) => {
        const text = `${formatIpAddress(keepBits(first, prefixBits))}/${prefixBits}`;
        assert.equal(formatIpRange(rangeOf(text)), text);
      }),
    );
  });
});

describe('ipRangeContains()', () => {
  test('says what the BlockList of node:net says', () => {
    let inside = 0;
    fc.assert(
      fc.property(neighbours, ({ first, other, prefixBits, sharedBits }) => {
        const network = formatIpAddress(keepBits(first, prefixBits));
        const address = keepBits(first, sharedBits, other);
        const family = address.length === 4 ? 'ipv4' : 'ipv6';
        const judge = new BlockList();
        judge.addSubnet(network, prefixBits, family);
        const expected = judge.check(formatIpAddress(address), family);
        if (expected) inside++;
        const range = rangeOf(`${network}/${prefixBits}`);
        assert.equal(ipRangeContains(range, address), expected, `${network}/${prefixBits}`);
      }),
      { numRuns: 2_000 },
    );
    assert.ok(inside > 200 && inside < 1_800, `${inside} of 2000 addresses lay inside`);
  });

  test('keeps IPv4 and IPv6 apart', () => {
    assert.equal(ipRangeContains(rangeOf('::/0'), addressOf('10.0.0.7')), false);
    assert.equal(ipRangeContains(rangeOf('0.0.0.0/0'), addressOf('fd00::7')), false);
    assert.equal(ipRangeContains(rangeOf('0.0.0.0/0'), addressOf('::ffff:10.0.0.7')), false);
  });

  test('ignores bits of the network beyond its mask, as clients do with foreign certificates', () => {
    const range = { network: addressOf('10.9.9.9'), mask: addressOf('255.0.0.0') };
    assert.equal(ipRangeContains(range, addressOf('10.0.0.7')), true);
    assert.equal(ipRangeContains(range, addressOf('11.0.0.7')), false);
  });
});

describe('isPrefixMask()', () => {
  for (const [mask, expected] of [
    ['0.0.0.0', true],
    ['255.255.254.0', true],
    ['255.255.255.255', true],
    ['fe00::', true],
    ['255.0.255.0', false],
    ['0.0.0.255', false],
    ['127.0.0.0', false],
    ['ff00::1', false],
  ] as const)
    test(`says ${expected} for ${mask}`, () => {
      assert.equal(isPrefixMask(addressOf(mask)), expected);
    });
});

describe('ipRangesMeet()', () => {
  for (const [one, other, expected] of [
    ['10.0.0.0/8', '10.96.0.0/12', true],
    ['10.96.0.0/12', '10.96.0.7/32', true],
    ['10.96.0.0/12', '10.112.0.0/12', false],
    ['0.0.0.0/0', '127.0.0.0/8', true],
    ['::/0', '10.0.0.0/8', false],
    ['fd00::/8', 'fd00:96::/108', true],
    ['fd00::/64', 'fd00:0:0:1::/64', false],
  ] as const)
    test(`says ${expected} for ${one} and ${other}`, () => {
      assert.equal(ipRangesMeet(rangeOf(one), rangeOf(other)), expected);
      assert.equal(ipRangesMeet(rangeOf(other), rangeOf(one)), expected);
    });
});
