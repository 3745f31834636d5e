import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { generateKey } from '../../src/node/key-generator.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';
import { type Usage } from '../../src/pki/extensions.ts';
import { type KeyAlgorithm, privateKeyPem } from '../../src/pki/key-pair.ts';
import { authorityOf, makeRoot } from '../../src/signer/authority.ts';
import { makeOwnCa } from '../../src/signer/own-ca.ts';
import { certificateProfile } from '../../src/signer/profile.ts';
import { type CaSecret } from '../../src/trust/ca-secret.ts';
import { atNoonPlus, dayMs, noon } from '../support/certificate-builders.ts';
import { dumpCertificate } from '../support/der-dump.ts';

/**
 * What the signer issues, to the last element: anything that changes shows in a file under test/golden.
 * UPDATE_GOLDEN=1 writes them anew.
 */
const directory = join(import.meta.dirname, '../golden');

const names: SubjectNames = {
  dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
  ipAddresses: ['10.0.0.7', 'fd00::7'],
  uris: ['spiffe://cluster.local/ns/shop/sa/web'],
};

const serial = Buffer.from('a1b2c3d4e5f60718293a4b5c6d7e8f90', 'hex');
const both: readonly Usage[] = ['digital signature', 'server auth', 'client auth'];

interface Golden {
  readonly caKey?: KeyAlgorithm;
  readonly key?: KeyAlgorithm;
  readonly commonName?: string;
  readonly usages?: readonly Usage[];
  readonly names?: SubjectNames;
  readonly notAfter?: Date;
}

/** As it is made on first start. */
function ownCa(ipRanges?: readonly string[]): Promise<CaSecret> {
  const scope = { clusterDomain: 'cluster.local', trustDomain: 'cluster.local', ipRanges };
  const randomBytes = (count: number) => serial.subarray(0, count);
  return makeOwnCa(scope, { now: noon, backDateMs: 300_000 }, { generateKey, randomBytes });
}

async function rootOf(algorithm: KeyAlgorithm) {
  const keyPair = await generateKey(algorithm);
  const request = {
    commonName: 'Podseal CA 2026-06-01',
    clusterDomain: 'cluster.local',
    trustDomain: 'cluster.local',
    notBefore: atNoonPlus(-300_000),
    // Beyond 2049, where the kind of time changes.
    notAfter: atNoonPlus(36_500 * dayMs),
    serial,
  };
  return { pem: makeRoot(request, keyPair), key: privateKeyPem(keyPair) };
}

async function leafOf(golden: Golden): Promise<string> {
  const { caKey = 'ECDSAP256', key = 'ECDSAP256', commonName, usages = both } = golden;
  const root = await rootOf(caKey);
  const authority = authorityOf(root.pem, root.key);
  const request = buildCertificationRequest(
    { names: golden.names ?? names, commonName, usages },
    await generateKey(key),
  );
  const template = certificateProfile(
    parseCertificationRequest(request),
    { usages, expirationSeconds: 86_400 },
    {
      defaultLifetimeMs: dayMs,
      maximumLifetimeMs: dayMs,
      backDateMs: 300_000,
      issuerValidity: authority.certificate.validity,
    },
    { now: noon, serial },
  );
  return authority.issue(template);
}

const goldens: Readonly<Record<string, () => Promise<string>>> = {
  'leaf-ecdsa': () => leafOf({}),
  'leaf-ecdsa-common-name': () => leafOf({ commonName: 'web.shop.svc' }),
  'leaf-ecdsa-server': () => leafOf({ usages: ['digital signature', 'server auth'] }),
  'leaf-ecdsa-client': () => leafOf({ usages: ['digital signature', 'client auth'] }),
  'leaf-ecdsa-purpose-alone': () => leafOf({ usages: ['server auth'] }),
  'leaf-ecdsa-identity-alone': () =>
    leafOf({ names: { dnsNames: [], ipAddresses: [], uris: names.uris } }),
  'leaf-ed25519': () => leafOf({ key: 'ED25519' }),
  'leaf-rsa': () => leafOf({ key: 'RSA2048', usages: [...both, 'key encipherment'] }),
  'leaf-by-ed25519': () => leafOf({ caKey: 'ED25519' }),
  'leaf-by-rsa': () => leafOf({ caKey: 'RSA2048' }),
  'own-root': async () => (await ownCa()).root ?? '',
  'own-ca': async () => (await ownCa()).certificate ?? '',
  'own-ca-without-addresses': async () => (await ownCa([])).certificate ?? '',
};

describe('what is issued', () => {
  for (const [name, make] of Object.entries(goldens))
    test(`is ${name}.txt, to the last element`, async () => {
      const [certificate] = certificatesFromPem(await make());
      assert.ok(certificate);
      const seen = dumpCertificate(certificate.der);
      const file = join(directory, `${name}.txt`);
      if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, seen);
      assert.ok(existsSync(file), `there is no ${file}; UPDATE_GOLDEN=1 writes it`);
      assert.equal(seen, readFileSync(file, 'utf8'));
    });

  test('has a file for each, and no other', () => {
    const files = readdirSync(directory).sort();
    assert.deepEqual(
      files,
      Object.keys(goldens)
        .map((name) => `${name}.txt`)
        .sort(),
    );
  });
});
