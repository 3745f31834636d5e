import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bundleOf, nextBundle, sameBundle, type TrustFileReading } from '../../src/trust/bundle.ts';
import { newCa, type TestCa } from '../support/certificate-builders.ts';

const [old, current, coming] = [newCa(), newCa(), newCa()];

const read = (pem: string, path = '/trust/ca.crt'): TrustFileReading => ({
  path,
  kind: 'read',
  pem,
});
const unreadable = (path = '/trust/ca.crt'): TrustFileReading => ({
  path,
  kind: 'unreadable',
  why: 'it does not exist',
});

const previous = bundleOf([old.certificate, current.certificate]);

/** A bundle's text is canonical: equal texts are equal bundles. */
const pemOf = (...authorities: readonly TestCa[]): string =>
  bundleOf(authorities.map((each) => each.certificate)).pem;

describe('nextBundle()', () => {
  test('takes what the files hold, and drops what they hold no more', () => {
    const { bundle, unusable } = nextBundle(previous, [read(current.pem + coming.pem)]);
    assert.equal(bundle.pem, pemOf(current, coming));
    assert.deepEqual(unusable, []);
  });

  test('joins several files without doubles', () => {
    const { bundle } = nextBundle(undefined, [
      read(old.pem, '/a'),
      read(old.pem + current.pem, '/b'),
    ]);
    assert.equal(bundle.pem, previous.pem);
  });

  for (const [what, reading, why] of [
    ['missing', unreadable(), 'it does not exist'],
    ['empty', read(''), 'it holds no certificate'],
    ['without any PEM block', read('coming soon\n'), 'it holds no certificate'],
    ['cut off', read(current.pem.slice(0, -20)), 'PEM block 1 (CERTIFICATE) has no end line'],
    [
      'a key',
      read('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'),
      'PEM block 1 is a PRIVATE KEY, not a CERTIFICATE',
    ],
    [
      'a certificate in name only',
      read('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
      'PEM block 1 does not hold an X.509 certificate',
    ],
    [
      'broken after a good block',
      read(`${coming.pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`),
      'PEM block 2 does not hold an X.509 certificate',
    ],
  ] as const) {
    test(`drops nothing while a file is ${what}, and says so`, () => {
      const next = nextBundle(previous, [reading]);
      assert.equal(next.bundle.pem, previous.pem);
      assert.deepEqual(next.unusable, [{ path: '/trust/ca.crt', why }]);
    });

    test(`takes in what a second file brings while the first is ${what}`, () => {
      const next = nextBundle(previous, [reading, read(coming.pem, '/trust/other.crt')]);
      assert.equal(next.bundle.pem, pemOf(old, current, coming));
    });
  }

  test('is empty when nothing was ever there', () => {
    assert.deepEqual(nextBundle(undefined, [unreadable()]).bundle.certificates, []);
  });

  test('keeps nothing that no file holds once every file is well again', () => {
    const broken = nextBundle(previous, [read(coming.pem, '/a'), unreadable('/b')]).bundle;
    const healed = nextBundle(broken, [read(coming.pem, '/a'), read(coming.pem, '/b')]).bundle;
    assert.equal(healed.pem, pemOf(coming));
  });
});

describe('sameBundle()', () => {
  test('does not care for order and doubles', () => {
    const shuffled = bundleOf([current.certificate, old.certificate, current.certificate]);
    assert.equal(sameBundle(previous, shuffled), true);
    assert.equal(shuffled.certificates.length, 2);
  });

  test('tells another root and none apart', () => {
    assert.equal(sameBundle(previous, bundleOf([old.certificate, coming.certificate])), false);
    assert.equal(sameBundle(previous, undefined), false);
    assert.equal(sameBundle(undefined, undefined), true);
  });
});
