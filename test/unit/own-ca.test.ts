import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { generateKey } from '../../src/node/key-generator.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { type KeyPair, keyPairFromPem } from '../../src/pki/key-pair.ts';
import { namesNotPermitted } from '../../src/pki/name-constraints.ts';
import { decodePem } from '../../src/pki/pem.ts';
import { makeOwnCa } from '../../src/signer/own-ca.ts';
import { readSigningCa } from '../../src/signer/signing-ca.ts';
import { atNoonPlus, dayMs, dnsNames, newCa, noon } from '../support/certificate-builders.ts';
import { openssl } from '../support/openssl.ts';

const scope = { clusterDomain: 'cluster.local', trustDomain: 'cluster.local' };

async function own(keys: KeyPair[] = []) {
  const made = await makeOwnCa(
    scope,
    { now: noon, backDateMs: 300_000 },
    {
      randomBytes: (count) => randomBytes(count),
      async generateKey(algorithm) {
        const key = await generateKey(algorithm);
        keys.push(key);
        return key;
      },
    },
  );
  const [certificate] = certificatesFromPem(made.certificate ?? '');
  const [root] = certificatesFromPem(made.root ?? '');
  assert.ok(certificate && root);
  return { made, certificate, root };
}

describe('makeOwnCa()', () => {
  test('makes what readSigningCa() takes: a CA below a root, both for ten years', async () => {
    const { made, certificate, root } = await own();
    const ca = readSigningCa(made, noon);
    assert.equal(ca.authority.certificate.fingerprint, certificate.fingerprint);
    assert.deepEqual(ca.roots, [root]);
    const validity = { notBefore: atNoonPlus(-300_000), notAfter: atNoonPlus(3650 * dayMs) };
    assert.deepEqual([certificate.validity, root.validity], [validity, validity]);
  });

  test('constrains both, and says so once', async () => {
    const { made } = await own();
    const { constraints } = readSigningCa(made, noon);
    assert.equal(constraints.length, 1);
    assert.equal(namesNotPermitted(constraints, dnsNames('web.shop.svc')).length, 0);
    assert.equal(namesNotPermitted(constraints, dnsNames('google.com')).length, 1);
    for (const pem of [made.certificate, made.root]) {
      const { text } = await openssl(['x509', '-noout', '-text'], pem);
      assert.match(text, /Name Constraints: critical\n\s*Permitted:\n\s*DNS:svc\n/);
    }
  });

  test('lets the root sign one CA, and that CA none', async () => {
    const { made, root, certificate } = await own();
    const keyPair = keyPairFromPem(made.key ?? '');
    const parent = { certificate, keyPair, pem: made.certificate ?? '' };
    const child = newCa({ commonName: 'child', parent });
    const secret = { certificate: child.pem + parent.pem, key: undefined, root: made.root };
    const key = child.keyPair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    assert.throws(() => readSigningCa({ ...secret, key }, noon), /may have 0 CAs below it/);
    assert.equal(root.x509.ca, true);
  });

  test("keeps the CA's key, and forgets the root's", async () => {
    const keys: KeyPair[] = [];
    const { made, certificate, root } = await own(keys);
    const [rootKey, key] = keys;
    assert.ok(rootKey && key);
    assert.deepEqual(rootKey.publicKeyDer, root.publicKeyDer);
    assert.deepEqual(keyPairFromPem(made.key ?? '').publicKeyDer, certificate.publicKeyDer);
    const secret = rootKey.privateKey.export({ format: 'jwk' }).d ?? '';
    const bytes = Buffer.from(secret, 'base64url');
    for (const pem of [made.certificate, made.key, made.root])
      for (const block of decodePem(pem ?? '')) assert.ok(!block.der.includes(bytes));
  });

  test('never gives two roots of one day one name', async () => {
    const names = await Promise.all([own(), own()]);
    assert.notEqual(names[0].root.x509.subject, names[1].root.x509.subject);
    assert.match(names[0].root.x509.subject, /^CN=Podseal root 2026-06-01 [0-9a-f]{8}$/);
    assert.match(names[0].certificate.x509.subject, /^CN=Podseal CA 2026-06-01 [0-9a-f]{8}$/);
  });
});
