import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { generateKey } from '../../src/node/key-generator.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';
import { type Usage } from '../../src/pki/extensions.ts';
import { type KeyAlgorithm, privateKeyPem } from '../../src/pki/key-pair.ts';
import { makeRoot } from '../../src/signer/authority.ts';
import { makeOwnCa } from '../../src/signer/own-ca.ts';
import { certificateProfile } from '../../src/signer/profile.ts';
import { readSigningCa, type SigningCa } from '../../src/signer/signing-ca.ts';
import { newCa } from '../support/certificate-builders.ts';
import { openssl, runProgram } from '../support/openssl.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import {
  goVerifier,
  type Issued,
  javaVerifier,
  nodeVerifier,
  opensslVerifier,
  type Verifier,
} from '../support/verifiers.ts';

/**
 * What is issued, as others read it: openssl, Go, Java, and Node (whose OpenSSL is another one). Each
 * must take what is right, and refuse what the CA's name constraints do not permit.
 */

const dayMs = 86_400_000;
const scope = { clusterDomain: 'cluster.local', trustDomain: 'cluster.local' };
const validity = {
  notBefore: new Date(Date.now() - dayMs),
  notAfter: new Date(Date.now() + 30 * dayMs),
};
const both: readonly Usage[] = ['digital signature', 'server auth', 'client auth'];

const podNames: SubjectNames = {
  dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
  ipAddresses: ['10.0.0.7', 'fd00::7'],
  uris: ['spiffe://cluster.local/ns/shop/sa/web'],
};

const ownCa = async (): Promise<SigningCa> => {
  const world = { generateKey, randomBytes: (count: number) => randomBytes(count) };
  const made = await makeOwnCa(scope, { now: new Date(), backDateMs: 300_000 }, world);
  return readSigningCa(made, new Date());
};

const rootWith = async (algorithm: KeyAlgorithm): Promise<SigningCa> => {
  const keyPair = await generateKey(algorithm);
  const request = { ...scope, ...validity, commonName: 'Root', serial: randomBytes(16) };
  const certificate = makeRoot(request, keyPair);
  return readSigningCa({ certificate, key: privateKeyPem(keyPair), root: undefined }, new Date());
};

const belowTwo = (): SigningCa => {
  const root = newCa({ commonName: 'Corporate Root', validity });
  const middle = newCa({ commonName: 'Corporate CA', parent: root, validity });
  const low = newCa({ commonName: 'Cluster CA', parent: middle, validity });
  const key = privateKeyPem(low.keyPair);
  return readSigningCa({ certificate: low.pem + middle.pem, key, root: root.pem }, new Date());
};

interface Asking {
  readonly names?: SubjectNames;
  readonly key?: KeyAlgorithm;
  readonly commonName?: string;
  readonly usages?: readonly Usage[];
}

/** As the signer issues it, whatever is asked: the rules that come before are left out. */
async function issued(ca: SigningCa, asking: Asking = {}): Promise<Issued> {
  const { names = podNames, usages = both, commonName } = asking;
  const key = await generateKey(asking.key ?? 'ECDSAP256');
  const template = certificateProfile(
    parseCertificationRequest(buildCertificationRequest({ names, commonName, usages }, key)),
    { usages, expirationSeconds: 3600 },
    {
      defaultLifetimeMs: dayMs,
      maximumLifetimeMs: dayMs,
      backDateMs: 300_000,
      issuerValidity: ca.validity,
    },
    { now: new Date(), serial: randomBytes(16) },
  );
  const root = ca.roots.map(({ x509 }) => x509.toString()).join('');
  return { root, chain: ca.authority.issue(template), key: privateKeyPem(key) };
}

type VerifierName = 'openssl' | 'go' | 'java' | 'node';
const verifierNames: readonly VerifierName[] = ['openssl', 'go', 'java', 'node'];
const found = new Map<VerifierName, Verifier>();
const node = nodeVerifier();
let go: Awaited<ReturnType<typeof goVerifier>>;

before(async () => {
  found.set('openssl', opensslVerifier());
  found.set('node', node);
  go = await goVerifier();
  if (go) found.set('go', go);
  // Only the JDK runs a source file.
  if ((await runProgram('javac', ['-version'])).ok) found.set('java', javaVerifier());
});
after(() => {
  for (const verifier of found.values()) verifier.close();
});

/** The verifier; without it the test is skipped, and says so. */
function verifierFor(t: TestContext, name: VerifierName): Verifier | undefined {
  const verifier = found.get(name);
  if (!verifier) t.skip(`there is no ${name === 'java' ? 'JDK' : name} on this machine`);
  return verifier;
}

describe('what is issued', () => {
  const cas: Readonly<Record<string, () => SigningCa | Promise<SigningCa>>> = {
    'the CA that the signer makes': ownCa,
    'a root with a key RSA2048': () => rootWith('RSA2048'),
    'a root with a key ECDSAP384': () => rootWith('ECDSAP384'),
    'a root with a key ED25519': () => rootWith('ED25519'),
    'a CA two below its root': belowTwo,
  };
  const hosts = [...podNames.dnsNames, ...podNames.ipAddresses];

  for (const [what, make] of Object.entries(cas))
    for (const name of verifierNames)
      test(`by ${what} is taken by ${name} under every name and address, and under no other`, async (t) => {
        const verifier = verifierFor(t, name);
        if (!verifier) return;
        const leaf = await issued(await make());
        for (const host of hosts) assert.equal(await verifier.verify(leaf, host), 'ok', host);
        for (const host of ['db.shop.svc', 'shop.svc', '10.0.0.8'])
          assert.match(await verifier.verify(leaf, host), /^refused: /, host);
      });

  for (const asking of [
    { key: 'ED25519' },
    { key: 'ECDSAP384' },
    { key: 'RSA2048', usages: [...both, 'key encipherment'] },
    { key: 'RSA4096', commonName: 'web.shop.svc' },
    { commonName: 'web.shop.svc' },
    { usages: ['digital signature', 'server auth'] },
    { usages: ['server auth'] },
  ] as const satisfies readonly Asking[])
    for (const name of verifierNames)
      test(`for ${JSON.stringify(asking)} is taken by ${name}`, async (t) => {
        const verifier = verifierFor(t, name);
        if (!verifier) return;
        const leaf = await issued(await ownCa(), asking);
        assert.equal(await verifier.verify(leaf, 'web.shop.svc'), 'ok');
      });

  test('for a client alone is taken as a client, and as no server', async (t) => {
    const leaf = await issued(await ownCa(), { usages: ['digital signature', 'client auth'] });
    for (const name of verifierNames) {
      const refusal = await found.get(name)?.verify(leaf, 'web.shop.svc');
      assert.match(refusal ?? 'refused: nobody asked', /^refused: /, name);
    }
    const files = temporaryDirectory(t);
    const file = (name: string, content: string): string => {
      writeFileSync(join(files, name), content);
      return join(files, name);
    };
    const { ok, text } = await openssl([
      ...['verify', '-x509_strict', '-purpose', 'sslclient'],
      ...['-CAfile', file('root.pem', leaf.root), '-untrusted', file('chain.pem', leaf.chain)],
      join(files, 'chain.pem'),
    ]);
    assert.ok(ok, text);
    assert.equal((await go?.verifyClient(leaf)) ?? 'ok', 'ok');
  });

  test('is taken as a client by a server of Node, and one for servers alone is not', async () => {
    const ca = await ownCa();
    assert.equal(await node.verifyClient(await issued(ca), 'web.shop.svc'), 'ok');
    const serverAlone = await issued(ca, { usages: ['digital signature', 'server auth'] });
    assert.match(await node.verifyClient(serverAlone, 'web.shop.svc'), /^refused: .*PURPOSE/);
  });

  for (const key of ['ECDSAP256', 'ED25519', 'RSA2048'] as const)
    test(`is printed and kept by keytool, with a key ${key}`, async (t) => {
      const { chain, root } = await issued(await ownCa(), { key });
      const [leaf = ''] = chain.split(/(?<=END CERTIFICATE-----\n)/);
      const printed = await runProgram('keytool', ['-J-Duser.language=en', '-printcert'], leaf);
      if (!printed.ok && printed.text === '') {
        t.skip('there is no keytool on this machine');
        return;
      }
      for (const name of ['DNSName: web.shop.svc', 'IPAddress: 10.0.0.7', 'URIName: spiffe://'])
        assert.ok(printed.text.includes(name), printed.text);
      assert.ok(printed.text.includes(new X509Certificate(leaf).fingerprint256), printed.text);
      const store = join(temporaryDirectory(t), 'store.p12');
      const keytool = (...args: readonly string[]) =>
        runProgram('keytool', [
          ...['-J-Duser.language=en', '-keystore', store, '-storepass', 'changeit'],
          ...args,
        ]);
      for (const [alias, pem] of Object.entries({ root, leaf })) {
        const file = join(temporaryDirectory(t), `${alias}.pem`);
        writeFileSync(file, pem);
        const kept = await keytool('-importcert', '-noprompt', '-alias', alias, '-file', file);
        assert.ok(kept.ok, kept.text);
      }
      const listed = await keytool('-list', '-v');
      assert.ok(listed.text.includes(new X509Certificate(leaf).fingerprint256), listed.text);
      assert.match(listed.text, /contains 2 entries/);
    });
});

describe('name constraints of the CA that the signer makes', () => {
  const names = (changes: Partial<SubjectNames>): SubjectNames => ({ ...podNames, ...changes });
  const dns = (name: string): SubjectNames => names({ dnsNames: [name, ...podNames.dnsNames] });

  interface Stretch {
    readonly names: SubjectNames;
    /** One of the good names, where none is given. */
    readonly host?: string;
    /** Who does not mind. Our own check is as strict as the strictest. */
    readonly takenBy?: VerifierName;
  }
  /** What is refused, though it is signed with the right key. */
  const refused: Readonly<Record<string, Stretch>> = {
    'google.com': { names: dns('google.com'), host: 'google.com' },
    'google.com beside names that are permitted': { names: dns('google.com') },
    'a name that only ends like the cluster domain': { names: dns('evilcluster.local') },
    'a wildcard of the whole world': { names: dns('*.com') },
    'the URI of a foreign trust domain': { names: names({ uris: ['spiffe://other.example/x'] }) },
    'the URI of a trust domain below ours': {
      names: names({ uris: ['spiffe://sub.cluster.local/x'] }),
      // For Go a host stands for all below it; for RFC 5280 for itself alone.
      takenBy: 'go',
    },
    'a public IPv4 address': { names: names({ ipAddresses: ['8.8.8.8'] }) },
    'a public IPv6 address': { names: names({ ipAddresses: ['2001:4860:4860::8888'] }) },
    'a link-local address': { names: names({ ipAddresses: ['169.254.169.254'] }) },
  };
  const reasons: Readonly<Record<VerifierName, RegExp>> = {
    openssl: /permitted subtree violation/,
    go: /is not permitted by any constraint/,
    java: /name constraints check failed/,
    node: /permitted subtree violation/,
  };

  for (const [what, { names: asked, host = 'web.shop.svc', takenBy }] of Object.entries(refused))
    for (const name of verifierNames)
      test(`make ${name} ${name === takenBy ? 'take' : 'refuse'} ${what}`, async (t) => {
        const verifier = verifierFor(t, name);
        if (!verifier) return;
        const leaf = await issued(await ownCa(), { names: asked });
        const expected = name === takenBy ? /^ok$/ : reasons[name];
        assert.match(await verifier.verify(leaf, host), expected);
      });

  /** Those of a root itself. Java does not look at them, which is why the CA that the signer makes stands below a root. */
  const ofRoots: Readonly<Record<VerifierName, RegExp>> = { ...reasons, java: /^ok$/ };
  for (const name of verifierNames)
    test(`would be ${name === 'java' ? 'ignored' : 'honoured'} by ${name} in a root that signs leaves itself`, async (t) => {
      const verifier = verifierFor(t, name);
      if (!verifier) return;
      const leaf = await issued(await rootWith('ECDSAP256'), { names: dns('google.com') });
      assert.match(await verifier.verify(leaf, 'google.com'), ofRoots[name]);
    });
});
