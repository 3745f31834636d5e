import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { generateKey } from '../../src/node/key-generator.ts';
import {
  certificateFromDer,
  certificatesFromPem,
  certificatesPem,
} from '../../src/pki/certificate.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';
import * as der from '../../src/pki/der.ts';
import {
  extendedKeyUsage,
  keyUsage,
  type Extension,
  type Usage,
} from '../../src/pki/extensions.ts';
import { issueCertificate, selfIssuer } from '../../src/pki/issue-certificate.ts';
import { keyPairFromPem, keyPairOf, privateKeyPem, type KeyPair } from '../../src/pki/key-pair.ts';
import { nameConstraints, noSubtrees } from '../../src/pki/name-constraints.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { certificateProfile } from '../../src/signer/profile.ts';
import { readSigningCa, type SigningCa } from '../../src/signer/signing-ca.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { type CaSecret } from '../../src/trust/ca-secret.ts';
import { verifyChain } from '../../src/trust/verify-chain.ts';
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
  today,
  type TestCa,
} from '../support/certificate-builders.ts';
import { openssl } from '../support/openssl.ts';

const keyOf = (ca: TestCa): string => privateKeyPem(ca.keyPair);

/** As a Secret of cert-manager has it: a root stands in ca.crt too. */
const secretOf = (ca: TestCa, ...more: readonly TestCa[]): CaSecret => ({
  certificate:
    ca.pem +
    more
      .slice(0, -1)
      .map(({ pem }) => pem)
      .join(''),
  key: keyOf(ca),
  root: more.at(-1)?.pem,
});

/** A leaf of the CA, verified at noon as clients do it. */
function assertSigns(ca: SigningCa): void {
  const request = parseCertificationRequest(
    buildCertificationRequest({ names: dnsNames('web.shop.svc'), usages: tlsUsages }, newKey()),
  );
  const template = certificateProfile(
    request,
    { usages: tlsUsages, expirationSeconds: 3600 },
    {
      defaultLifetimeMs: dayMs,
      maximumLifetimeMs: dayMs,
      backDateMs: 0,
      issuerValidity: ca.validity,
    },
    { now: noon, serial: Buffer.alloc(16, 7) },
  );
  const [leaf, ...above] = certificatesFromPem(ca.authority.issue(template));
  assert.ok(leaf);
  const verdict = verifyChain(leaf, above, bundleOf(ca.roots), noon);
  assert.equal(verdict.kind, 'trusted', JSON.stringify(verdict));
  assert.equal(
    verdict.path.length - 1,
    above.length,
    'what is handed out is the path, nothing else',
  );
}

const read = (secret: CaSecret): SigningCa => readSigningCa(secret, noon);
const subjects = (pem: string): string[] =>
  certificatesFromPem(pem).map((each) => each.x509.subject);

/** A root with exactly these extensions. */
function caOf(
  commonName: string | undefined,
  ...extensions: readonly (Extension | undefined)[]
): TestCa {
  const keyPair = newKey();
  const template = {
    commonName,
    validity: { notBefore: atNoonPlus(-dayMs), notAfter: atNoonPlus(dayMs) },
    serial: Buffer.of(1),
    publicKeyDer: keyPair.publicKeyDer,
    extensions: extensions.filter((extension) => extension !== undefined),
  };
  const bytes = issueCertificate(template, selfIssuer(template, keyPair.privateKey));
  const certificate = certificateFromDer(bytes);
  return { certificate, keyPair, pem: certificatesPem([certificate]) };
}

/** The CA's certificate, signed by its parent with a hash that nobody should use any more. */
function signedWithSha1(ca: TestCa, parent: TestCa): TestCa {
  const [tbs] = der.membersOf(der.decodeDer(ca.certificate.der), 'sequence', 'certificate');
  const [version, serial, , ...rest] = der.membersOf(tbs, 'sequence', 'TBSCertificate');
  assert.ok(version && serial);
  const algorithm = der.sequence(der.oid('1.2.840.10045.4.1'));
  const content = der.sequence(version, serial, algorithm, ...rest);
  const signature = sign('sha1', der.encodeDer(content), parent.keyPair.privateKey);
  const certificate = certificateFromDer(
    der.encodeDer(der.sequence(content, algorithm, der.bitString(signature))),
  );
  return { ...ca, certificate, pem: certificatesPem([certificate]) };
}

/** A path length of 0. */
const noCaBelow: Extension = {
  ...basicConstraints(true),
  value: der.encodeDer(der.sequence(der.boolean(true), der.integer(Uint8Array.of(0)))),
};

function rsa(modulusLength: number): KeyPair {
  return keyPairOf(generateKeyPairSync('rsa', { modulusLength }).privateKey);
}

function encryptedKey({ privateKey }: KeyPair, type: 'pkcs8' | 'sec1'): string {
  const encryption = { cipher: 'aes-256-cbc', passphrase: 'secret' };
  return privateKey.export({ type, format: 'pem', ...encryption }) as string;
}

function purposes(...usages: readonly Usage[]): readonly Extension[] {
  return [extendedKeyUsage(usages) ?? []].flat();
}

function constraints(domain: string): Extension {
  return nameConstraints({ permitted: { ...noSubtrees, dns: [domain] }, excluded: noSubtrees });
}

describe('readSigningCa()', () => {
  const root = newCa();
  const middle = newCa({ commonName: 'middle', parent: root });
  const low = newCa({ commonName: 'low', parent: middle });
  const other = newCa({ commonName: 'other root' });
  const years = { notBefore: atNoonPlus(-300 * dayMs), notAfter: noon };
  const expired = newCa({ commonName: 'expired', validity: years });
  const clientsOnly = newCa({ extensions: purposes('client auth') });
  const lastCa = caOf('last', noCaBelow, keyUsage(['cert sign']));
  const weakRoot = newCa({ commonName: 'weak', keyPair: rsa(1024) });
  const leafKey = newKey();
  const leafPem = certificatesPem([newLeaf(root, { keyPair: leafKey })]);
  const notACa = /^tls.crt is not the certificate of a CA$/;
  const crlf = (text: string): string => text.replaceAll('\n', '\r\n');

  for (const [what, secret, chain] of [
    ['a root alone', secretOf(root), ['CN=test root']],
    ['a root that stands in ca.crt too', secretOf(root, root), ['CN=test root']],
    ['a root and an empty ca.crt', { ...secretOf(root), root: '' }, ['CN=test root']],
    [
      'a root whose ca.crt has other line ends, and another root',
      { ...secretOf(root), root: crlf(root.pem) + other.pem },
      ['CN=test root'],
    ],
    ['an intermediate and its root', secretOf(middle, root), ['CN=middle', 'CN=test root']],
    [
      'an intermediate two below its root',
      secretOf(low, middle, root),
      ['CN=low', 'CN=middle', 'CN=test root'],
    ],
    [
      'an intermediate whose parent stands in ca.crt',
      { ...secretOf(low), root: middle.pem + root.pem },
      ['CN=low', 'CN=middle', 'CN=test root'],
    ],
    [
      'strangers among what is given',
      {
        ...secretOf(low),
        certificate: low.pem + other.pem + root.pem + middle.pem,
        root: other.pem + root.pem,
      },
      ['CN=low', 'CN=middle', 'CN=test root'],
    ],
    [
      'CRLF, blanks and text around the blocks',
      {
        certificate: `subject=CN = middle\r\n${crlf(middle.pem)}\r\n\r\n`,
        key: `Bag Attributes\r\n${crlf(keyOf(middle))}\r\n`,
        root: `\n${crlf(root.pem)}trailing`,
      },
      ['CN=middle', 'CN=test root'],
    ],
  ] as const satisfies readonly (readonly [string, CaSecret, readonly string[]])[])
    test(`reads ${what}`, () => {
      const ca = read(secret);
      assert.deepEqual(subjects(ca.chainPem), chain);
      assert.deepEqual(
        ca.roots.map((each) => each.x509.subject),
        ['CN=test root'],
      );
      assertSigns(ca);
    });

  test('hands out no certificate that is not needed', () => {
    const ca = read({
      ...secretOf(middle, root),
      certificate: middle.pem + other.pem + low.pem + root.pem,
    });
    assert.deepEqual(subjects(ca.authority.chainOf(newLeaf(middle).der)).slice(1), ['CN=middle']);
  });

  const refusals: readonly (readonly [string, CaSecret, RegExp])[] = [
    ['nothing', { certificate: undefined, key: undefined, root: undefined }, /^it lacks tls.crt$/],
    ['no key', { ...secretOf(root), key: undefined }, /^it lacks tls.key$/],
    ['no certificate', { ...secretOf(root), certificate: '' }, /^tls.crt holds no certificate$/],
    ['an empty key', { ...secretOf(root), key: '' }, /^tls.key is no private key in PEM$/],
    [
      'a broken key',
      { ...secretOf(root), key: keyOf(root).replaceAll('M', '!') },
      /^tls.key is no/,
    ],
    ['a certificate as its key', { ...secretOf(root), key: root.pem }, /^tls.key is no private/],
    ...(['pkcs8', 'sec1'] as const).map(
      (type) =>
        [
          `an encrypted key (${type})`,
          { ...secretOf(root), key: encryptedKey(root.keyPair, type) },
          /^tls.key is encrypted; put it there without a password$/,
        ] as const,
    ),
    ['the key of another CA', { ...secretOf(root), key: keyOf(other) }, /^tls.key does not belong/],
    [
      'its chain in the wrong order',
      { ...secretOf(low), certificate: middle.pem + low.pem, root: root.pem },
      /^tls.key does not belong to the first certificate of tls.crt$/,
    ],
    [
      'broken base64',
      { ...secretOf(root), certificate: root.pem.replace('MII', '!!!') },
      /^tls.crt: PEM block 1 \(CERTIFICATE\) is not plain base64$/,
    ],
    [
      'a second block that is cut',
      { ...secretOf(root), certificate: root.pem + root.pem.slice(0, 200) },
      /^tls.crt: PEM block 2 \(CERTIFICATE\) has no end line$/,
    ],
    [
      'a key in tls.crt',
      { ...secretOf(root), certificate: keyOf(root) },
      /^tls.crt: PEM block 1 is a PRIVATE KEY, not a CERTIFICATE$/,
    ],
    [
      'a broken ca.crt',
      { ...secretOf(middle), root: 'x\n-----BEGIN CERTIFICATE-----\n' },
      /^ca.crt: PEM block 1/,
    ],
    [
      'a byte after its certificate',
      {
        ...secretOf(root),
        certificate: encodePem('CERTIFICATE', Buffer.concat([root.certificate.der, Buffer.of(0)])),
      },
      /^tls.crt cannot be read: it is not in DER$/,
    ],
    ['an intermediate alone', secretOf(middle), /^tls.crt is an intermediate, and ca.crt does not/],
    [
      'an intermediate whose root stands in tls.crt',
      { ...secretOf(middle), certificate: middle.pem + root.pem },
      /put the self-signed root there$/,
    ],
    [
      'an intermediate under another root',
      secretOf(middle, other),
      /^tls.crt does not lead to the root in ca.crt: its issuer "CN=test root" does not/,
    ],
    ['an intermediate whose parent is missing', secretOf(low, root), /^tls.crt does not lead to/],
    [
      'an intermediate that bears the name of its root, alone',
      secretOf(newCa({ parent: root })),
      /^tls.crt is an intermediate/,
    ],
    ['a leaf', { certificate: leafPem, key: privateKeyPem(leafKey), root: root.pem }, notACa],
    ['a CA that says it is none', secretOf(newCa({ isCa: false })), notACa],
    ['a CA without basicConstraints', secretOf(caOf('bare', keyUsage(['cert sign']))), notACa],
    [
      'an expired CA',
      secretOf(newCa({ validity: { notBefore: atNoonPlus(-dayMs), notAfter: noon } })),
      /^tls.crt expired at 2026-06-01T12:00:00.000Z$/,
    ],
    [
      'a CA of tomorrow',
      secretOf(
        newCa({ validity: { notBefore: atNoonPlus(dayMs), notAfter: atNoonPlus(2 * dayMs) } }),
      ),
      /^tls.crt is valid only from 2026-06-02T12:00:00.000Z$/,
    ],
    [
      'an expired root',
      secretOf(newCa({ parent: expired }), expired),
      /^"CN=expired" expired at 2026-06-01T12:00:00.000Z$/,
    ],
    [
      'a CA without keyCertSign',
      secretOf(caOf('bare', basicConstraints(true), keyUsage(['digital signature', 'crl sign']))),
      /^tls.crt may not sign certificates \(keyUsage lacks keyCertSign\)$/,
    ],
    [
      'a CA for servers alone',
      secretOf(newCa({ extensions: purposes('server auth') })),
      /^tls.crt does not sign for client auth \(its extendedKeyUsage\)$/,
    ],
    [
      'an intermediate below a CA for clients alone',
      secretOf(newCa({ parent: clientsOnly }), clientsOnly),
      /^"CN=test root" does not sign for server auth/,
    ],
    [
      'an intermediate below a CA that may have none',
      secretOf(newCa({ commonName: 'x', parent: lastCa }), lastCa),
      /^"CN=last" may have 0 CAs below it by its path length, and there are 1$/,
    ],
    [
      'a CA without a subject',
      secretOf(caOf(undefined, basicConstraints(true), keyUsage(['cert sign']))),
      /^tls.crt has no subject$/,
    ],
    [
      'a weak key',
      secretOf(newCa({ keyPair: rsa(1024) })),
      /^tls.crt cannot be used: its key is an RSA key of 1024 bits; accepted are/,
    ],
    [
      'a curve that we do not sign with',
      secretOf(
        newCa({
          keyPair: keyPairOf(generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey),
        }),
      ),
      /^tls.crt cannot be used: its key is an EC key on secp521r1/,
    ],
    [
      'an intermediate below a weak root',
      secretOf(newCa({ commonName: 'x', parent: weakRoot }), weakRoot),
      /^"CN=weak" has an RSA key of 1024 bits$/,
    ],
    [
      'an intermediate signed with SHA-1',
      secretOf(signedWithSha1(middle, root), root),
      /^tls.crt is signed with SHA-1$/,
    ],
    [
      'name constraints that nobody can read',
      secretOf(newCa({ extensions: [{ ...constraints('svc'), value: Buffer.of(0x30, 0) }] })),
      /^the name constraints of "CN=test root" cannot be read: nameConstraints is empty$/,
    ],
  ];
  for (const [what, secret, why] of refusals)
    test(`refuses ${what}`, () => {
      assert.throws(
        () => read(secret),
        (error: Error) => why.test(error.message) || assert.fail(error.message),
      );
    });

  test('never quotes a key', () => {
    const key = keyOf(root).replace('M', '!');
    assert.throws(
      () => read({ ...secretOf(root), key }),
      (error: Error) => !error.message.includes(key.slice(40, 60)),
    );
  });

  for (const algorithm of ['ECDSAP384', 'ED25519', 'RSA2048', 'RSA4096'] as const)
    test(`reads a CA with a key ${algorithm}`, async () => {
      assertSigns(read(secretOf(newCa({ keyPair: await generateKey(algorithm) }))));
    });

  for (const [what, make] of [
    ['PKCS#1', () => openssl(['genrsa', '-traditional', '2048'])],
    ['SEC 1 after its parameters', () => openssl(['ecparam', '-name', 'prime256v1', '-genkey'])],
    ['PKCS#8', () => openssl(['genpkey', '-algorithm', 'ed25519'])],
  ] as const)
    test(`reads a key in ${what}, as openssl writes it`, async () => {
      const { ok, text: key } = await make();
      assert.ok(ok, key);
      const { privateKey } = keyPairFromPem(key);
      const ca = newCa({ keyPair: keyPairOf(privateKey) });
      assertSigns(read({ ...secretOf(ca), key }));
    });

  test('reads what openssl made as a CA', async () => {
    const { ok, text } = await openssl([
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', '-', '-days', '3650'],
      ...['-subj', '/C=DE/O=Größe AG/CN=Corporate Root', '-utf8', '-set_serial', '0'],
    ]);
    assert.ok(ok, text);
    const [key = '', certificate] = text.split(/(?=-----BEGIN CERTIFICATE-----)/);
    const ca = readSigningCa({ certificate, key, root: undefined }, new Date());
    assert.match(ca.chainPem, /^-----BEGIN CERTIFICATE-----/);
  });

  test('takes a root as its own, whatever ca.crt says of an older one with its name and key', () => {
    const newer = newCa({ keyPair: root.keyPair });
    const ca = read(secretOf(newer, root));
    assert.deepEqual(
      ca.roots.map(({ fingerprint }) => fingerprint),
      [newer.certificate.fingerprint],
    );
  });

  test('tells the constraints of every CA of the path', () => {
    const constrained = newCa({ extensions: [constraints('svc')] });
    const child = newCa({
      commonName: 'child',
      parent: constrained,
      extensions: [constraints('shop.svc')],
    });
    assert.deepEqual(
      read(secretOf(child, constrained)).constraints.map(({ permitted }) => permitted.dns),
      [['shop.svc'], ['svc']],
    );
  });

  test('is valid while all of the path is', () => {
    const short = { notBefore: atNoonPlus(-hourMs), notAfter: atNoonPlus(hourMs) };
    const parent = newCa({ validity: short });
    const child = newCa({
      commonName: 'child',
      parent,
      validity: { notBefore: atNoonPlus(-dayMs), notAfter: atNoonPlus(dayMs) },
    });
    assert.deepEqual(read(secretOf(child, parent)).validity, short);
  });

  test('is another CA under another root, and the same when it is read again', () => {
    const twin = newCa({ keyPair: root.keyPair, validity: today });
    const [one, again, cross] = [root, root, twin].map((each) => read(secretOf(middle, each)).id);
    assert.equal(one, again);
    assert.notEqual(one, cross);
  });
});
