import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { generateKey } from '../../src/node/key-generator.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
  type CertificationRequestContent,
} from '../../src/pki/certification-request.ts';
import * as der from '../../src/pki/der.ts';
import { encodeExtension } from '../../src/pki/extensions.ts';
import {
  keyAlgorithms,
  keyPairOf,
  privateKeyPem,
  type KeyAlgorithm,
  type KeyPair,
} from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { signatureIdentifier } from '../../src/pki/signature.ts';
import { dnsNames, newKey, tlsUsages } from '../support/certificate-builders.ts';
import {
  altName,
  asking,
  attribute,
  craftedRequest,
  extensionRequest,
  nameOf,
  usualNames,
  type RequestParts,
} from '../support/crafted-request.ts';
import { openssl } from '../support/openssl.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const names = {
  dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
  ipAddresses: ['10.0.0.7', 'fd00::7'],
  uris: ['spiffe://cluster.local/ns/shop/sa/web'],
};

const content: CertificationRequestContent = { names, usages: tlsUsages };

/** What openssl prints for each kind of key, and the signature it shall have. */
const printed: Readonly<Record<KeyAlgorithm, readonly [RegExp, RegExp]>> = {
  ECDSAP256: [/NIST CURVE: P-256/, /ecdsa-with-SHA256/],
  ECDSAP384: [/NIST CURVE: P-384/, /ecdsa-with-SHA384/],
  ED25519: [/ED25519 Public-Key/, /Signature Algorithm: ED25519/],
  RSA2048: [/Public-Key: \(2048 bit\)/, /sha256WithRSAEncryption/],
  RSA3072: [/Public-Key: \(3072 bit\)/, /sha256WithRSAEncryption/],
  RSA4096: [/Public-Key: \(4096 bit\)/, /sha256WithRSAEncryption/],
};

describe('buildCertificationRequest()', { concurrency: true }, () => {
  for (const algorithm of keyAlgorithms)
    test(`makes a request that openssl verifies with a key ${algorithm}`, async () => {
      const request = buildCertificationRequest(content, await generateKey(algorithm));
      const pem = encodePem('CERTIFICATE REQUEST', request);
      const { ok, text } = await openssl(['req', '-verify', '-noout', '-text'], pem);
      assert.ok(ok, text);
      assert.match(text, /self-signature verify OK/);
      for (const pattern of printed[algorithm]) assert.match(text, pattern);
      assert.match(text, /Subject Alternative Name: critical/);
      const san = /DNS:.*/.exec(text)?.[0];
      assert.equal(
        san,
        'DNS:web.shop.svc, DNS:web.shop.svc.cluster.local, IP Address:10.0.0.7, ' +
          'IP Address:FD00:0:0:0:0:0:0:7, URI:spiffe://cluster.local/ns/shop/sa/web',
      );
      assert.match(text, /Subject: *\n/);
      assert.match(text, /Key Usage: critical\n\s*Digital Signature\n/);
      assert.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/);
    });

  test('writes common name and key encipherment when asked for', async () => {
    const usages = [...tlsUsages, 'key encipherment'] as const;
    const request = buildCertificationRequest(
      { names, usages, commonName: 'web.shop.svc' },
      newKey(),
    );
    const pem = encodePem('CERTIFICATE REQUEST', request);
    const { text } = await openssl(['req', '-verify', '-noout', '-text'], pem);
    assert.match(text, /Subject: CN = web\.shop\.svc\n/);
    assert.match(text, /Subject Alternative Name: *\n/);
    assert.match(text, /Digital Signature, Key Encipherment\n/);
  });
});

describe('parseCertificationRequest()', () => {
  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ED25519', 'RSA2048'] as const)
    test(`gives back what was asked for with a key ${algorithm}`, async () => {
      const key = await generateKey(algorithm);
      for (const commonName of [undefined, 'web.shop.svc']) {
        const parsed = parseCertificationRequest(
          buildCertificationRequest({ ...content, commonName }, key),
        );
        assert.deepEqual(parsed.names, names);
        assert.equal(parsed.commonName, commonName);
        assert.deepEqual(parsed.publicKeyDer, key.publicKeyDer);
        assert.deepEqual(
          parsed.extensions.map((extension) => extension.oid),
          ['2.5.29.17', '2.5.29.15', '2.5.29.37'],
        );
      }
    });

  for (const [what, keyPair] of [
    ['P-256', newKey()],
    ['Ed25519', keyPairOf(generateKeyPairSync('ed25519').privateKey)],
    ['RSA', keyPairOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)],
  ] as const)
    test(`never accepts other content after any byte of a request with a key ${what} changed`, () => {
      const request = buildCertificationRequest(
        { ...content, commonName: 'web.shop.svc' },
        keyPair,
      );
      const signed = signedPart(request);
      for (let at = 0; at < request.length; at++)
        for (const flip of [0x01, 0x80]) {
          const changed = Buffer.from(request);
          changed[at] = (changed[at] ?? 0) ^ flip;
          if (isAccepted(changed))
            assert.deepEqual(signedPart(changed), signed, `byte ${at} flipped by ${flip}`);
        }
    });

  test('refuses every shortened request and every one with a byte more', () => {
    const request = buildCertificationRequest(content, newKey());
    for (let length = 0; length < request.length; length++)
      assert.throws(() => parseCertificationRequest(request.subarray(0, length)));
    assert.throws(() => parseCertificationRequest(Buffer.concat([request, Buffer.of(0)])));
  });

  test('refuses a request signed by another key', () => {
    const [key, other] = [newKey(), newKey()];
    const stolen = { privateKey: other.privateKey, publicKeyDer: key.publicKeyDer };
    assert.throws(
      () => parseCertificationRequest(buildCertificationRequest(content, stolen)),
      /signature does not verify with its own public key/,
    );
  });

  test('refuses a request of more than 96 KiB before it reads it', () => {
    assert.throws(() => parseCertificationRequest(Buffer.alloc(96 * 1024 + 1)), /98305 bytes/);
  });

  const san = usualNames;
  const email = der.taggedBytes(1, Buffer.from('me@example.com'));

  const commonName = '2.5.4.3';
  const inBmp = der.bmpString('web.shop.svc');

  const refusals: readonly (readonly [string, RequestParts, RegExp])[] = [
    ['no attribute', { attributes: [] }, /no subject alternative names/],
    ['no names', { attributes: [asking()] }, /no subject alternative names/],
    ['two attributes', { attributes: [asking(san), asking(san)] }, /more than one attribute/],
    [
      'a challenge password',
      { attributes: [attribute('1.2.840.113549.1.9.7', der.utf8String('secret'))] },
      /attribute other than extensionRequest/,
    ],
    [
      'two values of extensionRequest',
      {
        attributes: [
          attribute(extensionRequest, der.sequence(encodeExtension(san)), der.sequence()),
        ],
      },
      /more than one value/,
    ],
    ['an extension twice', { attributes: [asking(san, san)] }, /an extension twice/],
    [
      'an e-mail address among its names',
      { attributes: [asking(altName(email))] },
      /a kind other than DNS, IP and URI \(\[1\]\)/,
    ],
    [
      'an address of five bytes',
      {
        attributes: [asking(altName(der.taggedBytes(7, Buffer.of(10, 0, 0, 7, 0))))],
      },
      /an address of 5 bytes/,
    ],
    ['version 1', { version: 1 }, /version is not 0/],
    [
      'an organisation in its subject',
      {
        subject: nameOf(['2.5.4.10', der.utf8String('system:masters')]),
      },
      /more than a common name/,
    ],
    [
      'two common names',
      {
        subject: nameOf(
          [commonName, der.utf8String('web.shop.svc')],
          [commonName, der.utf8String('google.com')],
        ),
      },
      /more than a common name/,
    ],
    [
      'an OID that only wraps round to that of the names',
      { replace: ['551d11', '551d90808080' + '11'] },
      /./,
    ],
    ['an OID with leading zero bits (not DER)', { replace: ['551d11', '551d8011'] }, /./],
    ['a critical flag that is neither 00 nor ff (not DER)', { replace: ['ff', '01'] }, /./],
    ['a critical flag that says its default (not DER)', { replace: ['ff', '00'] }, /./],
    [
      'an attribute type that only wraps round to extensionRequest',
      { replace: ['2a864886f70d01090e', '2a864886f70d010990808080' + '0e'] },
      /./,
    ],
    [
      'a third part in an attribute of the subject',
      {
        subject: der.sequence(
          der.setOf(
            der.sequence(der.oid('2.5.4.3'), der.utf8String('web.shop.svc'), der.nothing()),
          ),
        ),
      },
      /./,
    ],
    [
      'a common name in UTF-16',
      { subject: nameOf([commonName, inBmp]) },
      /common name has another type/,
    ],
    [
      'two common names in one set',
      {
        subject: der.sequence(
          der.setOf(
            ...['web.shop.svc', 'google.com'].map((name) =>
              der.sequence(der.oid(commonName), der.utf8String(name)),
            ),
          ),
        ),
      },
      /more than a common name/,
    ],
    ['an attribute that is none', { attributes: [der.tagged(1)] }, /attribute is not a SEQUENCE/],
    ['a fifth part', { moreInside: der.tagged(0) }, /does not have its four parts/],
    ['a part after its signature', { moreOutside: der.nothing() }, /more than three parts/],
    ['a negative version', { replace: ['00', 'ff'] }, /version is not 0/],
    ['a version of two bytes', { replace: ['00', '0000'] }, /./],
    [
      'parameters of the signature algorithm that do not belong there',
      { algorithm: (key) => withParameter(signatureIdentifier(key)) },
      /./,
    ],
  ];
  for (const [what, parts, why] of refusals)
    test(`refuses a well-signed request with ${what}`, () => {
      assert.throws(() => parseCertificationRequest(craftedRequest(parts, newKey())), why);
    });

  test('reads a crafted request that is right', () => {
    const request = craftedRequest({ attributes: [asking(san)] }, newKey());
    assert.deepEqual(parseCertificationRequest(request).names, dnsNames('web.shop.svc'));
  });

  test('says in its own words that a key cannot be read', () => {
    const key = newKey();
    const unreadable = [
      der.encodeDer(der.sequence()),
      der.encodeDer(der.sequence(der.sequence(der.oid('1.2.3')), der.bitString(Buffer.of(1, 2)))),
      // A point that is not on the curve.
      Buffer.concat([
        key.publicKeyDer.subarray(0, -1),
        Buffer.of((key.publicKeyDer.at(-1) ?? 0) ^ 1),
      ]),
    ];
    for (const publicKeyDer of unreadable)
      assert.throws(
        () => parseCertificationRequest(craftedRequest({}, { ...key, publicKeyDer })),
        /^Error: its public key cannot be read$/,
      );
  });

  test('refuses a signature by SHA-1 and one by RSA-PSS', async (t) => {
    const key = keyFile(
      t,
      keyPairOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
    );
    for (const options of [['-sha1'], ['-sha256', '-sigopt', 'rsa_padding_mode:pss']]) {
      const { ok, text } = await openssl([
        ...['req', '-new', '-key', key, '-subj', '/', ...options],
        ...['-addext', 'subjectAltName=DNS:web.shop.svc'],
      ]);
      assert.ok(ok, text);
      const base64 = /REQUEST-----([^-]+)-----END/.exec(text)?.[1] ?? '';
      assert.throws(
        () => parseCertificationRequest(Buffer.from(base64, 'base64')),
        /signature does not verify/,
      );
    }
  });

  test('reads a request that openssl made', async (t) => {
    const { text } = await openssl([
      ...['req', '-new', '-key', keyFile(t, newKey()), '-subj', '/CN=web.shop.svc', '-sha512'],
      ...['-addext', 'subjectAltName=DNS:web.shop.svc,IP:fd00::7,URI:spiffe://a/b'],
    ]);
    const base64 = /REQUEST-----([^-]+)-----END/.exec(text)?.[1] ?? '';
    const parsed = parseCertificationRequest(Buffer.from(base64, 'base64'));
    assert.equal(parsed.commonName, 'web.shop.svc');
    assert.deepEqual(parsed.names, {
      dnsNames: ['web.shop.svc'],
      ipAddresses: ['fd00::7'],
      uris: ['spiffe://a/b'],
    });
  });
});

function keyFile(test: TestContext, keyPair: KeyPair): string {
  const path = join(temporaryDirectory(test), 'key.pem');
  writeFileSync(path, privateKeyPem(keyPair));
  return path;
}

/** The bytes that the signature covers. */
function signedPart(request: Buffer): Buffer {
  const [info] = der.membersOf(der.decodeDer(request), 'sequence', 'request');
  assert.ok(info);
  return der.encodeDer(info);
}

function isAccepted(request: Buffer): boolean {
  try {
    parseCertificationRequest(request);
    return true;
  } catch {
    return false;
  }
}

function withParameter(algorithm: der.Der): der.Der {
  return der.sequence(...der.membersOf(algorithm, 'sequence', 'algorithm'), der.nothing());
}
