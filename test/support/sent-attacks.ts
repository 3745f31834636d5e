import { equal } from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, randomUUID, sign } from 'node:crypto';
import { requestName } from '../../src/certificates/signing-request.ts';
import { noNames, type SubjectNames } from '../../src/identity/subject-names.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import * as der from '../../src/pki/der.ts';
import { encodeExtension, subjectAltName, type Extension } from '../../src/pki/extensions.ts';
import { keyPairOf, type KeyPair } from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { type TestPod } from '../cluster/pod.ts';
import { requestFor, type SentSpec } from './asking.ts';
import { impersonated, type AttackStage, type PodChanges, type Tenant } from './attack-stage.ts';
import { requestSignedByNobody } from './attacks.ts';
import { basicConstraints, newKey, tlsUsages } from './certificate-builders.ts';
import {
  altName,
  asking,
  attribute,
  craftedRequest,
  extensionRequest,
  nameOf,
  type RequestParts,
} from './crafted-request.ts';
import { type ApiUser } from './requester.ts';

/**
 * Attacks as they are sent to a real API server. What the rules do with each, one by one and without
 * a server: attacks.ts.
 */

/** What is sent; names may hold the placeholders of the stage. */
export interface Sent extends Partial<SentSpec> {
  /** Besides the names that are the pod's own. */
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly uris?: readonly string[];
  readonly commonName?: string;
  readonly key?: KeyPair;
  /** Instead of all that: made of the pod's own names. */
  readonly craft?: (own: SubjectNames) => string | Buffer;
  /** Of the signing request. */
  readonly name?: string;
}

export interface SentAttack {
  readonly who: string;
  readonly what: string;
  readonly from?: Tenant;
  /** A pod for this attack alone; otherwise one pod of the tenant sends many. */
  readonly pod?: PodChanges;
  /** Otherwise the pod's own token. */
  readonly as?: (stage: AttackStage, pod: TestPod) => ApiUser | Promise<ApiUser>;
  /** After the credential was made, before it is used. */
  readonly meanwhile?: (stage: AttackStage, pod: TestPod) => Promise<void>;
  readonly sent?: Sent;
  /** A rule that stops it, and the value that it names. */
  readonly rule: string;
  readonly value?: string | ((pod: TestPod) => string);
  /** It waits, because a change in the namespace of the pod could make it right. */
  readonly waits?: true;
}

const podValue = (pod: TestPod): string => `${pod.namespace}/${pod.name}`;
const podPath = (pod: TestPod): string => `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;

/** The authenticator remembers a token for ten seconds, whatever becomes of its pod. */
async function useToken({ users }: AttackStage, { token }: TestPod): Promise<void> {
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const resourceAttributes = { verb: 'get', resource: 'pods' };
  const { status } = await users.post({ token }, path, { spec: { resourceAttributes } });
  equal(status, 201);
}

async function replacePod(stage: AttackStage, pod: TestPod): Promise<void> {
  await useToken(stage, pod);
  await stage.api.must('DELETE', podPath(pod), { gracePeriodSeconds: 0 });
  await stage.pod('shop', { name: pod.name });
}

/** Whoever they are, they do not ask as a pod that lives. */
const requesters: readonly SentAttack[] = [
  {
    who: 'the token of a dead pod',
    what: 'a pod that is gone',
    pod: {},
    meanwhile: async (stage, pod) => {
      await useToken(stage, pod);
      await stage.api.must('DELETE', podPath(pod), { gracePeriodSeconds: 0 });
    },
    rule: 'pod-exists',
    value: podValue,
  },
  {
    who: 'the token of a dead pod',
    what: 'another pod under the same name',
    pod: {},
    meanwhile: replacePod,
    rule: 'pod-exists',
    value: podValue,
  },
  {
    who: 'the token of a dead pod',
    what: 'a pod that is being deleted',
    pod: {},
    meanwhile: async (stage, pod) => {
      await stage.api.must('DELETE', podPath(pod));
    },
    rule: 'pod-is-alive',
    value: podValue,
  },
  ...['Succeeded', 'Failed'].map((phase): SentAttack => ({
    who: 'the token of a dead pod',
    what: `a pod of phase ${phase}`,
    pod: { phase },
    rule: 'pod-is-alive',
    value: podValue,
  })),
  {
    who: 'the token of a dead pod',
    what: 'a pod on a node that is lost',
    pod: { phase: 'Unknown' },
    rule: 'pod-is-alive',
    value: podValue,
    waits: true,
  },
  {
    who: 'a pod of the namespace',
    what: 'a pod that runs nowhere',
    pod: { spec: { nodeName: undefined }, podIPs: [], phase: 'Pending' },
    rule: 'node',
    waits: true,
  },
  ...Object.entries<NonNullable<SentAttack['as']>>({
    'an unbound token': async (stage) => ({ token: await stage.token('shop') }),
    'a token that is bound to a node': async (stage) => {
      const node = (await stage.api.must('GET', '/api/v1/nodes/node-1')) as {
        metadata: { uid: string };
      };
      const bound = { kind: 'Node', name: 'node-1', uid: node.metadata.uid } as const;
      return { token: await stage.token('shop', bound) };
    },
    'an administrator': () => ({ user: 'administrator', groups: ['system:masters'], extra: {} }),
    'an administrator with the claims of a pod': (_, pod) =>
      impersonated(pod, { user: 'administrator' }),
    'an administrator as a service account without claims': (_, pod) =>
      impersonated(pod, { claims: { 'pod-name': [], 'pod-uid': [], 'node-name': [] } }),
    'an administrator as a pod without name': (_, pod) =>
      impersonated(pod, { claims: { 'pod-name': [] } }),
    'an administrator as a pod without uid': (_, pod) =>
      impersonated(pod, { claims: { 'pod-uid': [] } }),
    'an administrator as two pod names': (_, pod) =>
      impersonated(pod, { claims: { 'pod-name': [pod.name, 'other'] } }),
    'an administrator as two pod uids': (_, pod) =>
      impersonated(pod, { claims: { 'pod-uid': [pod.uid, 'other'] } }),
    'an administrator as two node names': (_, pod) =>
      impersonated(pod, { claims: { 'node-name': ['node-1', 'other'] } }),
    'an administrator as a user who is called nearly like a service account': (_, pod) =>
      impersonated(pod, {
        user: `system:serviceaccount:${pod.namespace}`,
      }),
  }).flatMap(([who, as]) =>
    Object.entries<Sent>({
      'honest names': {},
      'a name of another namespace': { dnsNames: ['web.{evil}.svc'] },
      'an address': { ipAddresses: ['10.97.0.10'] },
      'the identity of somebody else': { uris: ['spiffe://cluster.local/ns/{evil}/sa/default'] },
    }).map(([what, sent]): SentAttack => ({ who, what, as, sent, rule: 'requester-is-a-pod' })),
  ),
  {
    who: 'a node credential',
    what: 'its own names, the only ones that the API server lets it send',
    as: (_, pod) => impersonated(pod, { user: 'system:node:node-1', groups: ['system:nodes'] }),
    sent: {
      craft: (own) =>
        pemOf({
          subject: nameOf(
            ['2.5.4.10', der.utf8String('system:nodes')],
            ['2.5.4.3', der.utf8String('system:node:node-1')],
          ),
          attributes: [asking(subjectAltName(own, false))],
        }),
    },
    rule: 'requester-is-a-pod',
  },
  {
    who: 'an impersonating administrator',
    what: 'another service account than the pod has',
    pod: {},
    as: (_, pod) => impersonated(pod, { user: `system:serviceaccount:${pod.namespace}:admin` }),
    sent: { uris: ['spiffe://cluster.local/ns/{shop}/sa/admin'] },
    rule: 'service-account',
    value: 'admin',
  },
  {
    who: 'an impersonating administrator',
    what: 'the service account of another namespace',
    as: (stage, pod) =>
      impersonated(pod, { user: `system:serviceaccount:${stage.namespaces.evil}:default` }),
    rule: 'pod-exists',
    value: (pod) => `{evil}/${pod.name}`,
  },
  {
    who: 'an impersonating administrator',
    what: 'the uid of another pod',
    pod: {},
    as: (_, pod) =>
      impersonated(pod, { claims: { 'pod-uid': ['00000000-0000-0000-0000-000000000000'] } }),
    rule: 'pod-exists',
    value: podValue,
  },
  ...['../../{evil}/pods/x', '..', '.', 'x/status', 'x?watch=true', 'X'].map(
    (name): SentAttack => ({
      who: 'an impersonating administrator',
      what: `a pod called ${name}`,
      as: (stage, pod) => impersonated(pod, { claims: { 'pod-name': [stage.fill(name)] } }),
      rule: 'requester-is-a-pod',
    }),
  ),
  {
    who: 'an impersonating administrator',
    what: 'a namespace that leads elsewhere',
    as: (_, pod) => impersonated(pod, { user: 'system:serviceaccount:../x:default' }),
    rule: 'requester-is-a-pod',
  },
  {
    who: 'an impersonating administrator',
    what: 'another node',
    pod: {},
    as: (_, pod) => impersonated(pod, { claims: { 'node-name': ['node-2'] } }),
    rule: 'node',
    value: 'node-2',
  },
  {
    who: 'an impersonating administrator',
    what: 'a mirror pod',
    pod: {
      annotations: { 'kubernetes.io/config.mirror': 'true' },
      spec: { automountServiceAccountToken: false },
    },
    as: (_, pod) => impersonated(pod),
    rule: 'pod-is-no-mirror',
    value: podValue,
  },
];

/** What the API server lets through in a name (kubernetes-facts 1.1), around one that would be right. */
const tricks: Readonly<Record<string, (name: string) => string>> = {
  'a NUL and more': (name) => `${name}\0.example.com`,
  'a NUL at the end': (name) => `${name}\0`,
  'a NUL before': (name) => `\0${name}`,
  'a line break': (name) => `${name}\n`,
  'a carriage return': (name) => `${name}\r`,
  'a second name after a line break': (name) => `${name}\npayments.prod.svc`,
  'a comma and a second name': (name) => `${name},DNS:payments.prod.svc`,
  'a blank at the end': (name) => `${name} `,
  'a blank before': (name) => ` ${name}`,
  'a tab': (name) => `${name}\t`,
  'a dot at the end': (name) => `${name}.`,
  'a dot before': (name) => `.${name}`,
  'two dots': (name) => name.replace('.', '..'),
  'upper case': (name) => name.replace('web', 'Web'),
  'a wildcard inside a label': (name) => name.replace('web', 'w*'),
  'an underscore': (name) => `_sip.${name}`,
  'a port': (name) => `${name}:443`,
  'a scheme': (name) => `https://${name}`,
  'a path': (name) => `${name}/`,
  'a quote': (name) => `${name}"`,
  'a backslash': (name) => `${name}\\`,
  'a line that looks like ours': (name) => `${name}": fine\nallowed dns-names: "payments.prod.svc`,
  'a percent sign': (name) => name.replace('web', '%77eb'),
  'a DEL': (name) => `${name}\x7f`,
  'a label of 64 characters': (name) => `${'a'.repeat(64)}.${name}`,
  'more than 253 characters': (name) => `${'abcdefg.'.repeat(32)}${name}`,
};

/** Names that belong to somebody else, or to nobody. */
const foreignNames = [
  '{other}',
  'web.{other}.svc',
  'web.{other}.svc.cluster.local',
  'bank.{other}.svc',
  'x.web.{other}.svc',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
  'kubernetes',
  'kubernetes.default',
  'podseal-approver.podseal-system.svc',
  'web.{own}',
  'web',
  'web.{own}.svc.other.local',
  'web.{own}.svc.cluster.local.example.com',
  'web.{own}.svc.cluster.localx',
  'web.{own}.pod.cluster.local',
  'web.{own}.svcx',
  'x.web.{own}.svc',
  'pod-0.web.{own}.svc',
  'a.b.web.{own}.svc',
  '*.web.{own}.svc',
  '*.{own}.svc',
  '*.svc',
  '*',
  'svc',
  'cluster.local',
  '{own}.svc',
  'google.com',
  'localhost',
  'example.com',
  'payments.prod.svc',
  '10-97-0-10.{own}.pod.cluster.local',
  '10-97-0-99.{other}.pod.cluster.local',
];

const attackers = [
  ['a pod of the namespace', 'shop', 'evil'],
  ['a pod of another namespace', 'evil', 'shop'],
] as const;

const names: readonly SentAttack[] = [
  ...attackers.flatMap(([who, from, other]): readonly SentAttack[] => [
    ...Object.entries(tricks).map(([what, twist]): SentAttack => {
      const name = twist(`web.{${from}}.svc`);
      return {
        who,
        what,
        from,
        sent: { dnsNames: [name] },
        rule: 'well-formed-names',
        value: name,
      };
    }),
    {
      who,
      what: 'an empty name',
      from,
      sent: { dnsNames: [''] },
      rule: 'well-formed-names',
      value: '',
    },
    ...foreignNames.map((text): SentAttack => {
      const name = text.replaceAll('{own}', `{${from}}`).replaceAll('{other}', `{${other}}`);
      return {
        who,
        what: `the name ${text}`,
        from,
        sent: { dnsNames: [name] },
        rule: 'dns-names',
        value: name,
      };
    }),
    ...[
      `spiffe://cluster.local/ns/{${other}}/sa/default`,
      `spiffe://cluster.local/ns/{${from}}/sa/admin`,
      `spiffe://cluster.local/ns/{${from}}/sa/default/`,
      `spiffe://cluster.local/ns/{${from}}/sa/`,
      `spiffe://cluster.local/ns/{${from}}/sa/%64efault`,
      `spiffe://other.example/ns/{${from}}/sa/default`,
      `spiffe://cluster.local:443/ns/{${from}}/sa/default`,
      `SPIFFE://cluster.local/ns/{${from}}/sa/default`,
      `spiffe://Cluster.local/ns/{${from}}/sa/default`,
      `spiffe://cluster.local/ns/{${from}}/sa/default?x`,
      `spiffe://cluster.local/ns/{${from}}/sa/default#x`,
      `spiffe://user@cluster.local/ns/{${from}}/sa/default`,
      `https://web.{${from}}.svc/`,
      'urn:x',
    ].map((uri): SentAttack => ({
      who,
      what: `the identity ${uri}`,
      from,
      sent: { uris: [uri] },
      rule: 'uris',
      value: uri,
    })),
  ]),
  {
    who: 'a pod of the namespace',
    what: 'three hundred names',
    sent: { dnsNames: Array.from({ length: 300 }, (_, index) => `n${index}.example.com`) },
    rule: 'number-of-names',
  },
  {
    who: 'a pod of the namespace',
    what: 'a name twice',
    sent: { dnsNames: ['web.{shop}.svc'] },
    rule: 'repeated-names',
    value: 'web.{shop}.svc',
  },
  {
    who: 'a pod of the namespace',
    what: "another namespace's name as common name",
    sent: { commonName: 'web.{evil}.svc' },
    rule: 'subject',
    value: 'web.{evil}.svc',
  },
  {
    who: 'a pod of the namespace',
    what: "a node's name as common name",
    sent: { commonName: 'system:node:node-1' },
    rule: 'subject',
    value: 'system:node:node-1',
  },
  {
    who: 'a pod of the namespace',
    what: "the request name of another pod, and that pod's names",
    sent: {
      name: requestName(randomUUID(), randomBytes(32).toString('hex')),
      dnsNames: ['web.{evil}.svc'],
    },
    rule: 'dns-names',
    value: 'web.{evil}.svc',
  },
];

/** What somebody with `edit` can write in a namespace proves nothing by itself. */
const services: readonly SentAttack[] = [
  ...Object.entries({
    'a Service that selects other pods': 'api.{shop}.svc',
    'a Service with an empty selector': 'empty.{shop}.svc',
    'an ExternalName Service with a selector': 'away.{shop}.svc',
    'a Service that is being deleted': 'leaving.{shop}.svc',
    'a Service that is not there': 'nothing.{shop}.svc',
    'the long form of a Service that is not there': 'nothing.{shop}.svc.cluster.local',
  }).map(([what, name]): SentAttack => ({
    who: 'an edit user',
    what,
    pod: {},
    sent: { dnsNames: [name] },
    rule: 'dns-names',
    value: name,
    waits: true,
  })),
  {
    who: 'an edit user',
    what: 'a Service without selector, and an EndpointSlice made by hand',
    pod: {},
    meanwhile: (stage, pod) =>
      stage.edit(`/apis/discovery.k8s.io/v1/namespaces/${pod.namespace}/endpointslices`, {
        metadata: { name: 'made-by-hand', labels: { 'kubernetes.io/service-name': 'made' } },
        addressType: 'IPv4',
        ports: [{ port: 443 }],
        endpoints: [
          {
            addresses: [pod.podIPs[0]],
            conditions: { ready: true },
            targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
          },
        ],
      }),
    sent: { dnsNames: ['made.{shop}.svc'] },
    rule: 'dns-names',
    value: 'made.{shop}.svc',
    waits: true,
  },
  {
    who: 'an edit user',
    what: 'the hostname of a pod under a Service that has no such record',
    pod: { spec: { nodeName: 'node-1', hostname: 'web-0', subdomain: 'web' } },
    sent: { dnsNames: ['web-0.web.{shop}.svc'] },
    rule: 'dns-names',
    value: 'web-0.web.{shop}.svc',
    waits: true,
  },
  {
    who: 'an edit user',
    what: 'the hostname of a sibling',
    pod: { spec: { nodeName: 'node-1', hostname: 'db-0', subdomain: 'db' } },
    sent: { dnsNames: ['db-1.db.{shop}.svc'] },
    rule: 'dns-names',
    value: 'db-1.db.{shop}.svc',
  },
  ...['payments.prod', 'payments.prod.svc', 'payments.prod.svc.cluster.local'].map(
    (name): SentAttack => ({
      who: 'an edit user of another namespace',
      what: `hostname payments and headless Service prod for ${name}`,
      from: 'evil',
      pod: { spec: { nodeName: 'node-1', hostname: 'payments', subdomain: 'prod' } },
      sent: { dnsNames: [name] },
      rule: 'dns-names',
      value: name,
    }),
  ),
  ...['web.{shop}.svc', 'web.{shop}.svc.cluster.local'].map((name): SentAttack => ({
    who: 'an edit user of another namespace',
    what: `a Service called like another's for ${name}`,
    from: 'evil',
    pod: {},
    sent: { dnsNames: [name] },
    rule: 'dns-names',
    value: name,
  })),
  {
    who: 'an edit user',
    what: 'the cluster IP of a Service that selects other pods',
    pod: {},
    sent: { ipAddresses: ['{api-ip}'] },
    rule: 'addresses',
    value: '{api-ip}',
    waits: true,
  },
];

/** A bad node writes them into the status of its pod, which then asks. */
const claimed: Readonly<Record<string, string>> = {
  'the cluster IP of the API': '10.96.0.1',
  'the cluster IP of a Service of another namespace': '{bank-ip}',
  'an address of a node': '{node-ip}',
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

const addresses: readonly SentAttack[] = [
  ...Object.entries(claimed).map(([what, address]): SentAttack => ({
    who: 'a node credential',
    what: `a pod that has ${what}`,
    pod: { podIPs: [address] },
    sent: { ipAddresses: [address] },
    rule: 'addresses',
    value: address,
    ...(address === '{node-ip}' ? { waits: true } : {}),
  })),
  ...Object.entries({ IPv4: '10.96.254.254', IPv6: 'fd00:10:96::fff0' }).map(
    ([family, address]): SentAttack => ({
      who: 'a node credential',
      what: `a pod that has a free ${family} address of the Service range`,
      pod: { podIPs: [address] },
      sent: { ipAddresses: [address] },
      rule: 'addresses',
      value: address,
      waits: true,
    }),
  ),
  {
    who: 'a node credential',
    what: 'the address of a node for a pod in its network',
    pod: { podIPs: ['{node-ip}'], spec: { nodeName: 'node-1', hostNetwork: true } },
    sent: { ipAddresses: ['{node-ip}'] },
    rule: 'addresses',
    value: '{node-ip}',
  },
  ...attackers.flatMap(([who, from]) =>
    ['10.97.0.99', '8.8.8.8', 'fd00::99', '127.0.0.1', '10.96.0.1'].map((address): SentAttack => ({
      who,
      what: `the address ${address} of somebody else`,
      from,
      sent: { ipAddresses: [address] },
      rule: 'addresses',
      value: address,
    })),
  ),
  {
    who: 'a pod of another namespace',
    what: 'the cluster IP of a Service',
    from: 'evil',
    sent: { ipAddresses: ['{web-ip}'] },
    rule: 'addresses',
    value: '{web-ip}',
  },
  {
    who: 'a pod of the namespace',
    what: 'its IPv4 address in IPv6 clothes',
    sent: { ipAddresses: ['::ffff:10.97.0.10'] },
    rule: 'well-formed-names',
    value: '::ffff:a61:a',
  },
  {
    who: 'a pod of the namespace',
    what: 'an address before the kubelet has reported one',
    pod: { podIPs: [] },
    sent: { ipAddresses: ['10.97.0.10'] },
    rule: 'addresses',
    value: '10.97.0.10',
    waits: true,
  },
];

const text = (value: string): Buffer => Buffer.from(value, 'latin1');
const otherKinds: Readonly<Record<string, der.Der>> = {
  'an e-mail address': der.taggedBytes(1, text('me@example.com')),
  'a directory name': der.tagged(4, nameOf(['2.5.4.3', der.utf8String('web')])),
  'a user principal name': der.tagged(
    0,
    der.oid('1.3.6.1.4.1.311.20.2.3'),
    der.tagged(0, der.utf8String('me')),
  ),
  'a registered ID': der.taggedBytes(8, Buffer.of(0x2a, 3)),
};

const sanNodes = ({ dnsNames }: SubjectNames): der.Der[] =>
  dnsNames.map((name) => der.taggedBytes(2, text(name)));
const san = (own: SubjectNames): Extension => subjectAltName(own, true);

function pemOf(parts: RequestParts, key: KeyPair = newKey()): string {
  return encodePem('CERTIFICATE REQUEST', craftedRequest(parts, key));
}

/** Well signed, with these attributes. */
const withAttributes =
  (make: (own: SubjectNames) => readonly der.Der[]) =>
  (own: SubjectNames): string =>
    pemOf({ attributes: make(own) });

const inPem =
  (change: (pem: string, own: SubjectNames) => string | Buffer) =>
  (own: SubjectNames): string | Buffer =>
    change(requestFor(own), own);

const other = { dnsNames: ['payments.prod.svc'] };

/** An extensionRequest's value. */
const extensions = (...all: readonly Extension[]): der.Der =>
  der.sequence(...all.map(encodeExtension));

/** CertificationRequestInfo with a second block of attributes, as Go reads past it. */
function twoBlocks(own: SubjectNames): string {
  const key = newKey();
  const info = der.encodeDer(
    der.sequence(
      der.integer(Uint8Array.of(0)),
      der.sequence(),
      der.decodeDer(key.publicKeyDer),
      der.tagged(0, asking(san(own))),
      der.tagged(0, asking(san({ ...noNames, ...other }))),
    ),
  );
  const signature = der.bitString(sign('sha256', info, key.privateKey));
  const algorithm = der.sequence(der.oid('1.2.840.10045.4.3.2'));
  return encodePem(
    'CERTIFICATE REQUEST',
    der.encodeDer(der.sequence(der.decodeDer(info), algorithm, signature)),
  );
}

const contents: Readonly<Record<string, (own: SubjectNames) => string | Buffer>> = {
  ...Object.fromEntries(
    Object.entries(otherKinds).map(([what, node]) => [
      what,
      withAttributes((own) => [asking(altName(...sanNodes(own), node))]),
    ]),
  ),
  'no names': () => pemOf({ attributes: [] }),
  'no names but a common name': ({ dnsNames: [first = ''] }) =>
    pemOf({ attributes: [], subject: nameOf(['2.5.4.3', der.utf8String(first)]) }),
  'an organisation': (own) =>
    pemOf({
      subject: nameOf(['2.5.4.10', der.utf8String('system:masters')]),
      attributes: [asking(san(own))],
    }),
  'an organisational unit beside the common name': (own) =>
    pemOf({
      subject: nameOf(
        ['2.5.4.3', der.utf8String(own.dnsNames[0] ?? '')],
        ['2.5.4.11', der.utf8String('operators')],
      ),
      attributes: [asking(san(own))],
    }),
  'two common names': (own) =>
    pemOf({
      subject: nameOf(
        ['2.5.4.3', der.utf8String(own.dnsNames[0] ?? '')],
        ['2.5.4.3', der.utf8String('payments.prod.svc')],
      ),
      attributes: [asking(san(own))],
    }),
  'a second extensionRequest value with other names': withAttributes((own) => [
    attribute(extensionRequest, extensions(san(own)), extensions(san({ ...noNames, ...other }))),
  ]),
  'a second extensionRequest value with CA true': withAttributes((own) => [
    attribute(extensionRequest, extensions(san(own)), extensions(san(own), basicConstraints(true))),
  ]),
  'a challenge password': withAttributes((own) => [
    asking(san(own)),
    attribute('1.2.840.113549.1.9.7', der.utf8String('x')),
  ]),
  "Microsoft's extensionRequest": withAttributes((own) => [
    attribute('1.3.6.1.4.1.311.2.1.14', extensions(san(own))),
  ]),
  'a second block of attributes': twoBlocks,
  'bytes after the names': withAttributes((own) => [
    asking({ ...san(own), value: Buffer.concat([san(own).value, text('payments')]) }),
  ]),
  'version 1': (own) => pemOf({ version: 1, attributes: [asking(san(own))] }),
  'version 3': (own) => pemOf({ version: 3, attributes: [asking(san(own))] }),
  'a signature by SHA-1': (own) => pemOf({ ecdsaHash: 'SHA1', attributes: [asking(san(own))] }),
  'text before the block': inPem((pem) => `payments.prod.svc\n${pem}`),
  'a broken block before the good one': inPem(
    (pem) => `-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----\n${pem}`,
  ),
  'a commented block before the good one': inPem(
    (pem) => `# ${requestFor(other).replaceAll('\n', '\n# ')}\n${pem}`,
  ),
  'an indented block before the good one': inPem(
    (pem) => `${requestFor(other).replaceAll(/^/gm, ' ')}\n${pem}`,
  ),
  'a second request after it': inPem((pem) => pem + requestFor(other)),
  'a certificate after it': inPem((pem) => `${pem}${encodePem('CERTIFICATE', Buffer.of(0x30, 0))}`),
  'binary after it': inPem((pem) => Buffer.concat([Buffer.from(pem), randomBytes(64)])),
  '100 KB after it': inPem((pem) => pem + 'A'.repeat(100_000)),
  headers: inPem((pem) => pem.replace('\n', '\nComment: payments.prod.svc\n\n')),
};

const rsa = (modulusLength: number, publicExponent = 65537): KeyPair =>
  keyPairOf(generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey);
const ec = (namedCurve: string): KeyPair =>
  keyPairOf(generateKeyPairSync('ec', { namedCurve }).privateKey);

const keys: Readonly<Record<string, () => KeyPair>> = {
  'RSA of 1024 bits': () => rsa(1024),
  'RSA of 1536 bits': () => rsa(1536),
  'RSA of 2047 bits': () => rsa(2047),
  'RSA with exponent 3': () => rsa(2048, 3),
  'P-224': () => ec('P-224'),
  'P-521': () => ec('P-521'),
};

const requests: readonly SentAttack[] = [
  ...Object.entries(contents).map(([what, craft]): SentAttack => ({
    who: 'a pod of the namespace',
    what,
    sent: { craft },
    rule: 'certification-request',
  })),
  ...Object.entries(keys).map(([what, key]): SentAttack => ({
    who: 'a pod of the namespace',
    what,
    sent: {
      craft: (own) =>
        encodePem(
          'CERTIFICATE REQUEST',
          buildCertificationRequest({ names: own, usages: tlsUsages }, key()),
        ),
    },
    rule: 'key',
  })),
  {
    who: 'a pod of the namespace',
    what: 'an Ed25519 key of small order, which nobody needs to have',
    sent: { craft: requestSignedByNobody },
    rule: 'key or certification-request',
  },
  ...Object.entries<Extension>({
    basicConstraints: basicConstraints(true),
    keyUsage: { oid: '2.5.29.15', critical: true, value: Buffer.of(3, 2, 2, 4) },
    extendedKeyUsage: {
      oid: '2.5.29.37',
      critical: false,
      value: der.encodeDer(der.sequence(der.oid('1.3.6.1.5.5.7.3.3'))),
    },
    '2.5.29.30': { oid: '2.5.29.30', critical: true, value: Buffer.of(0x30, 0) },
    '1.2.3.4': { oid: '1.2.3.4', critical: false, value: Buffer.of(5, 0) },
  }).map(([value, extension]): SentAttack => ({
    who: 'a pod of the namespace',
    what: `the extension ${value}`,
    sent: { craft: withAttributes((own) => [asking(san(own), extension)]) },
    rule: 'extensions',
    value,
  })),
  ...[
    'cert sign',
    'crl sign',
    'code signing',
    'any',
    'key agreement',
    'signing',
    'timestamping',
  ].map((usage): SentAttack => ({
    who: 'a pod of the namespace',
    what: `usage ${usage}`,
    sent: { usages: [...tlsUsages, usage] },
    rule: 'usages',
    value: usage,
  })),
  {
    who: 'a pod of the namespace',
    what: 'neither server nor client',
    sent: { usages: ['digital signature'] },
    rule: 'usages',
  },
  {
    who: 'a pod of the namespace',
    what: 'key encipherment with an EC key',
    sent: { usages: [...tlsUsages, 'key encipherment'] },
    rule: 'usages',
    value: 'key encipherment',
  },
  ...[90 * 86_400 + 1, 2_147_483_647].map((expirationSeconds): SentAttack => ({
    who: 'a pod of the namespace',
    what: `${expirationSeconds} seconds`,
    sent: { expirationSeconds },
    rule: 'lifetime',
    value: `${expirationSeconds}s`,
  })),
];

/** Those that lie in what is sent, whoever sends it. */
export const contentAttacks = requests;

export const sentAttacks: readonly SentAttack[] = [
  ...requesters,
  ...names,
  ...services,
  ...addresses,
  ...requests,
];
