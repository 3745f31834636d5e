import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test, type TestContext } from 'node:test';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { generateKey } from '../../src/node/key-generator.ts';
import { certificatesFromPem, extensionsOf } from '../../src/pki/certificate.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';
import { extensionOids, type Extension } from '../../src/pki/extensions.ts';
import { privateKeyPem, type KeyPair } from '../../src/pki/key-pair.ts';
import { authorityOf, makeRoot } from '../../src/signer/authority.ts';
import { certificateProfile, type ProfileLimits } from '../../src/signer/profile.ts';
import {
  atNoonPlus,
  dayMs,
  dnsNames,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  noon,
  tlsUsages,
} from '../support/certificate-builders.ts';
import { openssl, type ProgramResult } from '../support/openssl.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const podNames: SubjectNames = {
  dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
  ipAddresses: ['10.0.0.7', 'fd00::7'],
  uris: ['spiffe://cluster.local/ns/shop/sa/web'],
};

const rootOf = (keyPair: KeyPair, ipRanges?: readonly string[]): string =>
  makeRoot(
    {
      commonName: 'Podseal root',
      clusterDomain: 'cluster.local',
      trustDomain: 'cluster.local',
      ipRanges,
      notBefore: atNoonPlus(-hourMs),
      notAfter: atNoonPlus(30 * dayMs),
      serial: randomBytes(16),
    },
    keyPair,
  );

const issueFrom = (rootPem: string, rootKey: KeyPair, names: SubjectNames): string => {
  const authority = authorityOf(rootPem, privateKeyPem(rootKey));
  const request = parseCertificationRequest(
    buildCertificationRequest({ names, usages: tlsUsages }, newKey()),
  );
  const limits: ProfileLimits = {
    defaultLifetimeMs: dayMs,
    maximumLifetimeMs: 90 * dayMs,
    backDateMs: 300_000,
    issuerValidity: authority.certificate.validity,
  };
  const asked = { usages: tlsUsages, expirationSeconds: undefined };
  return authority.issue(
    certificateProfile(request, asked, limits, { now: noon, serial: randomBytes(16) }),
  );
};

/** openssl's own verdict at noon. `untrusted`: the intermediates, PEM. */
const opensslVerify = (
  t: TestContext,
  rootPem: string,
  chainPem: string,
  ...options: readonly string[]
): Promise<ProgramResult> => {
  const directory = temporaryDirectory(t);
  const file = (name: string, content: string): string => {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  };
  const chain = file('chain.pem', chainPem);
  return openssl([
    ...['verify', '-x509_strict', '-purpose', 'sslserver'],
    ...['-attime', String(noon.getTime() / 1000), '-no-CApath', '-no-CAstore'],
    ...['-CAfile', file('root.pem', rootPem), '-untrusted', chain, ...options, chain],
  ]);
};

for (const algorithm of ['ECDSAP256', 'RSA2048'] as const)
  describe(`makeRoot() and authorityOf() with a key ${algorithm}`, () => {
    let key: KeyPair;
    let rootPem: string;
    before(async () => {
      key = await generateKey(algorithm);
      rootPem = rootOf(key);
    });

    test('issue what openssl verifies strictly, for every name', async (t) => {
      const chain = issueFrom(rootPem, key, podNames);
      for (const option of [
        ['-verify_hostname', 'web.shop.svc'],
        ['-verify_hostname', 'web.shop.svc.cluster.local'],
        ['-verify_ip', '10.0.0.7'],
        ['-verify_ip', 'fd00::7'],
      ]) {
        const { ok, text } = await opensslVerify(t, rootPem, chain, ...option);
        assert.ok(ok, `${option.join(' ')}: ${text}`);
      }
    });

    for (const [what, names] of [
      ['google.com', dnsNames('google.com')],
      ['a name that only ends like ours', dnsNames('evilcluster.local')],
      ['a public address', { ...podNames, ipAddresses: ['8.8.8.8'] }],
      ['an identity of another trust domain', { ...podNames, uris: ['spiffe://other.example/x'] }],
    ] as const)
      test(`make a root under which openssl refuses ${what}`, async (t) => {
        const { ok, text } = await opensslVerify(t, rootPem, issueFrom(rootPem, key, names));
        assert.equal(ok, false, text);
        assert.match(text, /permitted subtree violation/);
      });
  });

describe('makeRoot()', () => {
  test('makes a root that openssl prints as one, with critical name constraints', async () => {
    const { text } = await openssl(['x509', '-noout', '-text'], rootOf(newKey()));
    assert.match(text, /Basic Constraints: critical\n\s*CA:TRUE, pathlen:0/);
    assert.match(text, /Key Usage: critical\n\s*Digital Signature, Certificate Sign, CRL Sign/);
    assert.match(text, /Name Constraints: critical\n\s*Permitted:/);
    assert.match(text, /DNS:svc\n\s*DNS:cluster\.local\n/);
  });

  test('writes the constraints as openssl writes them, to the byte', async () => {
    const bases = [
      ...['DNS:svc', 'DNS:cluster.local', 'URI:cluster.local'],
      ...['IP:10.0.0.0/255.0.0.0', 'IP:172.16.0.0/255.240.0.0', 'IP:192.168.0.0/255.255.0.0'],
      ...['IP:100.64.0.0/255.192.0.0', 'IP:fc00::/fe00::'],
    ];
    const { text } = await openssl([
      ...['req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', '-', '-subj', '/CN=x'],
      ...['-addext', `nameConstraints=critical,${bases.map((base) => `permitted;${base}`).join()}`],
    ]);
    const constraintsIn = (pem: string): Extension[] => {
      const [certificate] = certificatesFromPem(pem);
      assert.ok(certificate);
      return extensionsOf(certificate).filter(({ oid }) => oid === extensionOids.nameConstraints);
    };
    const expected = constraintsIn(text.slice(text.indexOf('-----BEGIN CERTIFICATE-----')));
    assert.equal(expected.length, 1);
    assert.deepEqual(constraintsIn(rootOf(newKey())), expected);
  });

  for (const [what, ipRanges, address, why] of [
    ['inside its ranges', ['192.0.2.0/24', '2001:db8::/32'], '192.0.2.7', undefined],
    ['inside its IPv6 range', ['192.0.2.0/24', '2001:db8::/32'], '2001:db8::7', undefined],
    ['outside of its ranges', ['192.0.2.0/24'], '10.0.0.7', /permitted subtree violation/],
    ['of a family without range', ['192.0.2.0/24'], '2001:db8::7', /permitted subtree violation/],
    ['when there is no range', [], '10.0.0.7', /excluded subtree violation/],
    ['of IPv6 when there is no range', [], 'fd00::7', /excluded subtree violation/],
  ] as const)
    test(`makes a root under which openssl ${why ? 'refuses' : 'takes'} an address ${what}`, async (t) => {
      const rootKey = newKey();
      const rootPem = rootOf(rootKey, ipRanges);
      const chain = issueFrom(rootPem, rootKey, { ...podNames, ipAddresses: [address] });
      const { ok, text } = await opensslVerify(t, rootPem, chain);
      assert.equal(ok, why === undefined, text);
      if (why) assert.match(text, why);
    });

  test('refuses a text that is no range of addresses', () => {
    for (const text of ['10.0.0.1/8', '10.0.0.0', ''])
      assert.throws(
        () => rootOf(newKey(), ['10.0.0.0/8', text]),
        new RegExp(`"${text}" is not a range of addresses`),
      );
  });

  test('without ranges lets its issuer sign for names alone', async (t) => {
    const rootKey = newKey();
    const rootPem = rootOf(rootKey, []);
    const chain = issueFrom(rootPem, rootKey, { ...podNames, ipAddresses: [] });
    const { ok, text } = await opensslVerify(t, rootPem, chain);
    assert.ok(ok, text);
  });

  test('lets its issuer sign no further CA', async (t) => {
    const rootKey = newKey();
    const rootPem = rootOf(rootKey);
    const [certificate] = certificatesFromPem(rootPem);
    assert.ok(certificate);
    const parent = { certificate, keyPair: rootKey, pem: rootPem };
    const child = newCa({ commonName: 'child', parent });
    const leaf = issueFrom(child.pem, child.keyPair, podNames);
    const { ok, text } = await opensslVerify(t, rootPem, leaf);
    assert.equal(ok, false, text);
    assert.match(text, /path length constraint exceeded/);
  });
});

describe('authorityOf()', () => {
  test('sends an intermediate along, and no root', async (t) => {
    const root = newCa();
    const child = newCa({ commonName: 'child', parent: root });
    const chain = issueFrom(child.pem, child.keyPair, podNames);
    assert.deepEqual(
      certificatesFromPem(chain).map((each) => each.x509.issuer),
      ['CN=child', 'CN=test root'],
    );
    const { ok, text } = await opensslVerify(t, root.pem, chain);
    assert.ok(ok, text);
    assert.equal(certificatesFromPem(issueFrom(root.pem, root.keyPair, podNames)).length, 1);
  });

  test('refuses a key of another certificate, a leaf, and a text without certificate', () => {
    const [ca, other] = [newCa(), newCa()];
    const key = newKey();
    const leaf = newLeaf(ca, { keyPair: key });
    const leafPem = leaf.x509.toString();
    assert.throws(() => authorityOf(ca.pem, privateKeyPem(other.keyPair)), /key does not belong/);
    assert.throws(() => authorityOf(leafPem, privateKeyPem(key)), /not that of a CA/);
    assert.throws(() => authorityOf('', privateKeyPem(key)), /no certificate/);
  });
});
