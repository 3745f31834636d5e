import { generateKeyPairSync } from 'node:crypto';
import { type RuleId } from '../../src/approver/rules.ts';
import { type LivePod } from '../../src/identity/live-pod.ts';
import { parseIpRange, type IpRange } from '../../src/identity/ip-range.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import * as der from '../../src/pki/der.ts';
import { extendedKeyUsage, extensionOids, keyUsage } from '../../src/pki/extensions.ts';
import { keyPairOf, type KeyPair } from '../../src/pki/key-pair.ts';
import {
  aPod,
  aService,
  aUser,
  type Asking,
  pemOf,
  requestPem,
  type Scene,
  selfMadeConstraints,
  theTokenOf,
} from './approval-builders.ts';
import { basicConstraints, newKey, tlsUsages } from './certificate-builders.ts';
import {
  altName,
  asking,
  attribute,
  craftedRequest,
  extensionRequest,
  nameOf,
  type RequestParts,
  usualNames,
} from './crafted-request.ts';

/** Who attacks, with what in hand. */
type Attacker =
  | 'a pod of the namespace'
  | 'a pod of another namespace'
  | 'an edit user of the namespace'
  | 'an unbound token'
  | 'the token of a dead pod'
  | 'a stolen token'
  | 'a node credential'
  | 'an impersonating administrator'
  | 'an administrator';

/** One forged request, or forged facts behind an honest one. */
export interface Attack {
  readonly who: Attacker;
  /** What is forged. */
  readonly what: string;
  readonly scene: Scene;
  /** The one rule that stops it, once the backstops are gone. */
  readonly rule: RuleId;
  /** Rules that stop it as well. */
  readonly backstops?: readonly RuleId[];
  /** What the denial names; undefined: the request as a whole. */
  readonly value?: string;
  /** It waits, because a change in the namespace of the pod could make it right. */
  readonly waits?: true;
}

const dns = (...dnsNames: readonly string[]): Asking => ({ names: { dnsNames } });
const ip = (...ipAddresses: readonly string[]): Asking => ({ names: { ipAddresses } });
const uri = (...uris: readonly string[]): Asking => ({ names: { uris } });
const honest = dns('web.shop.svc');

function range(text: string): IpRange {
  const found = parseIpRange(text);
  if (!found) throw new Error(text);
  return found;
}

const crafted = (parts: RequestParts, key = newKey()): Asking => ({
  pem: pemOf(craftedRequest(parts, key)),
});

/** What `edit` in the namespace can write, and the pod that asks for the name. */
const withService = (changes: Parameters<typeof aService>[1], more: Scene = {}): Scene => ({
  services: [aService('web', changes)],
  asks: honest,
  ...more,
});

const requesters: readonly Attack[] = [
  {
    who: 'an administrator',
    what: 'a request of a person',
    scene: { asks: { ...dns('payments.prod.svc'), by: aUser('kubernetes-admin') } },
    rule: 'requester-is-a-pod',
  },
  {
    who: 'a node credential',
    what: 'a request of a kubelet',
    scene: { asks: { ...honest, by: aUser('system:node:node-a', { 'node-name': ['node-a'] }) } },
    rule: 'requester-is-a-pod',
  },
  {
    who: 'an unbound token',
    what: 'a service account without a pod',
    scene: { asks: { ...honest, by: aUser('system:serviceaccount:shop:web') } },
    rule: 'requester-is-a-pod',
  },
  {
    who: 'an unbound token',
    what: 'a token that is bound to a node alone',
    scene: {
      asks: { ...honest, by: aUser('system:serviceaccount:shop:web', { 'node-name': ['node-a'] }) },
    },
    rule: 'requester-is-a-pod',
  },
  ...(['pod-name', 'pod-uid', 'node-name'] as const).map((claim): Attack => ({
    who: 'an impersonating administrator',
    what: `two values of ${claim}`,
    scene: { asks: { ...honest, by: twice(claim) } },
    rule: 'requester-is-a-pod',
  })),
  {
    who: 'the token of a dead pod',
    what: 'a pod that is gone',
    scene: { pod: null, asks: dns('payments.prod.svc') },
    rule: 'pod-exists',
    value: 'shop/web-0',
  },
  {
    who: 'the token of a dead pod',
    what: 'another pod under the same name',
    scene: { pod: aPod({ uid: 'uid-of-the-next' }), asks: { ...honest, by: theTokenOf(aPod()) } },
    rule: 'pod-exists',
    value: 'shop/web-0',
  },
  ...['Succeeded', 'Failed'].map((phase): Attack => ({
    who: 'the token of a dead pod',
    what: `a pod of phase ${phase}`,
    scene: { pod: aPod({ phase }), asks: honest },
    rule: 'pod-is-alive',
    value: 'shop/web-0',
  })),
  {
    who: 'the token of a dead pod',
    what: 'a pod that is being deleted',
    scene: { pod: aPod({ isTerminating: true }), asks: honest },
    rule: 'pod-is-alive',
    value: 'shop/web-0',
  },
  {
    who: 'the token of a dead pod',
    what: 'a pod on a node that is lost',
    scene: { pod: aPod({ phase: 'Unknown' }), asks: honest },
    rule: 'pod-is-alive',
    value: 'shop/web-0',
    waits: true,
  },
  {
    who: 'a node credential',
    what: 'a mirror pod',
    scene: { pod: aPod({ isMirror: true }), asks: honest },
    rule: 'pod-is-no-mirror',
    value: 'shop/web-0',
  },
  {
    who: 'an impersonating administrator',
    what: 'another service account than the pod has',
    scene: {
      pod: aPod({ serviceAccount: 'web' }),
      asks: { ...uri('spiffe://cluster.local/ns/shop/sa/admin'), by: asAccount('admin') },
    },
    rule: 'service-account',
    value: 'admin',
  },
  {
    who: 'a stolen token',
    what: 'a pod that runs elsewhere',
    scene: {
      pod: aPod({ nodeName: 'node-b' }),
      asks: { ...honest, by: theTokenOf(aPod({ nodeName: 'node-a' })) },
    },
    rule: 'node',
    value: 'node-a',
  },
  {
    who: 'an edit user of the namespace',
    what: 'a pod that runs nowhere',
    scene: { pod: aPod({ nodeName: undefined }), asks: honest },
    rule: 'node',
    waits: true,
  },
];

function twice(claim: string) {
  const claims: Record<string, string[]> = {
    'pod-name': ['web-0'],
    'pod-uid': ['uid-of-web-0'],
    'node-name': ['node-a'],
  };
  return aUser('system:serviceaccount:shop:web', {
    ...claims,
    [claim]: [...(claims[claim] ?? []), 'x'],
  });
}

function asAccount(serviceAccount: string) {
  return theTokenOf(aPod({ serviceAccount }));
}

const email = der.taggedBytes(1, Buffer.from('me@example.com'));
const directoryName = der.tagged(4, nameOf(['2.5.4.3', der.utf8String('web.shop.svc')]));
const otherName = der.tagged(
  0,
  der.oid('1.3.6.1.4.1.311.20.2.3'),
  der.tagged(0, der.utf8String('me')),
);
const dnsNode = der.taggedBytes(2, Buffer.from('web.shop.svc'));
const pem = requestPem(honest);
const otherPem = requestPem(dns('payments.prod.svc'));

/** Forged certification requests: `certification-request` alone reads them. */
const forgeries: Readonly<Record<string, Asking>> = {
  'a signature by another key': {
    pem: pemOf(craftedRequest({}, { ...newKey(), privateKey: newKey().privateKey })),
  },
  'a name changed after it was signed': {
    pem: pemOf(
      changed(
        buildCertificationRequest({ names: named('web.shop.svc'), usages: tlsUsages }, newKey()),
      ),
    ),
  },
  'a signature by SHA-1': crafted({ ecdsaHash: 'SHA1' }),
  'version 1': crafted({ version: 1 }),
  'an organisation': crafted({ subject: nameOf(['2.5.4.10', der.utf8String('system:masters')]) }),
  'a common name and an organisation': crafted({
    subject: nameOf(
      ['2.5.4.3', der.utf8String('web.shop.svc')],
      ['2.5.4.10', der.utf8String('system:masters')],
    ),
  }),
  'a common name in UTF-16': crafted({
    subject: nameOf(['2.5.4.3', der.bmpString('web.shop.svc')]),
  }),
  'an e-mail address': crafted({ attributes: [asking(altName(dnsNode, email))] }),
  'a directory name': crafted({ attributes: [asking(altName(dnsNode, directoryName))] }),
  'a user principal name': crafted({ attributes: [asking(altName(dnsNode, otherName))] }),
  'an address of five bytes': crafted({
    attributes: [asking(altName(der.taggedBytes(7, Buffer.of(10, 1, 0, 7, 0))))],
  }),
  'no names': crafted({ attributes: [] }),
  'a second extensionRequest': crafted({ attributes: [asking(usualNames), asking(usualNames)] }),
  'a second value of extensionRequest': crafted({
    attributes: [
      attribute(
        extensionRequest,
        extensionsOf(asking(usualNames)),
        extensionsOf(asking(usualNames, basicConstraints(true))),
      ),
    ],
  }),
  'a challenge password': crafted({
    attributes: [asking(usualNames), attribute('1.2.840.113549.1.9.7', der.utf8String('x'))],
  }),
  "Microsoft's extensionRequest": crafted({
    attributes: [attribute('1.3.6.1.4.1.311.2.1.14', extensionsOf(asking(usualNames)))],
  }),
  'names twice': crafted({ attributes: [asking(usualNames, usualNames)] }),
  'an OID that wraps round to that of the names': crafted({
    replace: ['551d11', '551d9080808011'],
  }),
  'another request before it': { pem: otherPem + pem },
  'another request after it': { pem: pem + otherPem },
  'a comment before it': { pem: `payments.prod.svc\n${pem}` },
  'a certificate after it': {
    pem: `${pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
  },
  'PEM headers': { pem: pem.replace('\n', '\nProc-Type: 4,ENCRYPTED\n\n') },
  'NEW CERTIFICATE REQUEST': { pem: pem.replaceAll('CERTIFICATE', 'NEW CERTIFICATE') },
  'a megabyte of junk': { pem: pem + 'A'.repeat(1_000_000) },
};

function named(...dnsNames: readonly string[]) {
  return { dnsNames, ipAddresses: [], uris: [] };
}

function changed(request: Buffer): Buffer {
  request.write('xeb.shop.svc', request.indexOf('web.shop.svc'));
  return request;
}

/** The value of an extensionRequest. */
function extensionsOf(attributeNode: der.Der): der.Der {
  const [, values] = der.membersOf(attributeNode, 'sequence', 'attribute');
  const [value] = der.membersOf(values, 'set', 'values');
  if (!value) throw new Error('no value');
  return value;
}

const rsa = (modulusLength: number, publicExponent = 65537): KeyPair =>
  keyPairOf(generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey);

const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey;

const keys: readonly Attack[] = [
  ...Object.entries({
    'RSA of 1024 bits': rsa(1024),
    'RSA with exponent 3': rsa(2048, 3),
    'P-521': keyPairOf(p521),
  }).map(([what, key]): Attack => ({
    who: 'a pod of the namespace',
    what,
    scene: { asks: { ...honest, key } },
    rule: 'key',
  })),
  {
    who: 'a pod of the namespace',
    what: 'a kind of key that policy does not allow',
    scene: { asks: { ...honest, key: rsa(2048) }, allowance: { keyAlgorithms: ['ECDSAP256'] } },
    rule: 'key',
    value: 'RSA2048',
  },
];

/**
 * The neutral point of Ed25519 as public key, and as R of the signature; S is 0: it verifies for every
 * message, and nobody needed a private key. New versions of Node refuse it, old ones leave that to us.
 */
export function requestSignedByNobody(): string {
  const neutral = Buffer.alloc(32);
  neutral[0] = 1;
  const ed25519 = der.sequence(der.oid('1.3.101.112'));
  const info = der.sequence(
    der.integer(Uint8Array.of(0)),
    der.sequence(),
    der.sequence(ed25519, der.bitString(neutral)),
    der.tagged(0, asking(usualNames)),
  );
  const signature = Buffer.concat([neutral, Buffer.alloc(32)]);
  return pemOf(der.encodeDer(der.sequence(info, ed25519, der.bitString(signature))));
}

const inSuffix: Scene['allowance'] = { dnsSuffixes: ['example.com'] };
const longName = `${'a'.repeat(60)}.example.com`;

/** Names that readers take differently. Policy would allow each, so that one rule alone stands against it. */
const malformed = [
  'payments.prod.svc\0.example.com',
  'payments.prod.svc\n.example.com',
  'payments.prod.svc,DNS:x.example.com',
  'Web.example.com',
  'w\u00e9b.example.com',
  'a b.example.com',
  'a..example.com',
  '.example.com',
  '_sip.example.com',
  '-a.example.com',
  '*a.example.com',
  'a.*.example.com',
  `${'a'.repeat(64)}.example.com`,
  `${'abcdefg.'.repeat(31)}example.com`,
];

const contents: readonly Attack[] = [
  ...Object.entries(forgeries).map(([what, asks]): Attack => ({
    who: 'a pod of the namespace',
    what,
    scene: { asks },
    rule: 'certification-request',
  })),
  ...keys,
  ...malformed.map((name): Attack => ({
    who: 'a pod of the namespace',
    what: `the name ${JSON.stringify(name).slice(0, 50)}`,
    scene: { allowance: inSuffix, asks: dns(name) },
    rule: 'well-formed-names',
    value: name,
  })),
  {
    who: 'a pod of the namespace',
    what: 'an IPv4 address in IPv6 clothes',
    scene: { asks: ip('::ffff:10.1.0.7') },
    rule: 'well-formed-names',
    backstops: ['addresses'],
    value: '::ffff:a01:7',
  },
  {
    who: 'a pod of the namespace',
    what: 'a URI with a line break',
    scene: { asks: uri('spiffe://cluster.local/ns/shop/sa/web\n') },
    rule: 'well-formed-names',
    backstops: ['uris'],
    value: 'spiffe://cluster.local/ns/shop/sa/web\n',
  },
  {
    who: 'a pod of the namespace',
    what: "another namespace's name as common name",
    scene: { asks: { ...honest, commonName: 'payments.prod.svc' } },
    rule: 'subject',
    value: 'payments.prod.svc',
  },
  {
    who: 'a pod of the namespace',
    what: 'a common name that only ends as a name does',
    scene: { asks: { ...honest, commonName: 'web.shop.svc\0' } },
    rule: 'subject',
    value: 'web.shop.svc\0',
  },
  {
    who: 'a pod of the namespace',
    what: 'a common name of 72 characters',
    scene: { allowance: inSuffix, asks: { ...dns(longName), commonName: longName } },
    rule: 'subject',
    value: longName,
  },
  {
    who: 'a pod of the namespace',
    what: 'no name at all',
    scene: { asks: crafted({ attributes: [asking(altName())] }) },
    rule: 'number-of-names',
  },
  {
    who: 'a pod of the namespace',
    what: '251 names',
    scene: {
      allowance: inSuffix,
      asks: dns(...Array.from({ length: 251 }, (_, i) => `n${i}.example.com`)),
    },
    rule: 'number-of-names',
  },
  {
    who: 'a pod of the namespace',
    what: 'a name twice',
    scene: { asks: dns('web.shop.svc', 'web.shop.svc') },
    rule: 'repeated-names',
    value: 'web.shop.svc',
  },
  ...Object.entries({
    basicConstraints: basicConstraints(true),
    keyUsage: keyUsage(['digital signature', 'cert sign']),
    extendedKeyUsage: extendedKeyUsage(['server auth']),
    [extensionOids.nameConstraints]: {
      oid: extensionOids.nameConstraints,
      critical: true,
      value: Buffer.of(0x30, 0),
    },
    '1.2.3.4': { oid: '1.2.3.4', critical: false, value: Buffer.of(5, 0) },
  }).map(([value, extension]): Attack => ({
    who: 'a pod of the namespace',
    what: `the extension ${value}`,
    scene: {
      asks: crafted({
        attributes: [asking(...[usualNames, extension].filter((each) => each !== undefined))],
      }),
    },
    rule: 'extensions',
    value,
  })),
  ...['cert sign', 'code signing', 'any', 'key agreement'].map((usage): Attack => ({
    who: 'a pod of the namespace',
    what: `usage ${usage}`,
    scene: { asks: { ...honest, usages: [...tlsUsages, usage], usagesInside: tlsUsages } },
    rule: 'usages',
    value: usage,
  })),
  {
    who: 'a pod of the namespace',
    what: 'neither server nor client',
    scene: { asks: { ...honest, usages: ['digital signature'] } },
    rule: 'usages',
  },
  {
    who: 'a pod of the namespace',
    what: 'key encipherment with a key that cannot',
    scene: { asks: { ...honest, usages: [...tlsUsages, 'key encipherment'] } },
    rule: 'usages',
    value: 'key encipherment',
  },
  {
    who: 'a pod of the namespace',
    what: 'a usage that policy takes away',
    scene: { allowance: { usages: ['client auth', 'digital signature'] }, asks: honest },
    rule: 'usages',
    value: 'server auth',
  },
  {
    who: 'a pod of the namespace',
    what: 'a lifetime of a century',
    scene: { asks: { ...honest, expirationSeconds: 2_147_483_647 } },
    rule: 'lifetime',
    value: '2147483647s',
  },
  {
    who: 'a pod of the namespace',
    what: 'none, and so the default, where policy allows less',
    scene: {
      allowance: { maximumLifetimeMs: 3_600_000 },
      asks: { ...honest, expirationSeconds: undefined },
    },
    rule: 'lifetime',
  },
  {
    who: 'a pod of the namespace',
    what: 'a second too many',
    scene: { asks: { ...honest, expirationSeconds: 90 * 86_400 + 1 } },
    rule: 'lifetime',
    value: '7776001s',
  },
  {
    who: 'a pod of the namespace',
    what: 'a name of the world from a CA for the cluster',
    scene: {
      caConstraints: [selfMadeConstraints],
      allowance: { dnsSuffixes: ['google.com'] },
      asks: dns('google.com'),
    },
    rule: 'ca-constraints',
    value: 'google.com',
  },
];

/** DNS names that are somebody else's; each is denied at once. */
const foreignNames = [
  'payments.prod.svc',
  'payments.prod.svc.cluster.local',
  'kubernetes.default.svc',
  'web.shop.svc.other.local',
  'web.shop',
  'web',
  'google.com',
  'localhost',
  '*.shop.svc',
  '*.web.shop.svc',
  '*.svc.cluster.local',
  'x.web.shop.svc',
  'a.b.web.shop.svc',
  '10-1-0-7.shop.pod.cluster.local',
  '10-1-0-9.prod.pod.cluster.local',
];

const statefulPod = aPod({ hostname: 'web-0', subdomain: 'web' });
const headless = aService('web', { headless: true });

const names: readonly Attack[] = [
  ...foreignNames.map((name): Attack => ({
    who: 'a pod of the namespace',
    what: `the name ${name}`,
    scene: { asks: dns(name) },
    rule: 'dns-names',
    value: name,
  })),
  {
    who: 'a pod of another namespace',
    what: 'a headless Service `prod` and the hostname `payments`',
    scene: {
      pod: evilPod({ hostname: 'payments', subdomain: 'prod' }),
      services: [aService('prod', { namespace: 'evil', headless: true })],
      allowance: { nameForms: ['svc.ns', 'svc', 'pod'] },
      asks: dns('payments.prod'),
    },
    rule: 'dns-names',
    value: 'payments.prod',
  },
  ...(['svc', 'cluster', 'local'] as const).map((namespace): Attack => ({
    who: 'a pod of another namespace',
    what: `a short name in a namespace called ${namespace}`,
    scene: {
      pod: aPod({ namespace }),
      services: [aService('web', { namespace })],
      allowance: { nameForms: ['svc.ns', 'svc'] },
      asks: dns(`web.${namespace}`),
    },
    rule: 'dns-names',
    value: `web.${namespace}`,
  })),
  {
    who: 'a pod of the namespace',
    what: 'the hostname of a sibling',
    scene: { pod: statefulPod, services: [headless], asks: dns('web-1.web.shop.svc') },
    rule: 'dns-names',
    value: 'web-1.web.shop.svc',
  },
  {
    who: 'a pod of the namespace',
    what: 'its hostname under another Service',
    scene: {
      pod: statefulPod,
      services: [headless, aService('api', { headless: true })],
      asks: dns('web-0.api.shop.svc'),
    },
    rule: 'dns-names',
    value: 'web-0.api.shop.svc',
  },
  {
    who: 'a pod of the namespace',
    what: 'its hostname under a Service with a cluster IP, which has no such record',
    scene: { pod: statefulPod, asks: dns('web-0.web.shop.svc') },
    rule: 'dns-names',
    value: 'web-0.web.shop.svc',
    waits: true,
  },
  {
    who: 'a pod of the namespace',
    what: 'the pod name of another address',
    scene: {
      allowance: { nameForms: ['pod'] },
      asks: dns('10-1-0-9.shop.pod.cluster.local'),
    },
    rule: 'dns-names',
    value: '10-1-0-9.shop.pod.cluster.local',
  },
  {
    who: 'a node credential',
    what: 'the pod name of an address of a node',
    scene: {
      pod: aPod({ ipAddresses: ['192.0.2.1'] }),
      network: { nodeAddresses: new Map([['192.0.2.1', new Set(['node-b'])]]) },
      allowance: { nameForms: ['pod'] },
      asks: dns('192-0-2-1.shop.pod.cluster.local'),
    },
    rule: 'dns-names',
    value: '192-0-2-1.shop.pod.cluster.local',
    waits: true,
  },
  ...Object.entries({
    'a Service that does not select the pod': { selector: { app: 'db' } },
    'a Service without selector, with EndpointSlices made by hand': { selector: {} },
    'an ExternalName Service with a selector': { isExternalName: true },
    'a Service that is being deleted': { isBeingDeleted: true },
  }).map(([what, changes]): Attack => ({
    who: 'an edit user of the namespace',
    what,
    scene: withService(changes),
    rule: 'dns-names',
    value: 'web.shop.svc',
    waits: true,
  })),
  {
    who: 'an edit user of the namespace',
    what: 'a Service that policy gives to another service account',
    scene: withService(
      {},
      {
        allowance: { services: [{ name: 'web', serviceAccounts: ['db'], whileUnselected: true }] },
      },
    ),
    rule: 'dns-names',
    value: 'web.shop.svc',
  },
  ...['evilexample.com', 'example.com.evil', '*.example.com'].map((name): Attack => ({
    who: 'a pod of the namespace',
    what: `the name ${name} beside the suffix example.com`,
    scene: { allowance: inSuffix, asks: dns(name) },
    rule: 'dns-names',
    value: name,
  })),
  ...[
    'spiffe://cluster.local/ns/prod/sa/payments',
    'spiffe://cluster.local/ns/shop/sa/admin',
    'spiffe://other.example/ns/shop/sa/web',
    'spiffe://cluster.local/ns/shop/sa/web/',
    'spiffe://cluster.local/ns/shop/sa/%77eb',
    'https://web.shop.svc',
  ].map((value): Attack => ({
    who: 'a pod of the namespace',
    what: `the identity ${value}`,
    scene: { asks: uri(value) },
    rule: 'uris',
    value,
  })),
];

function evilPod(changes: Partial<LivePod>): LivePod {
  return aPod({ namespace: 'evil', serviceAccount: 'default', ...changes });
}

/** Addresses that one bad node writes into the status of a pod, and asks for. */
const claimed: Readonly<Record<string, string>> = {
  'the cluster IP of the API': '10.96.0.1',
  'a cluster IP of another namespace': '10.96.0.20',
  'an address of another node': '192.0.2.2',
  'an address of its own node': '192.0.2.1',
  'a loopback address': '127.0.0.1',
  'the IPv6 loopback address': '::1',
  'a link-local address': '169.254.169.254',
  'an IPv6 link-local address': 'fe80::1',
  'a multicast address': '224.0.0.1',
  'an IPv6 multicast address': 'ff02::1',
  'the unspecified address': '0.0.0.0',
  'the IPv6 unspecified address': '::',
  'the broadcast address': '255.255.255.255',
};

const network: Scene['network'] = {
  clusterIPs: new Map([
    ['10.96.0.1', 'default/kubernetes'],
    ['10.96.0.20', 'prod/payments'],
    ['10.96.0.5', 'shop/web'],
  ]),
  nodeAddresses: new Map([
    ['192.0.2.1', new Set(['node-a'])],
    ['192.0.2.2', new Set(['node-b'])],
  ]),
  podRangesByNode: new Map([['node-a', [range('10.1.0.0/24')]]]),
  serviceRanges: [range('10.96.0.0/12')],
};

const addresses: readonly Attack[] = [
  ...Object.entries(claimed).map(([what, address]): Attack => ({
    who: 'a node credential',
    what,
    scene: { network, pod: aPod({ ipAddresses: ['10.1.0.7', address] }), asks: ip(address) },
    rule: 'addresses',
    value: address,
    // A bad node could otherwise have others denied for good.
    ...(address.startsWith('192.0.2.') ? { waits: true } : {}),
  })),
  {
    who: 'a node credential',
    what: 'an address of another node, which a second node says is its own too',
    scene: {
      network: { nodeAddresses: new Map([['192.0.2.2', new Set(['node-a', 'node-b'])]]) },
      pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.2'] }),
      allowance: { hostNetwork: true },
      asks: ip('192.0.2.2'),
    },
    rule: 'addresses',
    value: '192.0.2.2',
    waits: true,
  },
  {
    who: 'a node credential',
    what: 'an address in the podCIDRs of another node, which it wrote into its own too',
    scene: {
      network: {
        podRangesByNode: new Map([
          ['node-a', [range('10.1.0.0/16')]],
          ['node-b', [range('10.1.1.0/24')]],
        ]),
      },
      pod: aPod({ ipAddresses: ['10.1.1.9'] }),
      allowance: { addresses: 'podCIDRs' },
      asks: ip('10.1.1.9'),
    },
    rule: 'addresses',
    value: '10.1.1.9',
    waits: true,
  },
  {
    who: 'a node credential',
    what: 'a free address of the Service range',
    scene: { network, pod: aPod({ ipAddresses: ['10.96.9.9'] }), asks: ip('10.96.9.9') },
    rule: 'addresses',
    value: '10.96.9.9',
    waits: true,
  },
  {
    who: 'a node credential',
    what: 'an address of a pod of another node, where policy says podCIDRs',
    scene: {
      network,
      pod: aPod({ ipAddresses: ['10.1.1.9'] }),
      allowance: { addresses: 'podCIDRs' },
      asks: ip('10.1.1.9'),
    },
    rule: 'addresses',
    value: '10.1.1.9',
  },
  {
    who: 'a node credential',
    what: 'an address of another node for a hostNetwork pod, which policy lets have those of its own',
    scene: {
      network,
      pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.2'] }),
      allowance: { hostNetwork: true },
      asks: ip('192.0.2.2'),
    },
    rule: 'addresses',
    value: '192.0.2.2',
    waits: true,
  },
  {
    who: 'a node credential',
    what: 'an address of a pod for a hostNetwork pod, which podCIDRs do not bind',
    scene: {
      network,
      pod: aPod({ hostNetwork: true, ipAddresses: ['10.1.1.9'] }),
      allowance: { hostNetwork: true, addresses: 'podCIDRs' },
      asks: ip('10.1.1.9'),
    },
    rule: 'addresses',
    value: '10.1.1.9',
    waits: true,
  },
  {
    who: 'a pod of the namespace',
    what: 'the address of the node from a hostNetwork pod',
    scene: {
      network,
      pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.1'] }),
      asks: ip('192.0.2.1'),
    },
    rule: 'addresses',
    value: '192.0.2.1',
  },
  {
    who: 'a pod of the namespace',
    what: 'the address of another pod',
    scene: { network, asks: ip('10.1.0.8') },
    rule: 'addresses',
    value: '10.1.0.8',
  },
  {
    who: 'a pod of the namespace',
    what: 'its own address where policy leaves addresses out',
    scene: { network, allowance: { addresses: 'none' }, asks: ip('10.1.0.7') },
    rule: 'addresses',
    value: '10.1.0.7',
  },
  {
    who: 'an edit user of the namespace',
    what: 'the cluster IP of a Service that does not select the pod',
    scene: {
      network,
      services: [aService('web', { selector: { app: 'db' }, clusterIPs: ['10.96.0.5'] })],
      asks: ip('10.96.0.5'),
    },
    rule: 'addresses',
    value: '10.96.0.5',
    waits: true,
  },
  {
    who: 'an edit user of the namespace',
    what: 'the cluster IP of a Service that policy gives to another service account',
    scene: {
      network,
      services: [aService('web', { clusterIPs: ['10.96.0.5'] })],
      allowance: { services: [{ name: 'web', serviceAccounts: ['db'], whileUnselected: false }] },
      asks: ip('10.96.0.5'),
    },
    rule: 'addresses',
    value: '10.96.0.5',
  },
  {
    who: 'a pod of the namespace',
    what: "another namespace's cluster IP through a wide extra range",
    scene: {
      network,
      allowance: { extraAddresses: [range('10.0.0.0/8')] },
      asks: ip('10.96.0.20'),
    },
    rule: 'addresses',
    value: '10.96.0.20',
  },
];

export const attacks: readonly Attack[] = [...requesters, ...contents, ...names, ...addresses];
