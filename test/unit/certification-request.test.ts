import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
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
import { distinguishedName } from '../../src/pki/distinguished-name.ts';
import { encodeExtension, subjectAltName, type Extension } from '../../src/pki/extensions.ts';
import {
  keyAlgorithms,
  keyPairOf,
  privateKeyPem,
  type KeyAlgorithm,
  type KeyPair,
} from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { signatureIdentifier, signDer } from '../../src/pki/signature.ts';
import { dnsNames, newKey, tlsUsages } from '../support/certificate-builders.ts';
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

  const san = subjectAltName(dnsNames('web.shop.svc'), true);
  const attribute = (type: string, ...values: readonly der.Der[]) =>
    der.sequence(der.oid(type), der.setOf(...values));
  const extensionRequest = '1.2.840.113549.1.9.14';
  const asking = (...extensions: readonly der.Der[]) =>
    attribute(extensionRequest, der.sequence(...extensions));
  const altName = (...nodes: readonly der.Der[]): Extension => ({
    ...san,
    value: der.encodeDer(der.sequence(...nodes)),
  });
  const email = der.taggedBytes(1, Buffer.from('me@example.com'));

  const refusals: readonly (readonly [string, RequestParts, RegExp])[] = [
    ['no attribute', { attributes: [] }, /no subject alternative names/],
    ['no names', { attributes: [asking()] }, /no subject alternative names/],
    [
      'two attributes',
      { attributes: [asking(encodeExtension(san)), asking(encodeExtension(san))] },
      /more than one attribute/,
    ],
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
    [
      'an extension twice',
      { attributes: [asking(encodeExtension(san), encodeExtension(san))] },
      /an extension twice/,
    ],
    [
      'an e-mail address among its names',
      { attributes: [asking(encodeExtension(altName(email)))] },
      /a kind other than DNS, IP and URI \(\[1\]\)/,
    ],
    [
      'an address of five bytes',
      {
        attributes: [
          asking(encodeExtension(altName(der.taggedBytes(7, Buffer.of(10, 0, 0, 7, 0))))),
        ],
      },
      /an address of 5 bytes/,
    ],
    ['version 1', { version: 1 }, /version is not 0/],
    [
      'an organisation in its subject',
      {
        subject: der.sequence(
          der.setOf(der.sequence(der.oid('2.5.4.10'), der.utf8String('system:masters'))),
        ),
      },
      /more than a common name/,
    ],
    [
      'two common names',
      {
        subject: der.sequence(
          ...['web.shop.svc', 'google.com'].map((name) =>
            der.setOf(der.sequence(der.oid('2.5.4.3'), der.utf8String(name))),
          ),
        ),
      },
      /more than a common name/,
    ],
    [
      'an OID that only wraps round to that of the names',
      { attributes: [asking(replaced(encodeExtension(san), '551d11', '551d90808080' + '11'))] },
      /./,
    ],
    [
      'an OID with leading zero bits (not DER)',
      { attributes: [asking(replaced(encodeExtension(san), '551d11', '551d8011'))] },
      /./,
    ],
    [
      'a critical flag that is neither 00 nor ff (not DER)',
      { attributes: [asking(replaced(encodeExtension(san), '0101ff', '010101'))] },
      /./,
    ],
    [
      'a critical flag that says its default (not DER)',
      { attributes: [asking(replaced(encodeExtension(san), '0101ff', '010100'))] },
      /./,
    ],
    [
      'an attribute type that only wraps round to extensionRequest',
      {
        attributes: [
          replaced(
            asking(encodeExtension(san)),
            '2a864886f70d01090e',
            '2a864886f70d010990808080' + '0e',
          ),
        ],
      },
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
    const request = craftedRequest({ attributes: [asking(encodeExtension(san))] }, newKey());
    assert.deepEqual(parseCertificationRequest(request).names, dnsNames('web.shop.svc'));
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

interface RequestParts {
  readonly version?: number;
  readonly subject?: der.Der;
  readonly attributes?: readonly der.Der[];
  readonly algorithm?: (key: KeyObject) => der.Der;
}

/** A request of any content, signed as it should be. */
function craftedRequest(parts: RequestParts, { privateKey, publicKeyDer }: KeyPair): Buffer {
  const san = encodeExtension(subjectAltName(dnsNames('web.shop.svc'), true));
  const usual = der.sequence(der.oid('1.2.840.113549.1.9.14'), der.setOf(der.sequence(san)));
  const info = der.sequence(
    der.integer(Uint8Array.of(parts.version ?? 0)),
    parts.subject ?? distinguishedName(),
    der.decodeDer(publicKeyDer),
    der.tagged(0, ...(parts.attributes ?? [usual])),
  );
  const algorithm = (parts.algorithm ?? signatureIdentifier)(privateKey);
  const signature = der.bitString(signDer(der.encodeDer(info), privateKey));
  return der.encodeDer(der.sequence(info, algorithm, signature));
}

/**
 * The node with some bytes of its encoding (hex) replaced by others, and its lengths put right: each
 * byte more than before lengthens the sequences and the one value around it.
 */
function replaced(node: der.Der, from: string, to: string): der.Der {
  const replaceIn = (each: der.Der): der.Der => {
    if (Array.isArray(each.value)) return { ...each, value: each.value.map(replaceIn) };
    const tagAndLength = 2;
    const hex = Buffer.from(each.value, 'latin1').toString('hex');
    const whole = der.encodeDer(each).toString('hex');
    const value = hex === from ? to : whole === from ? to.slice(2 * tagAndLength) : hex;
    return { ...each, value: Buffer.from(value, 'hex').toString('latin1') };
  };
  const result = replaceIn(node);
  assert.notDeepEqual(der.encodeDer(result), der.encodeDer(node), 'nothing was replaced');
  return result;
}

function withParameter(algorithm: der.Der): der.Der {
  return der.sequence(...der.membersOf(algorithm, 'sequence', 'algorithm'), der.nothing());
}
