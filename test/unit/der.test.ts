import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import forge from 'node-forge';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import * as der from '../../src/pki/der.ts';
import { constructedOf, contentOf, type Element, primitive } from '../../src/pki/der-element.ts';
import { dnsNames, newCa, newKey, newLeaf, tlsUsages } from '../support/certificate-builders.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const isAccepted = (bytes: Buffer): boolean => {
  try {
    der.decodeDer(bytes);
    return true;
  } catch (error) {
    assert.equal((error as Error).message, 'it is not in DER');
    return false;
  }
};

/** Encoded again from its parts alone, not from the bytes that it was read from. */
function rebuilt(node: Element): Element {
  const { identifier, members } = node;
  return members
    ? constructedOf(identifier, members.map(rebuilt))
    : primitive(identifier, contentOf(node));
}

/** Another reader: whether it takes the bytes, and what it writes for them again. */
function readByForge(bytes: Buffer): boolean {
  try {
    const node = forge.asn1.fromDer(forge.util.createBuffer(bytes.toString('latin1')), {
      strict: true,
      parseAllBytes: true,
      decodeBitStrings: false,
      // The published types know only the older boolean form of this argument.
    } as unknown as boolean);
    return Buffer.from(forge.asn1.toDer(node).getBytes(), 'latin1').equals(bytes);
  } catch {
    return false;
  }
}

describe('decodeDer()', () => {
  for (const [what, text] of [
    ['TRUE', '01 01 ff'],
    ['FALSE', '01 01 00'],
    ['zero', '02 01 00'],
    ['128', '02 02 00 80'],
    ['-128', '02 01 80'],
    ['an empty BIT STRING', '03 01 00'],
    ['a BIT STRING with seven unused bits', '03 02 07 80'],
    ['an OID', '06 03 55 1d 11'],
    ['NULL', '05 00'],
    ['an empty SEQUENCE', '30 00'],
    ['an empty context tag', '80 00'],
    ['content of 127 bytes', `04 7f ${'00'.repeat(127)}`],
    ['content of 128 bytes', `04 81 80 ${'00'.repeat(128)}`],
    ['content of 256 bytes', `04 82 01 00 ${'00'.repeat(256)}`],
    ['the private class', 'c1 00'],
  ] as const)
    test(`reads ${what}`, () => {
      const node = der.decodeDer(hex(text));
      assert.deepEqual(der.encodeDer(node), hex(text));
      assert.deepEqual(der.encodeDer(rebuilt(node)), hex(text));
    });

  for (const [what, text] of [
    ['nothing', ''],
    ['an identifier alone', '30'],
    ['content that is cut', '04 02 00'],
    ['a byte more', '05 00 00'],
    ['two elements', '05 00 05 00'],
    ['an indefinite length', '30 80 05 00 00 00'],
    ['a length in two bytes that fits into one', '04 81 01 00'],
    ['a length with a leading zero', `04 82 00 80 ${'00'.repeat(128)}`],
    ['a length of five bytes', '04 85 00 00 00 00 01 00'],
    ['a length that is cut', '04 82 01'],
    ['a length of ff', '04 ff 00'],
    ['a length near 2^32', '04 84 ff ff ff ff 00'],
    ['a member longer than what holds it', '30 02 04 01 05 00'],
    ['a BOOLEAN of 1', '01 01 01'],
    ['a BOOLEAN of two bytes', '01 02 ff ff'],
    ['an empty BOOLEAN', '01 00'],
    ['an empty INTEGER', '02 00'],
    ['an INTEGER with a zero too many', '02 02 00 7f'],
    ['an INTEGER with a ff too many', '02 02 ff 80'],
    ['an ENUMERATED with a zero too many', '0a 02 00 7f'],
    ['a BIT STRING without its first byte', '03 00'],
    ['eight unused bits', '03 02 08 00'],
    ['unused bits of nothing', '03 01 01'],
    ['unused bits that are set', '03 02 07 c0'],
    ['a NULL with content', '05 01 00'],
    ['an empty OID', '06 00'],
    ['an OID that does not end', '06 03 55 1d 91'],
    ['an OID with an arc that begins with zeros', '06 04 55 1d 80 11'],
    ['an OCTET STRING in parts', '24 03 04 01 00'],
    ['a UTF8String in parts', '2c 03 0c 01 41'],
    ['a primitive SEQUENCE', '10 00'],
    ['a primitive SET', '11 00'],
    ['the end of an indefinite length', '00 00'],
    ['such an end in a SEQUENCE', '30 02 00 00'],
    ['a tag number in a byte of its own', '9f 1f 00'],
  ] as const)
    test(`refuses ${what}`, () => {
      assert.equal(isAccepted(hex(text)), false);
    });

  test('takes 32 levels, and does not exhaust the stack on more', () => {
    const nested = (levels: number): Buffer => {
      let node = der.nothing();
      for (let i = 1; i < levels; i++) node = der.sequence(node);
      return der.encodeDer(node);
    };
    assert.ok(isAccepted(nested(32)));
    assert.equal(isAccepted(nested(33)), false);
    // Each of its levels says that all the rest is its content.
    assert.equal(isAccepted(Buffer.concat(Array<Buffer>(30_000).fill(hex('30 82 ff ff')))), false);
  });

  test('reads a megabyte of small elements', () => {
    const content = Buffer.alloc(1 << 20, hex('05 00'));
    assert.ok(isAccepted(der.encodeDer(primitive(0x30, content))));
  });

  const samples = {
    'a root': () => newCa().certificate.der,
    'a leaf': () => newLeaf(newCa()).der,
    'a certification request': () =>
      buildCertificationRequest({ names: dnsNames('web.shop.svc'), usages: tlsUsages }, newKey()),
  };
  for (const [what, make] of Object.entries(samples)) {
    test(`writes ${what} as it was, from its parts alone`, () => {
      const bytes = make();
      assert.deepEqual(der.encodeDer(rebuilt(der.decodeDer(bytes))), bytes);
    });

    test(`takes nothing of ${what} with changed bytes that has another encoding, or that another strict reader refuses`, () => {
      const bytes = make();
      let accepted = 0;
      for (let at = 0; at < bytes.length; at++)
        for (let bit = 0; bit < 8; bit++) {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ (1 << bit);
          if (!isAccepted(changed)) continue;
          accepted++;
          assert.deepEqual(der.encodeDer(rebuilt(der.decodeDer(changed))), changed);
          assert.ok(readByForge(changed), `byte ${at}, bit ${bit}: ${changed.toString('hex')}`);
        }
      assert.ok(accepted > 0);
    });
  }

  test('takes nothing of any bytes that another strict reader refuses', () => {
    const tag = fc.constantFrom(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x30, 0x31, 0x80, 0xa0);
    const leaf = fc.tuple(tag, fc.uint8Array({ maxLength: 4 }));
    const bytes = fc.array(leaf, { maxLength: 4 }).map((parts) => {
      const content = parts.flatMap(([first, rest]) => [first, rest.length, ...rest]);
      return Buffer.from([0x30, content.length, ...content]);
    });
    fc.assert(
      fc.property(bytes, (input) => {
        if (!isAccepted(input)) return;
        assert.deepEqual(der.encodeDer(rebuilt(der.decodeDer(input))), input);
        assert.ok(readByForge(input), input.toString('hex'));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('the builders', () => {
  const tree = fc.letrec<{ node: Element }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.uint8Array({ maxLength: 300 }).map((bytes) => der.octetString(bytes)),
      fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => der.integer(bytes)),
      fc.string({ unit: 'binary' }).map((text) => der.utf8String(text.toWellFormed())),
      fc.boolean().map((value) => der.boolean(value)),
      fc.nat(30).map((tag) => der.taggedBytes(tag, Buffer.of(1, 2))),
      fc.array(tie('node'), { maxLength: 5 }).map((items) => der.sequence(...items)),
      fc.array(tie('node'), { maxLength: 5 }).map((items) => der.setOf(...items)),
      fc.array(tie('node'), { maxLength: 5 }).map((items) => der.tagged(3, ...items)),
    ),
  })).node;

  test('write what decodeDer() and another strict reader take', () => {
    fc.assert(
      fc.property(tree, (node) => {
        const bytes = der.encodeDer(node);
        assert.equal(bytes.length, node.size);
        assert.deepEqual(der.encodeDer(rebuilt(der.decodeDer(bytes))), bytes);
        // That reader takes a context tag of 30 for the mark of a longer one.
        if (!bytes.includes(0x9e)) assert.ok(readByForge(bytes), bytes.toString('hex'));
      }),
    );
  });

  test('sort a SET by its encodings', () => {
    const set = der.setOf(der.utf8String('b'), der.utf8String('a'), der.boolean(true));
    assert.equal(
      der.encodeDer(set).toString('hex'),
      '310901 01ff 0c0161 0c0162'.replaceAll(' ', ''),
    );
  });

  /** Read without having been written by us: what we wrote, we know by its bytes. */
  const readOid = (dotted: string): string => {
    const content = Buffer.from(forge.asn1.oidToDer(dotted).getBytes(), 'latin1');
    return der.oidOf(der.decodeDer(Buffer.of(0x06, content.length, ...content)), 'it');
  };

  test('write and read OIDs as another reader does', () => {
    const arcs = fc.tuple(
      fc.nat(2),
      fc.nat(39),
      fc.array(fc.nat(2 ** 28), { minLength: 1, maxLength: 8 }),
    );
    fc.assert(
      fc.property(arcs, ([first, second, rest]) => {
        const dotted = [first, second, ...rest].join('.');
        assert.equal(readOid(dotted), dotted);
        const node = der.oid(dotted);
        const written = Buffer.from(forge.asn1.oidToDer(dotted).getBytes(), 'latin1');
        assert.deepEqual(contentOf(node), written);
        assert.equal(readOid(dotted), dotted);
      }),
    );
  });

  for (const dotted of ['0.0', '1.39', '2.0', '2.39', '2.40', '2.999.3', '1.3.6.1.4.1.99999'])
    test(`write and read the OID ${dotted}`, () => {
      assert.equal(readOid(dotted), dotted);
      assert.equal(der.oidOf(der.decodeDer(der.encodeDer(der.oid(dotted))), 'it'), dotted);
    });

  test('read no OID that would wrap round', () => {
    const huge = der.decodeDer(hex('06 0a 55 9f ff ff ff ff ff ff ff 7f'));
    assert.throws(() => der.oidOf(huge, 'it'), /it is too large/);
  });

  for (const [bytes, expected] of [
    ['', '020100'],
    ['00', '020100'],
    ['7f', '02017f'],
    ['80', '02020080'],
    ['0000ff', '020200ff'],
    ['0102', '02020102'],
  ] as const)
    test(`write the number ${bytes || 'of no bytes'} in its shortest form`, () => {
      assert.equal(der.encodeDer(der.integer(hex(bytes))).toString('hex'), expected);
    });

  for (const [date, expected] of [
    ['2026-06-01T12:34:56.789Z', '170d 3236303630313132333435365a'],
    ['2049-12-31T23:59:59Z', '170d 3439313233313233353935395a'],
    ['2050-01-01T00:00:00Z', '180f 32303530303130313030303030305a'],
    ['9999-12-31T23:59:59Z', '180f 39393939313233313233353935395a'],
  ] as const)
    test(`write the time ${date} as RFC 5280 wants it`, () => {
      assert.deepEqual(der.encodeDer(der.time(new Date(date))), hex(expected));
    });

  test('write UTF-16 as PKCS#12 wants it', () => {
    assert.equal(der.encodeDer(der.bmpString('aé')).toString('hex'), '1e04006100e9');
  });
});

describe('the readers of single values', () => {
  const read = (text: string): Element => der.decodeDer(hex(text));

  test('name what they were looking for', () => {
    const nothing = der.nothing();
    assert.throws(() => der.membersOf(nothing, 'sequence', 'x'), /^Error: x is not a SEQUENCE$/);
    assert.throws(() => der.membersOf(undefined, 'set', 'x'), /^Error: x is not a SET$/);
    assert.throws(() => der.taggedMembers(nothing, 3, 'x'), /^Error: x is not \[3\]$/);
    assert.throws(() => der.taggedMembers(read('83 00'), 3, 'x'), /^Error: x is not \[3\]$/);
    assert.throws(() => der.taggedContent(read('a3 00'), 'x'), /^Error: x is not primitive$/);
    for (const reader of [
      der.oidOf,
      der.octetsOf,
      der.integerOf,
      der.booleanOf,
      der.bitsOf,
      der.textOf,
    ])
      for (const node of [nothing, undefined, read('30 00'), read('82 00')])
        assert.throws(() => reader(node, 'x'), /^Error: x has another type$/);
  });

  test('tell context tags from other classes', () => {
    assert.deepEqual(
      ['82 00', 'a2 00', '42 00', 'c2 00', '02 01 00'].map((text) => der.tagOf(read(text))),
      [2, 2, undefined, undefined, undefined],
    );
  });

  test('read text of three kinds, and none that is no text', () => {
    assert.equal(der.textOf(read('0c 02 c3 a9'), 'x'), 'é');
    assert.equal(der.textOf(read('13 01 41'), 'x'), 'A');
    assert.equal(der.textOf(read('16 01 41'), 'x'), 'A');
    for (const text of ['0c 01 e9', '0c 02 c0 80', '13 02 c3 a9', '16 01 ff'])
      assert.throws(() => der.textOf(read(text), 'x'), /^Error: x is no text$/);
    assert.throws(() => der.textOf(read('1e 02 00 41'), 'x'), /x has another type/);
  });
});
