import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { generateKey } from '../../src/node/key-generator.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { keyStore, trustStore } from '../../src/pki/pkcs12.ts';
import { newCa, newLeaf } from '../support/certificate-builders.ts';
import { openssl, runProgram } from '../support/openssl.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** Longer than one block of the MAC's key derivation. */
const longPassword = 'correct horse battery staple, long enough for two blocks and more';

const keytool = (path: string, password: string) =>
  runProgram('keytool', [
    // The virtual machine starts in half the time so.
    ...['-J-XX:TieredStopAtLevel=1', '-J-Xshare:auto', '-J-XX:+UseSerialGC'],
    ...['-list', '-storetype', 'PKCS12', '-keystore', path, '-storepass', password],
  ]);

const file = (t: TestContext, content: Buffer): string => {
  const path = join(temporaryDirectory(t), 'store.p12');
  writeFileSync(path, content);
  return path;
};

const root = newCa();
const child = newCa({ commonName: 'child', parent: root });

describe('keyStore()', { concurrency: 2 }, () => {
  for (const algorithm of ['ECDSAP256', 'RSA2048', 'ED25519'] as const)
    test(`makes a store that openssl and keytool read, with a key ${algorithm}`, async (t) => {
      const key = await generateKey(algorithm);
      const leaf = newLeaf(child, { keyPair: key });
      const password = algorithm === 'ECDSAP256' ? longPassword : 'changeit';
      const path = file(t, keyStore(privateKeyPem(key), [leaf, child.certificate], password));

      const args = ['pkcs12', '-in', path, '-nodes', '-passin', `pass:${password}`];
      const { ok, text } = await openssl(args);
      assert.ok(ok, text);
      const pem = /-----BEGIN PRIVATE KEY-----[^]*?-----END PRIVATE KEY-----/.exec(text)?.[0] ?? '';
      assert.deepEqual(
        createPublicKey(pem).export({ type: 'spki', format: 'der' }),
        key.publicKeyDer,
      );
      const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
      assert.deepEqual(
        certificatesFromPem(certificates?.join('\n') ?? '').map((each) => each.fingerprint),
        [leaf.fingerprint, child.certificate.fingerprint],
      );

      const java = await keytool(path, password);
      assert.ok(java.ok, java.text);
      assert.match(java.text, /contains 1 entry/);
      assert.match(java.text, /^tls, .*PrivateKeyEntry/m);
      const sha256 = leaf.fingerprint.toUpperCase().match(/../g)?.join(':') ?? '';
      assert.ok(java.text.includes(sha256), java.text);
    });

  test('makes a store that a wrong password does not open', async (t) => {
    const key = await generateKey('ECDSAP256');
    const store = keyStore(privateKeyPem(key), [newLeaf(child, { keyPair: key })], 'changeit');
    const path = file(t, store);
    for (const password of ['Changeit', '', 'changeit ']) {
      const { ok, text } = await openssl([
        'pkcs12',
        '-in',
        path,
        '-nodes',
        '-passin',
        `pass:${password}`,
      ]);
      assert.equal(ok, false);
      assert.match(text, /invalid password/);
    }
  });

  test('takes a password that is not all ASCII as openssl does', async (t) => {
    const key = await generateKey('ECDSAP256');
    const store = keyStore(privateKeyPem(key), [newLeaf(child, { keyPair: key })], 'schön-世-🔒');
    const args = ['pkcs12', '-in', file(t, store), '-noout', '-passin', 'pass:schön-世-🔒'];
    const { ok, text } = await openssl(args);
    assert.ok(ok, text);
  });

  test("uses today's algorithms alone", async (t) => {
    const key = await generateKey('ECDSAP256');
    const store = keyStore(privateKeyPem(key), [newLeaf(child, { keyPair: key })], 'changeit');
    const args = ['pkcs12', '-in', file(t, store), '-info', '-noout', '-passin', 'pass:changeit'];
    const { text } = await openssl(args);
    assert.match(text, /MAC: sha256, Iteration 10000/);
    assert.match(
      text,
      /Encrypted data: PBES2, PBKDF2, AES-256-CBC, Iteration 10000, PRF hmacWithSHA256/,
    );
    assert.match(text, /Shrouded Keybag: PBES2, PBKDF2, AES-256-CBC, Iteration 10000/);
  });
});

describe('trustStore()', () => {
  test('makes a store whose roots Java trusts', async (t) => {
    const other = newCa({ commonName: 'other root' });
    const path = file(t, trustStore([root.certificate, other.certificate], longPassword));
    const java = await keytool(path, longPassword);
    assert.ok(java.ok, java.text);
    assert.match(java.text, /contains 2 entries/);
    assert.equal(java.text.match(/trustedCertEntry/g)?.length, 2, java.text);
    assert.match(java.text, /^ca-1, /m);
    assert.match(java.text, /^ca-2, /m);
  });
});
