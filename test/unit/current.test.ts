import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { statusOf, type Status } from '../../src/agent/status.ts';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { certificatesPem } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { readCurrent } from '../../src/volume/current.ts';
import { payload } from '../../src/volume/payload.ts';
import { type PublishedSet } from '../../src/volume/volume.ts';
import {
  atNoonPlus,
  dnsNames,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  noon,
  today,
} from '../support/certificate-builders.ts';

const ca = newCa();
const keyPair = newKey();
const leaf = newLeaf(ca, { keyPair });
const bundle = bundleOf([ca.certificate]);

const published: PublishedSet = {
  tlsKey: Buffer.from(privateKeyPem(keyPair)),
  tlsCrt: certificatesPem([leaf]),
  caCrt: ca.pem,
  receipt: { requestName: 'podseal-1', receivedAt: noon.toISOString(), renewAnnotation: undefined },
  files: ['tls.key', 'tls.crt', 'ca.crt'],
};

describe('readCurrent()', () => {
  test('understands a whole set', () => {
    const current = readCurrent(published);
    assert.ok(current.kind === 'usable');
    assert.equal(current.set.leaf.fingerprint, leaf.fingerprint);
    assert.equal(current.set.bundle.pem, bundle.pem);
  });

  for (const [what, set, why] of [
    ['no set', undefined, /there is none yet/],
    ['a set without key', { ...published, tlsKey: undefined }, /is missing/],
    ['an empty key', { ...published, tlsKey: Buffer.of() }, /./],
    ['a broken key', { ...published, tlsKey: Buffer.from('key') }, /not a PEM private key/],
    [
      'the key of another certificate',
      { ...published, tlsKey: Buffer.from(privateKeyPem(newKey())) },
      /tls\.key does not belong to tls\.crt/,
    ],
    ['an empty tls.crt', { ...published, tlsCrt: '' }, /tls\.crt holds no certificate/],
    ['a set without ca.crt', { ...published, caCrt: undefined }, /is missing/],
    ['a set without receipt', { ...published, receipt: undefined }, /its receipt is missing/],
    [
      'a broken chain',
      { ...published, tlsCrt: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' },
      /PEM block 1/,
    ],
  ] as const)
    test(`calls ${what} unusable`, () => {
      const current = readCurrent(set);
      assert.ok(current.kind === 'unusable');
      assert.match(current.why, why);
    });
});

describe('statusOf()', () => {
  const current = readCurrent(published);
  const names = dnsNames('web.shop.svc');
  const status = (given: { names?: SubjectNames; bundle?: typeof bundle; now?: Date }): Status =>
    statusOf(current, given.names ?? names, given.bundle ?? bundle, given.now ?? noon);

  test('is ready without reasons while all is well', () => {
    const expected = {
      ready: true,
      reasons: [],
      expired: false,
      untrusted: undefined,
      missing: [],
    };
    assert.deepEqual(status({}), expected);
  });

  test('is not ready without a certificate', () => {
    const { ready, reasons } = statusOf(readCurrent(undefined), names, bundle, noon);
    assert.equal(ready, false);
    assert.deepEqual(reasons, ['no usable certificate: there is none yet']);
  });

  test('is not ready from the moment of expiry on', () => {
    assert.equal(status({ now: new Date(today.notAfter.getTime() - 1) }).ready, true);
    const { ready, expired, reasons } = status({ now: today.notAfter });
    assert.deepEqual([ready, expired], [false, true]);
    assert.match(reasons.join(), /the certificate expired at 2026-06-02T11:55:00/);
  });

  test('stays ready and reports while the chain does not verify', () => {
    const { ready, untrusted } = status({ bundle: bundleOf([newCa().certificate]) });
    assert.equal(ready, true);
    assert.match(untrusted ?? '', /does not lead to a root/);
  });

  test('stays ready and reports while names are missing', () => {
    const { ready, missing } = status({ names: dnsNames('web.shop.svc', 'api.shop.svc') });
    assert.equal(ready, true);
    assert.deepEqual(missing, ['api.shop.svc']);
  });

  test('reports a clock before the beginning of validity', () => {
    const { reasons } = status({ now: atNoonPlus(-hourMs) });
    assert.match(reasons.join(), /valid only from 2026-06-01T11:55:00/);
  });
});

describe('payload()', () => {
  const settings = { keyMode: 0o440, formats: [], storePassword: '' };

  test('gives key, chain and bundle with their modes', () => {
    const files = payload(privateKeyPem(keyPair), [leaf], bundle, settings);
    assert.deepEqual(files, [
      { name: 'tls.key', content: privateKeyPem(keyPair), mode: 0o440 },
      { name: 'tls.crt', content: certificatesPem([leaf]), mode: 0o444 },
      { name: 'ca.crt', content: ca.pem, mode: 0o444 },
    ]);
  });

  test('guards every file with the key in it by the mode of the key', () => {
    const formats = ['combined', 'pkcs12'] as const;
    const files = payload(privateKeyPem(keyPair), [leaf], bundle, {
      ...settings,
      formats,
      storePassword: 'changeit',
    });
    assert.deepEqual(
      files.map(({ name, mode }) => [name, mode.toString(8)]),
      [
        ['tls.key', '440'],
        ['tls.crt', '444'],
        ['ca.crt', '444'],
        ['tls-combined.pem', '440'],
        ['keystore.p12', '440'],
        ['truststore.p12', '444'],
      ],
    );
    const combined = files.find(({ name }) => name === 'tls-combined.pem');
    assert.equal(combined?.content, privateKeyPem(keyPair) + certificatesPem([leaf]));
  });
});
