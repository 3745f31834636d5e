import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decodePem, decodeSinglePem, encodePem } from '../../src/pki/pem.ts';

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

describe('decodeSinglePem()', () => {
  const label = 'CERTIFICATE REQUEST';
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const bytes = Buffer.from(Array.from({ length: 200 }, (_, index) => index));
  const good = encodePem(label, bytes);
  const [, firstLine = '', ...otherLines] = good.split('\n');
  const block = (...lines: readonly string[]): string => [begin, ...lines, end, ''].join('\n');
  const other = encodePem(label, Buffer.from('other'));

  test('gives back what encodePem() wrote', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (content) => {
        assert.deepEqual(decodeSinglePem(encodePem(label, content), label), Buffer.from(content));
      }),
    );
  });

  for (const [what, text] of [
    ['with white space around it', `\n \t\r\n${good}\n\n  \t\r\n`],
    ['without a line feed at its end', good.trimEnd()],
    ['with lines that end as on Windows', good.replaceAll('\n', '\r\n')],
    ['in one line', block(bytes.toString('base64'))],
    ['in lines of 76', block(...(bytes.toString('base64').match(/.{1,76}/g) ?? []))],
    ['in lines of one character', block(...(bytes.toString('base64').match(/./g) ?? []))],
  ] as const)
    test(`takes a block ${what}`, () => {
      assert.deepEqual(decodeSinglePem(text, label), bytes);
    });

  const before = /its PEM has text before the block/;
  const after = /its PEM has something after the block/;
  const headers = /its PEM has headers/;
  const emptyLine = /its PEM has an empty line/;
  const base64 = /its PEM is not canonical base64/;
  const wrongBegin = /its PEM does not begin with -----BEGIN CERTIFICATE REQUEST-----/;
  const noEnd = /its PEM has no end line -----END CERTIFICATE REQUEST-----/;
  const ascii = /its PEM has characters other than printable ASCII/;
  for (const [what, text, why] of [
    ['without a block', '', /it is not PEM/],
    ['of base64 alone', bytes.toString('base64'), /it is not PEM/],
    ['with another label', encodePem('NEW CERTIFICATE REQUEST', bytes), wrongBegin],
    ['with the label in lower case', good.replaceAll(label, label.toLowerCase()), wrongBegin],
    ['with a longer label', good.replaceAll(label, `${label} `), wrongBegin],
    ['with a blank before the begin line', ` ${good}`, /it is not PEM/],
    ['with a carriage return before the begin line', `\n\r${good}`, /it is not PEM/],
    ['with a blank after the begin line', good.replace(begin, `${begin} `), wrongBegin],
    ['with six dashes', good.replace(begin, `${begin}-`), wrongBegin],
    ['without an end line', good.replace(end, ''), noEnd],
    ['with another end line', good.replace(end, '-----END CERTIFICATE-----'), noEnd],
    ['with an indented end line', good.replace(end, ` ${end}`), noEnd],
    ['with the end line on the last line of base64', good.replace(`\n${end}`, end), noEnd],
    ['with a comment before', `# mine\n${good}`, before],
    ['with text right before', `x${good}`, /it is not PEM/],
    [
      'with an indented block before the good one',
      other.replaceAll(/^(?=.)/gm, ' ') + good,
      /text before the block/,
    ],
    [
      'with a commented block before the good one',
      other.replaceAll(/^(?=.)/gm, '#') + good,
      before,
    ],
    ['with a broken block before the good one', block('!') + good, after],
    ['with a block without end before the good one', other.replace(end, '') + good, emptyLine],
    ['with a begin line before the good one', `${begin}\n${good}`, base64],
    ['with a block of another kind before', encodePem('CERTIFICATE', bytes) + good, wrongBegin],
    ['with another block after', good + other, after],
    ['with a block of another kind after', good + encodePem('CERTIFICATE', bytes), after],
    ['with text after', `${good}# mine\n`, after],
    ['with text right after the end line', `${good.trimEnd()}x`, noEnd],
    ['with a blank and text after the end line', `${good.trimEnd()} x\n`, noEnd],
    ['with binary after', `${good}\u0000\u0001\u00ff`, ascii],
    ['with a NUL inside', good.replace(firstLine, `\u0000${firstLine}`), ascii],
    ['with a byte order mark', `\ufeff${good}`, ascii],
    ['with a no-break space after', `${good}\u00a0`, ascii],
    ['with a line separator', good.replace('\n', '\u2028'), ascii],
    ['with a form feed', good.replace('\n', '\n\f'), ascii],
    [
      'with a header',
      block('Proc-Type: 4,ENCRYPTED', '', firstLine, ...otherLines.slice(0, -2)),
      headers,
    ],
    ['with a header without a line after it', block('a: b', firstLine), headers],
    ['with an empty line first', block('', bytes.toString('base64')), emptyLine],
    ['with an empty line inside', block(firstLine, '', firstLine), emptyLine],
    ['with an empty line last', block(bytes.toString('base64'), ''), emptyLine],
    ['without content', block(), emptyLine],
    ['with an indented line', block(` ${firstLine}`), base64],
    ['with a line that ends with a blank', block(`${firstLine} `), base64],
    ['with a tabulator inside', block(firstLine.replace(/^..../, '$&\t')), base64],
    ['with a carriage return alone', block(firstLine.replace(/^..../, '$&\r')), base64],
    ['with two carriage returns', good.replaceAll('\n', '\r\r\n'), wrongBegin],
    ['with a foreign character', block('AA*A'), base64],
    ['in the alphabet of URLs', block('-_-_'), base64],
    ['with a checksum as in OpenPGP', block('AAAA', '=AAAA'), base64],
    ['without padding', block('AQ'), base64],
    ['with too little padding', block('AQ='), base64],
    ['with too much padding', block('AAAA='), base64],
    ['with padding inside', block('AQ==', 'AQ=='), base64],
    ['with stray bits in two bytes', block('AQB='), base64],
    ['with stray bits in one byte', block('AR=='), base64],
    ['with one character too many', block('AAAAA'), base64],
  ] as const)
    test(`refuses a text ${what}`, () => {
      assert.throws(() => decodeSinglePem(text, label), why);
    });

  test('takes only what encodePem() writes, apart from white space', () => {
    const sound = fc.constantFrom('AAAA', '\n', 'AQ==', '\r\n');
    const doubtful = fc.constantFrom(begin, end, '\n\n', ' ', '\t', 'AR==', 'A', '=', ':', '#');
    const pieces = fc.oneof({ weight: 3, arbitrary: sound }, { weight: 1, arbitrary: doubtful });
    let taken = 0;
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), fc.boolean(), (parts, isFramed) => {
        const inner = parts.join('');
        const text = isFramed ? `${begin}\n${inner}\n${end}\n` : inner;
        let content: Buffer;
        try {
          content = decodeSinglePem(text, label);
        } catch {
          return;
        }
        taken++;
        const plain = (pem: string): string => pem.replaceAll(/\s/g, '');
        assert.equal(plain(text), plain(encodePem(label, content)));
        assert.deepEqual(decodePem(text), [{ label, der: content }]);
      }),
      { numRuns: 5_000 },
    );
    assert.ok(taken > 50, `${taken} texts were taken`);
  });

  test('is quick with a megabyte and a half of anything', () => {
    const size = 1_500_000;
    for (const junk of [' ', '\n', '\r', '-', 'A', '=', ':', `${begin}\n`, `${end}\n`, ' x']) {
      const filler = junk.repeat(size / junk.length);
      const startedAt = performance.now();
      for (const text of [filler + good, good + filler, block(filler)])
        try {
          decodeSinglePem(text, label);
        } catch {
          // How long it takes is what counts here.
        }
      const ms = performance.now() - startedAt;
      assert.ok(ms < 1_000, `${Math.round(ms)} ms for ${JSON.stringify(junk)}`);
    }
  });

  test('quotes nothing of the text', () => {
    const secret = 'MHcCAQEEIN';
    for (const text of [secret, `${secret}\n${good}`, good + secret, block(`${secret}!`)])
      assert.throws(
        () => decodeSinglePem(text, label),
        (error: Error) => !error.message.includes(secret),
      );
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
