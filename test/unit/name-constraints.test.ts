import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { describe, test, type TestContext } from 'node:test';
import { connect, TLSSocket } from 'node:tls';
import { parseIpRange } from '../../src/identity/ip-range.ts';
import { noNames, type SubjectNames } from '../../src/identity/subject-names.ts';
import { certificatesPem, type Certificate } from '../../src/pki/certificate.ts';
import * as der from '../../src/pki/der.ts';
import { extensionOids, subjectAltName, type Extension } from '../../src/pki/extensions.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import {
  nameConstraints,
  nameConstraintsOf,
  namesNotPermitted,
  noSubtrees,
  type NameConstraints,
  type Subtrees,
} from '../../src/pki/name-constraints.ts';
import {
  dnsNames,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  type TestCa,
} from '../support/certificate-builders.ts';
import { openssl } from '../support/openssl.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** The values after `prefix` in a text like `+dns:svc +ip:10.0.0.0/8 -uri:.example`. */
const valuesIn = (text: string, prefix: string): string[] =>
  text
    .split(' ')
    .filter((word) => word.startsWith(prefix))
    .map((word) => word.slice(prefix.length));

const subtreesIn = (text: string, sign: '+' | '-'): Subtrees => ({
  dns: valuesIn(text, `${sign}dns:`),
  ip: valuesIn(text, `${sign}ip:`).map((range) => {
    const parsed = parseIpRange(range);
    assert.ok(parsed, range);
    return parsed;
  }),
  uri: valuesIn(text, `${sign}uri:`),
});

const constraintsIn = (text: string): NameConstraints => ({
  permitted: subtreesIn(text, '+'),
  excluded: subtreesIn(text, '-'),
  otherKinds: [],
});

const namesIn = (text: string): SubjectNames => ({
  dnsNames: valuesIn(text, 'dns:'),
  ipAddresses: valuesIn(text, 'ip:'),
  uris: valuesIn(text, 'uri:'),
});

// TLS has no other clock than the machine's.
const validity = {
  notBefore: new Date(Date.now() - hourMs),
  notAfter: new Date(Date.now() + hourMs),
};
const keys = { root: newKey(), intermediate: newKey(), leaf: newKey() };

interface Chain {
  readonly leaf: Certificate;
  readonly intermediate: TestCa;
  readonly root: TestCa;
}

/** A root, an intermediate and a leaf; '' constrains nothing. */
function chainOf(root: string, intermediate: string, names: SubjectNames): Chain {
  const ca = (constraints: string, parent?: TestCa): TestCa =>
    newCa({
      commonName: parent ? 'test intermediate' : 'test root',
      validity,
      keyPair: parent ? keys.intermediate : keys.root,
      extensions: constraints === '' ? [] : [nameConstraints(constraintsIn(constraints))],
      ...(parent ? { parent } : {}),
    });
  const rootCa = ca(root);
  const intermediateCa = ca(intermediate, rootCa);
  const leaf = newLeaf(intermediateCa, { names, validity, keyPair: keys.leaf });
  return { leaf, intermediate: intermediateCa, root: rootCa };
}

const isPermitted = ({ root, intermediate }: Chain, names: SubjectNames): boolean => {
  const constraints = [root, intermediate]
    .map((ca) => nameConstraintsOf(ca.certificate))
    .filter((each) => each !== undefined);
  return namesNotPermitted(constraints, names).length === 0;
};

const nameRefusal = /subtree violation|name constraint syntax|name syntax/;

/** Whether openssl trusts the leaf; a refusal for another reason than a name fails the test. */
async function opensslTakes(t: TestContext, { leaf, intermediate, root }: Chain): Promise<boolean> {
  const directory = temporaryDirectory(t);
  const file = (name: string, content: string): string => {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  };
  const { ok, text } = await openssl([
    ...['verify', '-x509_strict', '-purpose', 'sslserver', '-no-CApath', '-no-CAstore'],
    ...['-CAfile', file('root.pem', root.pem), '-untrusted', file('ca.pem', intermediate.pem)],
    file('leaf.pem', certificatesPem([leaf])),
  ]);
  if (!ok) assert.match(text, nameRefusal);
  return ok;
}

/** Whether a TLS client of Node trusts a server with this leaf. */
async function nodeTakes({ leaf, intermediate, root }: Chain): Promise<boolean> {
  const [clientEnd, serverEnd] = duplexPair();
  const server = new TLSSocket(serverEnd, {
    isServer: true,
    cert: certificatesPem([leaf, intermediate.certificate]),
    key: privateKeyPem(keys.leaf),
  });
  const client = connect({
    socket: clientEnd,
    ca: root.pem,
    checkServerIdentity: () => undefined,
  });
  const refusal = await new Promise<Error | undefined>((resolve) => {
    client.once('secureConnect', () => resolve(undefined)).once('error', resolve);
  });
  client.destroy();
  server.destroy();
  if (refusal) assert.match(refusal.message, nameRefusal);
  return refusal === undefined;
}

type Verdict =
  | 'permitted'
  | 'not permitted'
  /** Not permitted, because Go refuses it; openssl does not. */
  | 'stricter than openssl'
  /** Not permitted, because versions of openssl find the host of such a URI in different places. */
  | 'openssl differs';

const spiffe = 'uri:spiffe://cluster.local/ns/shop/sa/web';
/** Constraints of the root, of the intermediate, names, verdict. */
const table: readonly (readonly [string, string, string, Verdict])[] = [
  // No constraints, and constraints of another kind.
  ['', '', 'dns:google.com ip:8.8.8.8 uri:https://google.com/', 'permitted'],
  ['+dns:svc', '', `ip:8.8.8.8 ${spiffe}`, 'permitted'],
  ['+ip:10.0.0.0/8', '', `dns:google.com ${spiffe}`, 'permitted'],
  ['+uri:cluster.local', '', 'dns:google.com ip:8.8.8.8', 'permitted'],
  // DNS, permitted.
  ['+dns:svc', '', 'dns:web.shop.svc', 'permitted'],
  ['+dns:svc', '', 'dns:svc', 'permitted'],
  ['+dns:svc', '', 'dns:websvc', 'not permitted'],
  ['+dns:svc', '', 'dns:svc.evil', 'not permitted'],
  ['+dns:shop.svc', '', 'dns:evilshop.svc', 'not permitted'],
  ['+dns:shop.svc', '', 'dns:svc', 'not permitted'],
  ['+dns:shop.svc', '', 'dns:web.shop.svc dns:web.other.svc', 'not permitted'],
  ['+dns:SHOP.svc', '', 'dns:web.shop.SVC', 'permitted'],
  ['+dns:svc +dns:cluster.local', '', 'dns:web.shop.svc dns:web.cluster.local', 'permitted'],
  ['+dns:.svc', '', 'dns:web.shop.svc', 'permitted'],
  ['+dns:.svc', '', 'dns:svc', 'not permitted'],
  ['+dns:.svc', '', 'dns:websvc', 'not permitted'],
  ['+dns:', '', 'dns:google.com', 'permitted'],
  ['+dns:svc', '', 'dns:web.svc.', 'not permitted'],
  ['+dns:svc', '', 'dns:web_1.svc', 'permitted'],
  // DNS, excluded.
  ['-dns:shop.svc', '', 'dns:web.bank.svc', 'permitted'],
  ['-dns:shop.svc', '', 'dns:web.shop.svc', 'not permitted'],
  ['-dns:shop.svc', '', 'dns:Web.SHOP.svc', 'not permitted'],
  ['-dns:.shop.svc', '', 'dns:shop.svc', 'permitted'],
  ['-dns:.shop.svc', '', 'dns:web.shop.svc', 'not permitted'],
  ['-dns:', '', 'dns:web.svc', 'not permitted'],
  ['-dns:shop.svc', '', 'dns:web.shop.svc.', 'stricter than openssl'],
  ['-dns:shop.svc', '', 'dns:evilshop.svc', 'permitted'],
  ['+dns:svc -dns:web.shop.svc', '', 'dns:api.shop.svc', 'permitted'],
  ['+dns:svc -dns:web.shop.svc', '', 'dns:a.web.shop.svc', 'not permitted'],
  // Wildcards.
  ['+dns:shop.svc', '', 'dns:*.shop.svc', 'permitted'],
  ['+dns:.shop.svc', '', 'dns:*.shop.svc', 'permitted'],
  ['+dns:web.shop.svc', '', 'dns:*.shop.svc', 'not permitted'],
  ['-dns:shop.svc', '', 'dns:*.shop.svc', 'not permitted'],
  ['-dns:.shop.svc', '', 'dns:*.shop.svc', 'not permitted'],
  ['-dns:web.shop.svc', '', 'dns:*.shop.svc', 'stricter than openssl'],
  ['-dns:a.web.shop.svc', '', 'dns:*.shop.svc', 'permitted'],
  // Addresses.
  ['+ip:10.0.0.0/8', '', 'ip:10.255.255.255', 'permitted'],
  ['+ip:10.0.0.0/8', '', 'ip:11.0.0.0', 'not permitted'],
  ['+ip:10.0.0.0/8', '', 'ip:fd00::7', 'not permitted'],
  ['+ip:fc00::/7', '', 'ip:fd00::7', 'permitted'],
  ['+ip:fc00::/7', '', 'ip:fe80::7', 'not permitted'],
  ['+ip:fc00::/7', '', 'ip:10.0.0.7', 'not permitted'],
  ['+ip:10.0.0.0/8 +ip:fc00::/7', '', 'ip:10.0.0.7 ip:fd00::7', 'permitted'],
  ['+ip:10.0.0.7/32', '', 'ip:10.0.0.7', 'permitted'],
  ['+ip:10.0.0.7/32', '', 'ip:10.0.0.6', 'not permitted'],
  ['+ip:10.0.0.0/8 -ip:10.96.0.0/12', '', 'ip:10.95.255.255', 'permitted'],
  ['+ip:10.0.0.0/8 -ip:10.96.0.0/12', '', 'ip:10.96.0.1', 'not permitted'],
  ['-ip:0.0.0.0/0 -ip:::/0', '', 'ip:10.0.0.7', 'not permitted'],
  ['-ip:0.0.0.0/0 -ip:::/0', '', 'ip:fd00::7', 'not permitted'],
  ['-ip:0.0.0.0/0 -ip:::/0', '', 'dns:web.shop.svc', 'permitted'],
  ['-ip:0.0.0.0/0', '', 'ip:fd00::7', 'permitted'],
  ['-ip:0.0.0.0/0', '', 'ip:::ffff:10.0.0.7', 'stricter than openssl'],
  // URIs.
  ['+uri:cluster.local', '', spiffe, 'permitted'],
  ['+uri:cluster.local', '', 'uri:spiffe://cluster.local', 'permitted'],
  ['+uri:cluster.local', '', 'uri:https://CLUSTER.local:8443/x', 'permitted'],
  ['+uri:cluster.local', '', 'uri:spiffe://x.cluster.local/x', 'not permitted'],
  ['+uri:cluster.local', '', 'uri:spiffe://evilcluster.local/x', 'not permitted'],
  ['+uri:cluster.local', '', 'uri:spiffe://other.example/cluster.local', 'not permitted'],
  ['+uri:.cluster.local', '', 'uri:spiffe://x.cluster.local/x', 'permitted'],
  ['+uri:.cluster.local', '', spiffe, 'not permitted'],
  ['+uri:', '', spiffe, 'not permitted'],
  ['-uri:other.example', '', spiffe, 'permitted'],
  ['-uri:cluster.local', '', spiffe, 'not permitted'],
  ['-uri:.cluster.local', '', 'uri:spiffe://x.cluster.local/x', 'not permitted'],
  ['-uri:.cluster.local', '', spiffe, 'permitted'],
  ['-uri:cluster.local', '', 'uri:https://x.cluster.local', 'stricter than openssl'],
  // URIs whose host is missing, an address, or in another place for every reader.
  ['+uri:cluster.local', '', 'uri:urn:uuid:1', 'not permitted'],
  ['+uri:cluster.local', '', 'uri:spiffe:///cluster.local', 'not permitted'],
  ['+uri:cluster.local', '', 'uri:spiffe://user@cluster.local/x', 'openssl differs'],
  ['+uri:cluster.local', '', 'uri:spiffe://cluster.local?x', 'openssl differs'],
  ['+uri:cluster.local', '', 'uri:spiffe://cluster.local/a:b', 'openssl differs'],
  ['+uri:cluster.local', '', 'uri:spiffe://10.0.0.7/x', 'not permitted'],
  ['-uri:other.example', '', 'uri:https://10.0.0.7/', 'stricter than openssl'],
  ['-uri:other.example', '', 'uri:https://[fd00::7]/', 'stricter than openssl'],
  ['-uri:other.example', '', 'uri:urn:uuid:1', 'not permitted'],
  ['+dns:svc', '', 'uri:urn:uuid:1', 'stricter than openssl'],
  ['-uri:cluster.local', '', 'uri:spiffe://user@cluster.local/x', 'openssl differs'],
  // Root and intermediate: both bind.
  ['', '+dns:svc', 'dns:web.shop.svc', 'permitted'],
  ['', '+dns:svc', 'dns:google.com', 'not permitted'],
  ['+dns:svc', '+dns:shop.svc', 'dns:web.shop.svc', 'permitted'],
  ['+dns:svc', '+dns:shop.svc', 'dns:web.bank.svc', 'not permitted'],
  ['+dns:shop.svc', '+dns:svc', 'dns:web.bank.svc', 'not permitted'],
  ['+dns:svc', '+dns:cluster.local', 'dns:web.shop.svc', 'not permitted'],
  ['+dns:svc', '-dns:shop.svc', 'dns:web.shop.svc', 'not permitted'],
  ['-dns:shop.svc', '+dns:svc', 'dns:web.shop.svc', 'not permitted'],
  ['-dns:shop.svc', '+dns:svc', 'dns:web.bank.svc', 'permitted'],
  ['+dns:svc +ip:10.0.0.0/8', '+ip:10.1.0.0/16', 'dns:a.svc ip:10.1.0.7', 'permitted'],
  ['+dns:svc +ip:10.0.0.0/8', '+ip:10.1.0.0/16', 'dns:a.svc ip:10.2.0.7', 'not permitted'],
  ['+ip:10.0.0.0/8', '-uri:other.example', `ip:10.0.0.7 ${spiffe}`, 'permitted'],
  ['+uri:cluster.local', '+uri:other.example', spiffe, 'not permitted'],
];

describe('namesNotPermitted() says what openssl and a TLS client say', () => {
  for (const [root, intermediate, namesText, verdict] of table)
    test(`root ${root || 'free'}, intermediate ${intermediate || 'free'}: ${namesText}: ${verdict}`, async (t) => {
      const names = namesIn(namesText);
      const chain = chainOf(root, intermediate, names);
      assert.equal(isPermitted(chain, names), verdict === 'permitted');
      if (verdict === 'openssl differs') return;
      const isTaken = verdict !== 'not permitted';
      assert.equal(await opensslTakes(t, chain), isTaken);
      assert.equal(await nodeTakes(chain), isTaken);
    });
});

describe('namesNotPermitted()', () => {
  const chain = [
    constraintsIn('+dns:svc +dns:cluster.local +ip:10.0.0.0/8 +uri:cluster.local'),
    constraintsIn('-dns:shop.svc -ip:10.96.0.0/12 -ip:10.100.0.0/16'),
  ];

  test('names each name once, with the constraint that stands against it', () => {
    const names = namesIn(
      'dns:web.bank.svc dns:google.com dns:web.shop.svc ip:10.0.0.7 ip:8.8.8.8 ip:10.100.0.1 uri:urn:x',
    );
    assert.deepEqual(namesNotPermitted(chain, names), [
      { kind: 'dns', value: 'google.com', constraint: 'permits only "svc", "cluster.local"' },
      { kind: 'dns', value: 'web.shop.svc', constraint: 'excludes "shop.svc"' },
      { kind: 'ip', value: '8.8.8.8', constraint: 'permits only 10.0.0.0/8' },
      { kind: 'ip', value: '10.100.0.1', constraint: 'excludes 10.96.0.0/12, 10.100.0.0/16' },
      { kind: 'uri', value: 'urn:x', constraint: 'permits only URIs with a plain host name' },
    ]);
  });

  test('lists five bases and counts the others', () => {
    const many = constraintsIn('+dns:a +dns:b +dns:c +dns:d +dns:e +dns:f +dns:g');
    assert.equal(
      namesNotPermitted([many], dnsNames('web.shop.svc'))[0]?.constraint,
      'permits only "a", "b", "c", "d", "e", and 2 more',
    );
  });

  test('permits everything under CAs without constraints', () => {
    assert.deepEqual(namesNotPermitted([], namesIn('dns:google.com uri:urn:x')), []);
  });

  test('permits no address that is none', () => {
    const [found] = namesNotPermitted(chain, { ...noNames, ipAddresses: ['10.0.0.7 '] });
    assert.equal(found?.constraint, 'permits only plain IPv4 and IPv6 addresses');
  });
});

/** The constraints of a CA whose extension has this value. */
const read = (...values: readonly Uint8Array[]): NameConstraints | undefined => {
  const extension = (value: Uint8Array): Extension => ({
    oid: extensionOids.nameConstraints,
    critical: true,
    value: Buffer.from(value),
  });
  return nameConstraintsOf(newCa({ extensions: values.map(extension) }).certificate);
};

/** `[list]` of subtrees, each of one base. */
const bases = (list: number, ...items: readonly der.Der[]): Buffer =>
  der.encodeDer(der.sequence(der.tagged(list, ...items.map((item) => der.sequence(item)))));

const dnsBase = (text: string): der.Der => der.taggedBytes(2, Buffer.from(text, 'latin1'));
const ipBase = (...bytes: readonly number[]): der.Der => der.taggedBytes(7, Uint8Array.from(bytes));
const uriBase = (text: string): der.Der => der.taggedBytes(6, Buffer.from(text));

describe('nameConstraintsOf()', () => {
  test('gives back what nameConstraints() wrote', () => {
    const text = '+dns:svc +dns: +ip:10.0.0.0/8 +uri:cluster.local -dns:.x -ip:fc00::/7 -uri:.y';
    const { value } = nameConstraints(constraintsIn(text));
    const found = read(value);
    assert.ok(found);
    assert.deepEqual(nameConstraints(found).value, value);
    assert.deepEqual(found.permitted.dns, ['svc', '']);
    assert.deepEqual(found.excluded.uri, ['.y']);
    assert.deepEqual(found.otherKinds, []);
  });

  test('finds none in a certificate without any', () => {
    assert.equal(nameConstraintsOf(newCa().certificate), undefined);
  });

  test('reads the ones that openssl prints', async () => {
    const text = '+dns:svc +ip:10.0.0.0/8 +ip:fc00::/7 -uri:.example';
    const { pem } = newCa({ extensions: [nameConstraints(constraintsIn(text))] });
    const printed = await openssl(['x509', '-noout', '-ext', 'nameConstraints'], pem);
    assert.match(
      printed.text,
      /critical\s+Permitted:\s+DNS:svc\s+IP:10\.0\.0\.0\/255\.0\.0\.0\s+IP:FC00:0:0:0:0:0:0:0\/FE00:0:0:0:0:0:0:0\s+Excluded:\s+URI:\.example\s/,
    );
  });

  test('names the other kinds once', () => {
    const mail = der.taggedBytes(1, Buffer.from('example.com'));
    const directory = der.tagged(4, der.sequence());
    const found = read(bases(0, mail, directory, der.taggedBytes(8, Uint8Array.of(42)), mail));
    assert.deepEqual(found, {
      permitted: noSubtrees,
      excluded: noSubtrees,
      otherKinds: ['rfc822Name', 'directoryName', 'registeredID'],
    });
  });

  const spread = der.sequence(dnsBase('svc'), der.taggedBytes(0, Uint8Array.of(0)));
  for (const [what, value, why] of [
    ['that are no SEQUENCE', der.encodeDer(der.nothing()), /nameConstraints is not a SEQUENCE/],
    ['that are empty', der.encodeDer(der.sequence()), /nameConstraints is empty/],
    ['with an empty list', bases(0), /list of permitted subtrees is empty/],
    ['with a third list', bases(2, dnsBase('svc')), /other members than/],
    [
      'with the lists in the wrong order',
      der.encodeDer(
        der.sequence(
          der.tagged(1, der.sequence(dnsBase('a'))),
          der.tagged(0, der.sequence(dnsBase('b'))),
        ),
      ),
      /other members than/,
    ],
    [
      'with a list twice',
      der.encodeDer(
        der.sequence(
          der.tagged(0, der.sequence(dnsBase('a'))),
          der.tagged(0, der.sequence(dnsBase('b'))),
        ),
      ),
      /other members than/,
    ],
    [
      'with a primitive list',
      der.encodeDer(der.sequence(der.taggedBytes(0, Buffer.of()))),
      /permitted subtrees is not \[0\]/,
    ],
    [
      'with a written out minimum',
      der.encodeDer(der.sequence(der.tagged(1, spread))),
      /excluded .* more or less/,
    ],
    [
      'with a subtree without base',
      der.encodeDer(der.sequence(der.tagged(0, der.sequence()))),
      /more or less/,
    ],
    [
      'with a constructed DNS base',
      bases(0, der.tagged(2, der.nothing())),
      /dNSName is not primitive/,
    ],
    ['with a domain that ends with a dot', bases(0, dnsBase('svc.')), /"svc\." is not a domain/],
    ['with an empty label', bases(0, dnsBase('a..b')), /"a\.\.b" is not a domain/],
    ['with two leading dots', bases(0, dnsBase('..b')), /"\.\.b" is not a domain/],
    ['with a dot alone', bases(1, dnsBase('.')), /"\." is not a domain/],
    ['with a blank', bases(1, dnsBase('a b')), /"a b" is not a domain/],
    ['with a letter beyond ASCII', bases(1, dnsBase('\u00fc')), /is not a domain/],
    ['with an address as URI', bases(0, uriBase('10.0.0.7')), /"10\.0\.0\.7" is not a host/],
    ['with an IPv6 address as URI', bases(0, uriBase('fd00::7')), /"fd00::7" is not a host/],
    ['with an address without mask', bases(0, ipBase(10, 0, 0, 0)), /0a000000 is not a range/],
    ['with an odd range', bases(0, ipBase(10, 0, 0, 0, 255, 0, 0)), /is not a range/],
    ['with no range', bases(0, ipBase()), /is not a range/],
    ['with a mask of islands', bases(0, ipBase(10, 0, 0, 0, 255, 0, 255, 0)), /is not a range/],
    ['with something after them', Buffer.concat([bases(0, dnsBase('a')), Buffer.of(5, 0)]), /./],
  ] as const)
    test(`refuses constraints ${what}`, () => {
      assert.throws(() => read(value), why);
    });

  test('refuses constraints that stand there twice', () => {
    const value = bases(0, dnsBase('svc'));
    assert.throws(() => read(value, value), /it has name constraints twice/);
  });

  test('takes no other extension for them', () => {
    const extensions = [subjectAltName(dnsNames('ca.svc'), false)];
    assert.equal(nameConstraintsOf(newCa({ extensions }).certificate), undefined);
  });
});

describe('nameConstraints()', () => {
  test('refuses to constrain nothing', () => {
    assert.throws(
      () => nameConstraints({ permitted: noSubtrees, excluded: noSubtrees }),
      /without a subtree/,
    );
  });
});
