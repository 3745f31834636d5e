import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { acceptChain, type Expectation } from '../../src/certificates/accept.ts';
import { type ErrorCode } from '../../src/errors.ts';
import { type Certificate, certificatesPem } from '../../src/pki/certificate.ts';
import * as der from '../../src/pki/der.ts';
import {
  extendedKeyUsage,
  extensionOids,
  keyUsage,
  subjectAltName,
} from '../../src/pki/extensions.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import {
  atNoonPlus,
  basicConstraints,
  dayMs,
  dnsNames,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  noon,
  tlsUsages,
  type LeafRequest,
  type TestCa,
} from '../support/certificate-builders.ts';
import { podsealErrorOf } from '../support/thrown.ts';

const root = newCa();
const middle = newCa({ commonName: 'middle', parent: root });
const lower = newCa({ commonName: 'lower', parent: middle });
const keyPair = newKey();

const expected: Expectation = {
  requestName: 'podseal-1',
  publicKeyDer: keyPair.publicKeyDer,
  names: dnsNames('web.shop.svc', 'web.shop.svc.cluster.local'),
  usages: tlsUsages,
  bundle: bundleOf([root.certificate]),
  now: noon,
};

/** A leaf that is right but for `more`. */
const leaf = (more: LeafRequest = {}, ca: TestCa = root): Certificate =>
  newLeaf(ca, { keyPair, names: expected.names, ...more });

const accept = (...certificates: readonly Certificate[]) =>
  acceptChain(certificatesPem(certificates), expected);

const san = subjectAltName(expected.names, true);
const usual = [keyUsage(tlsUsages), extendedKeyUsage(tlsUsages), basicConstraints(false)].filter(
  (extension) => extension !== undefined,
);

const signing = [keyUsage(['digital signature', 'cert sign']), extendedKeyUsage(tlsUsages)].filter(
  (extension) => extension !== undefined,
);

describe('acceptChain()', () => {
  test('accepts what was asked for', () => {
    const certificate = leaf();
    assert.deepEqual(
      accept(certificate).map((each) => each.fingerprint),
      [certificate.fingerprint],
    );
  });

  test('accepts more names than asked for, and text around the blocks', () => {
    const names = dnsNames('more.shop.svc', ...expected.names.dnsNames);
    const pem = `subject=web\n${certificatesPem([leaf({ names })])}bye\n`;
    assert.equal(acceptChain(pem, expected).length, 1);
  });

  test('accepts a certificate without purposes, which allows any', () => {
    const extensions = [san, basicConstraints(false)];
    assert.equal(accept(leaf({ extensions })).length, 1);
  });

  test('gives the intermediates in signing order, without the root', () => {
    const certificate = leaf({}, lower);
    const path = accept(certificate, root.certificate, middle.certificate, lower.certificate);
    assert.deepEqual(
      path.map((each) => each.fingerprint),
      [certificate, lower.certificate, middle.certificate].map((each) => each.fingerprint),
    );
  });

  const fiveBytes = der.encodeDer(der.sequence(der.taggedBytes(7, Buffer.of(10, 0, 0, 7, 0))));
  const anyName = { oid: extensionOids.subjectAltName, critical: true };
  const refusals: readonly (readonly [string, () => unknown, ErrorCode, RegExp])[] = [
    ['nothing', () => acceptChain('', expected), 'CERTIFICATE_MALFORMED', /it holds no PEM block/],
    [
      'garbage',
      () => acceptChain('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', expected),
      'CERTIFICATE_MALFORMED',
      /PEM block 1 does not hold an X.509 certificate/,
    ],
    [
      'a private key',
      () => acceptChain('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', expected),
      'CERTIFICATE_MALFORMED',
      /PEM block 1 is a PRIVATE KEY/,
    ],
    [
      'a block that was cut off',
      () => acceptChain(certificatesPem([leaf()]).slice(0, -30), expected),
      'CERTIFICATE_MALFORMED',
      /has no end line/,
    ],
    [
      'names that are no GeneralNames',
      () => accept(leaf({ extensions: [{ ...anyName, value: fiveBytes }, ...usual] })),
      'CERTIFICATE_MALFORMED',
      /./,
    ],
    [
      'the certificate of another key',
      () => accept(leaf({ keyPair: newKey() })),
      'CERTIFICATE_MISMATCH',
      /public key is not the one we sent/,
    ],
    [
      'a chain that does not begin with the leaf',
      () => accept(middle.certificate, leaf({}, middle)),
      'CERTIFICATE_MISMATCH',
      /the certificate of our key is number 2 of 2, and the leaf must come first/,
    ],
    [
      'a certificate that lacks a name',
      () => accept(leaf({ names: dnsNames('web.shop.svc') })),
      'CERTIFICATE_MISMATCH',
      /it lacks names that were asked for: "web\.shop\.svc\.cluster\.local"$/,
    ],
    [
      'a certificate without any name',
      () => accept(leaf({ extensions: usual })),
      'CERTIFICATE_MISMATCH',
      /it lacks names/,
    ],
    [
      'a certificate for servers alone',
      () => accept(leaf({ usages: ['digital signature', 'server auth'] })),
      'CERTIFICATE_MISMATCH',
      /it does not allow: client auth$/,
    ],
    [
      'a certificate that may not sign handshakes',
      () => accept(leaf({ usages: ['key encipherment', 'server auth', 'client auth'] })),
      'CERTIFICATE_MISMATCH',
      /it does not allow: digital signature/,
    ],
    [
      'a CA certificate',
      () => accept(leaf({ extensions: [san, ...signing, basicConstraints(true)] })),
      'CERTIFICATE_MISMATCH',
      /it is a CA certificate/,
    ],
    [
      'an expired certificate',
      () => accept(leaf({ validity: { notBefore: atNoonPlus(-dayMs), notAfter: noon } })),
      'CERTIFICATE_EXPIRED',
      /it expired at 2026-06-01T12:00:00\.000Z/,
    ],
    [
      'a certificate of the future',
      () =>
        accept(leaf({ validity: { notBefore: atNoonPlus(1000), notAfter: atNoonPlus(hourMs) } })),
      'CERTIFICATE_NOT_YET_VALID',
      /it is valid only from 2026-06-01T12:00:01\.000Z/,
    ],
    [
      'a certificate of a foreign CA',
      () => accept(leaf({}, newCa({ commonName: 'foreign' }))),
      'CERTIFICATE_UNTRUSTED',
      /"CN=foreign" does not lead to a root of the bundle/,
    ],
    [
      'a certificate without its intermediate',
      () => accept(leaf({}, middle)),
      'CERTIFICATE_UNTRUSTED',
      /"CN=middle" does not lead to a root/,
    ],
  ];
  for (const [what, action, code, why] of refusals)
    test(`refuses ${what} as ${code}`, () => {
      const error = podsealErrorOf(action);
      assert.equal(error.code, code, error.message);
      assert.match(error.message, /^Cannot use the certificate issued for "podseal-1": /);
      assert.match(error.message, why);
      assert.ok(error.hint);
    });

  test('names twenty missing names at most', () => {
    const many = Array.from({ length: 25 }, (_, index) => `n${index}.shop.svc`);
    const { message } = podsealErrorOf(() =>
      acceptChain(certificatesPem([leaf()]), { ...expected, names: dnsNames(...many) }),
    );
    assert.match(message, /"n19\.shop\.svc", and 5 more$/);
  });
});
