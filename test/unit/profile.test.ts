import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { extensionsOf, subjectNamesIn } from '../../src/pki/certificate.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';
import { extensionOids, type Usage } from '../../src/pki/extensions.ts';
import { type CertificateTemplate } from '../../src/pki/issue-certificate.ts';
import { certificateProfile, type ProfileLimits } from '../../src/signer/profile.ts';
import {
  atNoonPlus,
  dayMs,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  noon,
  tlsUsages,
} from '../support/certificate-builders.ts';
import { asking, craftedRequest, usualNames } from '../support/crafted-request.ts';

const minuteMs = 60_000;

const names: SubjectNames = {
  dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
  ipAddresses: ['10.0.0.7', 'fd00::7'],
  uris: ['spiffe://cluster.local/ns/shop/sa/web'],
};
const key = newKey();
const requestOf = (commonName?: string, usages: readonly Usage[] = tlsUsages) =>
  parseCertificationRequest(buildCertificationRequest({ names, commonName, usages }, key));
const request = requestOf();

const limits: ProfileLimits = {
  defaultLifetimeMs: dayMs,
  maximumLifetimeMs: 90 * dayMs,
  backDateMs: 5 * minuteMs,
  issuerValidity: { notBefore: atNoonPlus(-365 * dayMs), notAfter: atNoonPlus(365 * dayMs) },
};

interface Changes {
  readonly usages?: readonly Usage[];
  readonly expirationSeconds?: number;
  readonly limits?: Partial<ProfileLimits>;
  readonly serial?: Uint8Array;
  readonly of?: typeof request;
}

function profile(changes: Changes = {}): CertificateTemplate {
  const { usages = tlsUsages, expirationSeconds, serial = randomBytes(16) } = changes;
  return certificateProfile(
    changes.of ?? request,
    { usages, expirationSeconds },
    { ...limits, ...changes.limits },
    { now: noon, serial },
  );
}

const oidsOf = ({ extensions }: CertificateTemplate): string[] => extensions.map(({ oid }) => oid);

describe('certificateProfile() and time', () => {
  const issuer = (fromMs: number, toMs: number): Partial<ProfileLimits> => ({
    issuerValidity: { notBefore: atNoonPlus(fromMs), notAfter: atNoonPlus(toMs) },
  });

  for (const [what, changes, from, to] of [
    ['the default lifetime', {}, -5 * minuteMs, dayMs],
    ['the lifetime asked for', { expirationSeconds: 3600 }, -5 * minuteMs, hourMs],
    ['the shortest that the API takes', { expirationSeconds: 600 }, -5 * minuteMs, 10 * minuteMs],
    ['the longest', { expirationSeconds: 90 * 86_400 }, -5 * minuteMs, 90 * dayMs],
    ['no more than the longest', { expirationSeconds: 90 * 86_400 + 1 }, -5 * minuteMs, 90 * dayMs],
    [
      'no more than the longest by default either',
      { limits: { maximumLifetimeMs: hourMs } },
      -5 * minuteMs,
      hourMs,
    ],
    ['nothing beyond its issuer', { limits: issuer(-1000, hourMs) }, -1000, hourMs],
    ['no time before now, where that is not wanted', { limits: { backDateMs: 0 } }, 0, dayMs],
  ] as const satisfies readonly (readonly [string, Changes, number, number])[])
    test(`gives ${what}`, () => {
      const { validity } = profile(changes);
      assert.deepEqual(validity, { notBefore: atNoonPlus(from), notAfter: atNoonPlus(to) });
    });

  test('is valid now, and never when its issuer is not', () => {
    const span = fc.integer({ min: 1, max: 1e10 });
    fc.assert(
      fc.property(span, span, fc.option(fc.nat(2 ** 31 - 1)), (before, after, seconds) => {
        const { validity } = profile({
          limits: issuer(-before, after),
          ...(seconds === null ? {} : { expirationSeconds: seconds }),
        });
        assert.ok(validity.notBefore <= noon && noon <= validity.notAfter);
        assert.ok(validity.notBefore >= atNoonPlus(-before));
        assert.ok(validity.notAfter <= atNoonPlus(after));
        const lifetimeMs = validity.notAfter.getTime() - noon.getTime();
        assert.ok(lifetimeMs <= limits.maximumLifetimeMs);
      }),
    );
  });
});

describe('certificateProfile() and serial numbers', () => {
  for (const [first, expected] of [
    [0xff, 0x7f],
    [0x00, 0x40],
    [0x80, 0x40],
    [0x3f, 0x7f],
  ] as const)
    test(`makes 0x${first.toString(16)}… positive and of full length`, () => {
      const { serial } = profile({ serial: Buffer.alloc(16, first) });
      assert.deepEqual([serial.length, serial[0]], [16, expected]);
      assert.deepEqual(serial.subarray(1), Uint8Array.from(Buffer.alloc(15, first)));
    });

  test('does not change the bytes that it was given', () => {
    const serial = Buffer.alloc(16, 0xff);
    profile({ serial });
    assert.equal(serial[0], 0xff);
  });
});

describe('certificateProfile() and content', () => {
  test('leaves the names exactly as they were asked for', () => {
    const leaf = newLeaf(newCa(), { extensions: profile().extensions });
    assert.deepEqual(subjectNamesIn(leaf), names);
    assert.equal(leaf.x509.ca, false);
  });

  test('passes on names, common name and key, and builds the rest', () => {
    const template = profile({ of: requestOf('web.shop.svc') });
    assert.equal(template.commonName, 'web.shop.svc');
    assert.deepEqual(template.publicKeyDer, key.publicKeyDer);
    const { subjectAltName, keyUsage, extendedKeyUsage, basicConstraints } = extensionOids;
    assert.deepEqual(oidsOf(template), [
      subjectAltName,
      keyUsage,
      extendedKeyUsage,
      basicConstraints,
    ]);
  });

  test('copies no extension of the request, whatever it says there', () => {
    const strange = [
      {
        oid: extensionOids.basicConstraints,
        critical: true,
        value: Buffer.from('30030101ff', 'hex'),
      },
      { oid: extensionOids.keyUsage, critical: true, value: Buffer.from('03020106', 'hex') },
      { oid: '1.2.3.4', critical: true, value: Buffer.from('0500', 'hex') },
    ];
    const pkcs10 = craftedRequest({ attributes: [asking(usualNames, ...strange)] }, key);
    const { extensions } = profile({ of: parseCertificationRequest(pkcs10) });
    const plain = profile({
      of: parseCertificationRequest(craftedRequest({ attributes: [asking(usualNames)] }, key)),
    });
    assert.deepEqual(extensions, plain.extensions);
    const leaf = newLeaf(newCa(), { extensions });
    assert.equal(leaf.x509.ca, false);
    assert.ok(!extensionsOf(leaf).some(({ oid }) => oid === '1.2.3.4'));
  });

  test('makes the names critical exactly when the subject is empty (RFC 5280 4.1.2.6)', () => {
    assert.equal(profile().extensions[0]?.critical, true);
    assert.equal(profile({ of: requestOf('web.shop.svc') }).extensions[0]?.critical, false);
  });

  for (const [usages, bits, purposes] of [
    [['server auth'], undefined, '300a06082b06010505070301'],
    [['client auth'], undefined, '300a06082b06010505070302'],
    [['digital signature', 'client auth'], '03020780', '300a06082b06010505070302'],
    [
      ['key encipherment', 'digital signature', 'server auth'],
      '030205a0',
      '300a06082b06010505070301',
    ],
    [tlsUsages, '03020780', '301406082b0601050507030106082b06010505070302'],
  ] as const satisfies readonly (readonly [readonly Usage[], string | undefined, string])[])
    test(`writes the usages of the signing request: ${usages.join(', ')}`, () => {
      const { extensions } = profile({ usages });
      const valueOf = (oid: string): string | undefined =>
        extensions.find((each) => each.oid === oid)?.value.toString('hex');
      assert.equal(valueOf(extensionOids.keyUsage), bits);
      assert.equal(valueOf(extensionOids.extendedKeyUsage), purposes);
    });
});
