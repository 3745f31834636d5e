import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { noNames } from '../../src/identity/subject-names.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import { readContent } from '../../src/vetting/asked.ts';
import { namesNotWellFormed } from '../../src/vetting/well-formed-names.ts';
import { pemOf, requestPem } from '../support/approval-builders.ts';
import { dnsNames, newKey, tlsUsages } from '../support/certificate-builders.ts';
import { elementsOf, encodeTlv, parseTlv } from '../support/tlv.ts';

const why = (text: string): string => {
  const content = readContent(text);
  return content.kind === 'read' ? 'read' : content.why;
};

describe('readContent()', () => {
  test('reads a request', () => {
    assert.equal(why(requestPem({ names: dnsNames('web.shop.svc') })), 'read');
  });

  test('looks no further at what is longer than any request', () => {
    const startedAt = performance.now();
    assert.match(why('A'.repeat(1_500_000)), /^it has 1500000 characters, more than 147456$/);
    assert.ok(performance.now() - startedAt < 50);
  });

  test('reads the longest request: 250 names of 253 characters', () => {
    const label = 'a'.repeat(63);
    const long = Array.from(
      { length: 250 },
      (_, i) => `${label}.${label}.${label}.${'b'.repeat(57)}${1000 + i}`,
    );
    assert.equal(long[0]?.length, 253);
    assert.equal(why(requestPem({ names: dnsNames(...long) })), 'read');
  });

  test('never throws, and says in its own words what is wrong with any element of a request', () => {
    const request = buildCertificationRequest(
      {
        names: { ...noNames, dnsNames: ['web.shop.svc'] },
        commonName: 'web.shop.svc',
        usages: tlsUsages,
      },
      newKey(),
    );
    const count = elementsOf(parseTlv(request)).length;
    fc.assert(
      fc.property(
        fc.nat(count - 1),
        fc.uint8Array({ maxLength: 70 }),
        fc.nat(255),
        (at, bytes, tag) => {
          const tree = parseTlv(request);
          const chosen = elementsOf(tree)[at];
          assert.ok(chosen);
          chosen.content = Buffer.from(bytes);
          if (tag % 2 === 0) chosen.tag = tag;
          const said = why(pemOf(encodeTlv(tree)));
          // OpenSSL's, Node's and V8's begin or end so.
          assert.doesNotMatch(said, /error:|routines|undefined|ERR_|read propert/);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('namesNotWellFormed()', () => {
  const problems = (uri: string) => namesNotWellFormed({ ...noNames, uris: [uri] }).length;

  for (const uri of [
    'spiffe://cluster.local/ns/shop/sa/web',
    'spiffe://cluster.local',
    'https://app.example.com/a?b=c#d',
    'https://app.example.com?x',
    'urn:uuid:5e0c6f0e-0b3a-4f0e-9a52-4b8e1f0f3a11',
    'tag:example.com,2026:%C3%A9',
  ])
    test(`takes the URI ${uri}`, () => assert.equal(problems(uri), 0));

  for (const uri of [
    '',
    'web',
    'spiffe:',
    'spiffe://',
    '//cluster.local/ns',
    'SPIFFE://cluster.local/ns',
    'spiffe://Cluster.local/ns',
    'spiffe://cluster.local:80/ns',
    'spiffe://me@cluster.local/ns',
    'spiffe://10.0.0.7/ns',
    'spiffe://[::1]/ns',
    'spiffe://cluster.local/ns\n',
    'spiffe://cluster.local/\0',
    'spiffe://cluster.local/n s',
    'spiffe://cluster.local/%',
    'spiffe://cluster.local/%2f',
    'spiffe://cluster.local/\u00e9',
    'spiffe://cluster.local/<>',
    'spiffe://cluster.local\\x',
    'javascript:"',
  ])
    test(`refuses the URI ${JSON.stringify(uri)}`, () => assert.equal(problems(uri), 1));
});
