import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { denialOf, verdictOn } from '../../src/approver/verdict.ts';
import { formatDenial } from '../../src/certificates/denial.ts';
import { parseIpRange } from '../../src/identity/ip-range.ts';
import { generateKey } from '../../src/node/key-generator.ts';
import {
  extendedKeyUsage,
  keyUsage,
  subjectAltName,
  type Extension,
  type Usage,
} from '../../src/pki/extensions.ts';
import { keyAlgorithms, keyPairOf } from '../../src/pki/key-pair.ts';
import {
  aPod,
  aService,
  aUser,
  factsOf,
  type Asking,
  pemOf,
  requestPem,
  type Scene,
  selfMadeConstraints,
} from '../support/approval-builders.ts';
import {
  basicConstraints,
  dnsNames,
  newKey,
  noon,
  tlsUsages,
} from '../support/certificate-builders.ts';
import { asking, craftedRequest } from '../support/crafted-request.ts';

const range = (text: string) => {
  const found = parseIpRange(text);
  assert.ok(found, text);
  return found;
};

const names = (...dns: readonly string[]): Asking => ({ names: { dnsNames: dns } });
const addresses = (...ip: readonly string[]): Asking => ({ names: { ipAddresses: ip } });

const identity = 'spiffe://cluster.local/ns/shop/sa/web';
const full = {
  dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
  ipAddresses: ['10.1.0.7', '10.96.0.5'],
  uris: [identity],
};
const withClusterIp = aService('web', { clusterIPs: ['10.96.0.5'] });
const statefulPod = aPod({ hostname: 'web-0', subdomain: 'web' });
const database = { name: 'db', serviceAccounts: ['web'], whileUnselected: false };
const unselecting = aService('db', { selector: { role: 'leader' }, clusterIPs: ['10.96.0.9'] });

/** Each is approved at once. */
const honest: Readonly<Record<string, Scene>> = {
  'one Service, all that follows': { services: [withClusterIp], asks: { names: full } },
  'one of two names': { asks: names('web.shop.svc') },
  'the other of two names': { asks: names('web.shop.svc.cluster.local') },
  'a headless Service': {
    services: [aService('web', { headless: true })],
    asks: names('web.shop.svc'),
  },
  'a StatefulSet pod': {
    pod: statefulPod,
    services: [aService('web', { headless: true })],
    asks: names('web-0.web.shop.svc', 'web-0.web.shop.svc.cluster.local', 'web.shop.svc'),
  },
  'a Deployment with hostname and subdomain': {
    pod: aPod({ hostname: 'any', subdomain: 'web' }),
    services: [aService('web', { headless: true })],
    asks: names('any.web.shop.svc'),
  },
  'dual stack': {
    pod: aPod({ ipAddresses: ['10.1.0.7', 'fd00:1::7'] }),
    services: [aService('web', { clusterIPs: ['10.96.0.5', 'fd00:96::5'] })],
    asks: addresses('10.1.0.7', 'fd00:1::7', '10.96.0.5', 'fd00:96::5'),
  },
  'IPv6 alone': { pod: aPod({ ipAddresses: ['fd00:1::7'] }), asks: addresses('fd00:1::7') },
  'several Services': {
    services: [withClusterIp, aService('api'), aService('other', { selector: { app: 'other' } })],
    asks: names('web.shop.svc', 'api.shop.svc', 'api.shop.svc.cluster.local'),
  },
  'a Service with a selector of two labels': {
    pod: aPod({
      labels: new Map([
        ['app', 'web'],
        ['tier', 'front'],
        ['x', 'y'],
      ]),
    }),
    services: [aService('web', { selector: { app: 'web', tier: 'front' } })],
    asks: names('web.shop.svc'),
  },
  'a Service whose name begins with a digit': {
    services: [aService('3scale')],
    asks: names('3scale.shop.svc'),
  },
  'a client, without Services': {
    services: [],
    asks: { names: { ipAddresses: ['10.1.0.7'], uris: [identity] }, usages: ['client auth'] },
  },
  'identity alone': { services: [], asks: { names: { uris: [identity] } } },
  'a token without node name': { asks: { ...names('web.shop.svc'), by: unboundToNode() } },
  'a pod that is Pending': { pod: aPod({ phase: 'Pending' }), asks: names('web.shop.svc') },
  'an init container that asks before there are addresses': {
    pod: aPod({ phase: 'Pending', ipAddresses: [] }),
    asks: { names: { dnsNames: ['web.shop.svc'], uris: [identity] } },
  },
  'a service account with a dot': {
    pod: aPod({ serviceAccount: 'web.v2' }),
    asks: { names: { uris: ['spiffe://cluster.local/ns/shop/sa/web.v2'] } },
  },
  'another cluster domain and trust domain': {
    settings: { clusterDomain: 'k8s.example', trustDomain: 'prod.example' },
    asks: {
      names: {
        dnsNames: ['web.shop.svc.k8s.example'],
        uris: ['spiffe://prod.example/ns/shop/sa/web'],
      },
    },
  },
  'the CA that the signer makes': {
    services: [withClusterIp],
    asks: { names: full },
    caConstraints: [selfMadeConstraints],
  },
  'a common name': { asks: { ...names('web.shop.svc'), commonName: 'web.shop.svc' } },
  'a common name that is the second name': {
    asks: {
      ...names('web.shop.svc', 'web.shop.svc.cluster.local'),
      commonName: 'web.shop.svc.cluster.local',
    },
  },
  'the longest lifetime': { asks: { ...names('web.shop.svc'), expirationSeconds: 90 * 86_400 } },
  'no lifetime': { asks: { ...names('web.shop.svc'), expirationSeconds: undefined } },
  'ten minutes': { asks: { ...names('web.shop.svc'), expirationSeconds: 600 } },
  '250 names': {
    allowance: { dnsSuffixes: ['example.com'] },
    asks: names(...Array.from({ length: 250 }, (_, i) => `n${i}.example.com`)),
  },
  'a condition of a foreign type': {
    asks: {
      ...names('web.shop.svc'),
      conditions: [
        { type: 'example.com/Seen', reason: '', message: '', updatedAt: noon, asRead: {} },
      ],
    },
  },
  'PEM with CRLF': { asks: { pem: pem().replaceAll('\n', '\r\n') } },
  'PEM with blank lines around it': { asks: { pem: `\n \n${pem()}\n\n` } },
  'a SAN that is critical beside a common name': { asks: { pem: crafted({ critical: true }) } },
  'a SAN that is not critical and no common name': { asks: { pem: crafted({ critical: false }) } },
  'no usages inside': { asks: { pem: crafted({ critical: true }) } },
  'harmless extensions': {
    asks: {
      pem: crafted(
        { critical: true },
        basicConstraints(false),
        keyUsage(tlsUsages),
        extendedKeyUsage(tlsUsages),
      ),
    },
  },
  'purposes inside in another order': {
    asks: { pem: crafted({ critical: true }, extendedKeyUsage(['client auth', 'server auth'])) },
  },
  'short form svc.ns by policy': { allowance: { nameForms: ['svc.ns'] }, asks: names('web.shop') },
  'short form svc by policy': { allowance: { nameForms: ['svc'] }, asks: names('web') },
  'pod form by policy': {
    pod: aPod({ ipAddresses: ['10.1.0.7', 'fd00:1::7', '2001:db8::'] }),
    allowance: { nameForms: ['pod'] },
    asks: names(
      '10-1-0-7.shop.pod.cluster.local',
      'fd00-1--7.shop.pod.cluster.local',
      '2001-db8--0.shop.pod.cluster.local',
    ),
  },
  'names below a suffix of the policy': {
    allowance: { dnsSuffixes: ['shop.example.com'] },
    asks: names('shop.example.com', 'a.b.shop.example.com', 'web.shop.svc'),
  },
  'wildcards below such a suffix': {
    allowance: { dnsSuffixes: ['shop.example.com'], wildcards: true },
    asks: names('*.shop.example.com', '*.a.shop.example.com'),
  },
  'an address that policy adds': {
    allowance: { extraAddresses: [range('192.0.2.0/24')] },
    asks: addresses('192.0.2.80', '10.1.0.7'),
  },
  'an address that policy adds, where it leaves out those of pods': {
    allowance: { extraAddresses: [range('192.0.2.0/24')], addresses: 'none' },
    asks: addresses('192.0.2.80'),
  },
  'a hostNetwork pod with names and cluster IP of its Service': {
    pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.1'] }),
    services: [withClusterIp],
    network: { nodeAddresses: new Map([['192.0.2.1', new Set(['node-a'])]]) },
    asks: { names: { dnsNames: ['web.shop.svc'], ipAddresses: ['10.96.0.5'] } },
  },
  'a hostNetwork pod with an address of its node by policy': {
    pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.1'] }),
    allowance: { hostNetwork: true, addresses: 'podCIDRs' },
    network: { nodeAddresses: new Map([['192.0.2.1', new Set(['node-a'])]]) },
    asks: addresses('192.0.2.1'),
  },
  'an address in the podCIDRs of the node': {
    allowance: { addresses: 'podCIDRs' },
    network: {
      podRangesByNode: new Map([['node-a', [range('10.2.0.0/24'), range('10.1.0.0/24')]]]),
    },
    asks: addresses('10.1.0.7'),
  },
  'a cluster IP although it is in a Service range': {
    services: [withClusterIp],
    network: {
      serviceRanges: [range('10.96.0.0/12')],
      clusterIPs: new Map([['10.96.0.5', 'shop/web']]),
    },
    asks: addresses('10.96.0.5'),
  },
  'a Service that policy gives to the service account': {
    services: [aService('db')],
    allowance: { services: [database] },
    asks: names('db.shop.svc'),
  },
  'a Service that policy gives while it does not select the pod': {
    services: [unselecting],
    allowance: { services: [{ ...database, whileUnselected: true }] },
    asks: { names: { dnsNames: ['db.shop.svc'], ipAddresses: ['10.96.0.9'] } },
  },
  'a Service that two rows of the policy give': {
    services: [unselecting],
    allowance: {
      services: [
        { ...database, serviceAccounts: ['other'] },
        { ...database, whileUnselected: true },
      ],
    },
    asks: names('db.shop.svc'),
  },
};

function unboundToNode() {
  const claims = { 'pod-name': ['web-0'], 'pod-uid': ['uid-of-web-0'] };
  return aUser('system:serviceaccount:shop:web', claims);
}

function pem(): string {
  return requestPem(names('web.shop.svc'));
}

function crafted(
  { critical }: { readonly critical: boolean },
  ...more: readonly (Extension | undefined)[]
): string {
  const san = subjectAltName(dnsNames('web.shop.svc'), critical);
  const extensions = [san, ...more].filter((each) => each !== undefined);
  return pemOf(craftedRequest({ attributes: [asking(...extensions)] }, newKey()));
}

const verdict = (scene: Scene, waitedMs = 0) => verdictOn(factsOf(scene), waitedMs);

/** What stands against it, for the test's output. */
function reasons(scene: Scene, waitedMs = 0): string {
  const found = verdict(scene, waitedMs);
  return 'violations' in found
    ? `${found.kind}: ${formatDenial(denialOf(found.violations))}`
    : found.kind;
}

describe('what must be approved', () => {
  for (const [what, scene] of Object.entries(honest))
    test(what, () => {
      assert.equal(reasons(scene), 'approve');
    });

  for (const algorithm of keyAlgorithms)
    test(`a key ${algorithm}, with every usage that fits`, async () => {
      const key = await generateKey(algorithm);
      const purposes = [['server auth'], ['client auth'], ['server auth', 'client auth']] as const;
      const uses = [
        [],
        ['digital signature'],
        ...(algorithm.startsWith('RSA')
          ? [['key encipherment'], ['digital signature', 'key encipherment']]
          : []),
      ] as readonly (readonly Usage[])[];
      for (const usages of purposes.flatMap((each) => uses.map((use) => [...use, ...each])))
        assert.equal(reasons({ asks: { ...names('web.shop.svc'), key, usages } }), 'approve');
    });

  for (const [curve, hash] of [
    ['P-256', 'SHA512'],
    ['P-384', 'SHA256'],
  ] as const)
    test(`a key ${curve} that signs with ${hash}`, () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
      const signed = craftedRequest({ ecdsaHash: hash }, keyPairOf(privateKey));
      assert.equal(reasons({ asks: { pem: pemOf(signed) } }), 'approve');
    });
});

/** Each waits for the fact that is late, is approved when it arrives, and denied when it does not. */
const late: Readonly<Record<string, { early: Scene; then: Scene; value: string; why: RegExp }>> = {
  'the Service is not there': {
    early: { services: [], asks: names('web.shop.svc') },
    then: { asks: names('web.shop.svc') },
    value: 'web.shop.svc',
    why: /there is no Service "web" in the pod's namespace/,
  },
  'the Service does not select the pod': {
    early: {
      services: [aService('web', { selector: { app: 'old' } })],
      asks: names('web.shop.svc'),
    },
    then: { asks: names('web.shop.svc') },
    value: 'web.shop.svc',
    why: /Service "web" does not select the pod/,
  },
  'the pod lacks the label': {
    early: { pod: aPod({ labels: new Map() }), asks: names('web.shop.svc') },
    then: { asks: names('web.shop.svc') },
    value: 'web.shop.svc',
    why: /does not select the pod/,
  },
  'the Service has no selector': {
    early: { services: [aService('web', { selector: {} })], asks: names('web.shop.svc') },
    then: { asks: names('web.shop.svc') },
    value: 'web.shop.svc',
    why: /has no selector, so it proves nothing/,
  },
  'the Service is being deleted, and made anew': {
    early: { services: [aService('web', { isBeingDeleted: true })], asks: names('web.shop.svc') },
    then: { asks: names('web.shop.svc') },
    value: 'web.shop.svc',
    why: /is being deleted/,
  },
  'the Service is ExternalName': {
    early: { services: [aService('web', { isExternalName: true })], asks: names('web.shop.svc') },
    then: { asks: names('web.shop.svc') },
    value: 'web.shop.svc',
    why: /is of type ExternalName/,
  },
  'the Service is not headless': {
    early: { pod: statefulPod, asks: names('web-0.web.shop.svc') },
    then: {
      pod: statefulPod,
      services: [aService('web', { headless: true })],
      asks: names('web-0.web.shop.svc'),
    },
    value: 'web-0.web.shop.svc',
    why: /Service "web" is not headless/,
  },
  'the Service of the hostname is not there': {
    early: { pod: statefulPod, services: [], asks: names('web-0.web.shop.svc.cluster.local') },
    then: {
      pod: statefulPod,
      services: [aService('web', { headless: true })],
      asks: names('web-0.web.shop.svc.cluster.local'),
    },
    value: 'web-0.web.shop.svc.cluster.local',
    why: /there is no Service "web"/,
  },
  'the Service of a short name is not there': {
    early: { services: [], allowance: { nameForms: ['svc.ns'] }, asks: names('web.shop') },
    then: { allowance: { nameForms: ['svc.ns'] }, asks: names('web.shop') },
    value: 'web.shop',
    why: /there is no Service "web"/,
  },
  'the Service of a word does not select the pod': {
    early: {
      services: [aService('web', { selector: { app: 'old' } })],
      allowance: { nameForms: ['svc'] },
      asks: names('web'),
    },
    then: { allowance: { nameForms: ['svc'] }, asks: names('web') },
    value: 'web',
    why: /does not select the pod/,
  },
  'the pod has no address for its name': withoutAddresses(
    { allowance: { nameForms: ['pod'] }, asks: names('10-1-0-7.shop.pod.cluster.local') },
    '10-1-0-7.shop.pod.cluster.local',
  ),
  'the pod has no address': withoutAddresses({ asks: addresses('10.1.0.7') }, '10.1.0.7'),
  'the Service has no cluster IP': {
    early: { network: { serviceRanges: [range('10.96.0.0/12')] }, asks: addresses('10.96.0.5') },
    then: { services: [withClusterIp], asks: addresses('10.96.0.5') },
    value: '10.96.0.5',
    why: /in a Service range, and no Service of the namespace has it/,
  },
  'the Service of the cluster IP does not select the pod': {
    early: {
      services: [aService('web', { selector: { app: 'old' }, clusterIPs: ['10.96.0.5'] })],
      asks: addresses('10.96.0.5'),
    },
    then: { services: [withClusterIp], asks: addresses('10.96.0.5') },
    value: '10.96.0.5',
    why: /it is a cluster IP, and Service "web" does not select the pod/,
  },
  'the node of a hostNetwork pod is not known': {
    early: {
      pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.1'] }),
      allowance: { hostNetwork: true },
      asks: addresses('192.0.2.1'),
    },
    then: {
      pod: aPod({ hostNetwork: true, ipAddresses: ['192.0.2.1'] }),
      allowance: { hostNetwork: true },
      network: { nodeAddresses: new Map([['192.0.2.1', new Set(['node-a'])]]) },
      asks: addresses('192.0.2.1'),
    },
    value: '192.0.2.1',
    why: /not known as an address of the pod's node/,
  },
  'the podCIDRs of the node are not known': {
    early: { allowance: { addresses: 'podCIDRs' }, asks: addresses('10.1.0.7') },
    then: {
      allowance: { addresses: 'podCIDRs' },
      network: { podRangesByNode: new Map([['node-a', [range('10.1.0.0/24')]]]) },
      asks: addresses('10.1.0.7'),
    },
    value: '10.1.0.7',
    why: /podCIDRs of the pod's node are not known/,
  },
  'the podCIDRs are not known that the name of the pod is made of': {
    early: {
      allowance: {
        nameForms: ['pod'],
        addresses: 'podCIDRs',
        extraAddresses: [range('10.1.0.0/16')],
      },
      asks: names('10-1-0-7.shop.pod.cluster.local'),
    },
    then: {
      allowance: { nameForms: ['pod'], addresses: 'podCIDRs' },
      network: { podRangesByNode: new Map([['node-a', [range('10.1.0.0/24')]]]) },
      asks: names('10-1-0-7.shop.pod.cluster.local'),
    },
    value: '10-1-0-7.shop.pod.cluster.local',
    why: /podCIDRs of the pod's node are not known/,
  },
  'the phase is Unknown': {
    early: { pod: aPod({ phase: 'Unknown' }), asks: names('web.shop.svc') },
    then: { asks: names('web.shop.svc') },
    value: 'shop/web-0',
    why: /the pod's phase is "Unknown"/,
  },
};

function withoutAddresses(then: Scene, value: string) {
  const early = { ...then, pod: aPod({ ipAddresses: [] }) };
  return { early, then, value, why: /the pod's status has no address/ };
}

describe('what is not true yet', () => {
  const limitMs = 300_000;
  for (const [what, { early, then, value, why }] of Object.entries(late))
    test(`waits while ${what}, at most five minutes`, () => {
      for (const waitedMs of [0, limitMs - 1]) {
        const found = verdict(early, waitedMs);
        assert.equal(found.kind, 'wait', reasons(early));
        assert.ok('violations' in found);
        assert.deepEqual(
          found.violations.map((each) => each.value),
          [value],
        );
        assert.match(found.violations[0]?.why ?? '', why);
      }
      assert.equal(reasons(then, limitMs), 'approve');
      assert.equal(verdict(early, limitMs).kind, 'deny');
    });

  test('waits while the pod is not scheduled', () => {
    const scene = { pod: aPod({ nodeName: undefined }), asks: names('web.shop.svc') };
    assert.match(reasons(scene), /^wait: - node: the pod is not scheduled to a node$/);
  });

  test('denies at once what can never become true, and names what is only late too', () => {
    const scene = { services: [], asks: names('web.shop.svc', 'google.com') };
    assert.match(reasons(scene), /^deny: - dns-names "web.shop.svc".*\n- dns-names "google.com"/);
  });

  test('waits as long as the policy says', () => {
    const scene = { services: [], policy: { waitLimitMs: 1_000 }, asks: names('web.shop.svc') };
    assert.equal(verdict(scene, 999).kind, 'wait');
    assert.equal(verdict(scene, 1_000).kind, 'deny');
  });
});

describe('what is left alone', () => {
  const condition = (type: string) => [
    { type, reason: '', message: '', updatedAt: noon, asRead: {} },
  ];
  for (const [what, asks] of Object.entries({
    'another signer name': { signerName: 'example.com/other' },
    approved: { conditions: condition('Approved') },
    denied: { conditions: condition('Denied') },
    failed: { conditions: condition('Failed') },
    issued: { conditions: condition('Approved'), hasCertificate: true },
    'with a certificate that nobody approved': { hasCertificate: true },
  } satisfies Record<string, Asking>))
    test(what, () => assert.equal(verdict({ asks }).kind, 'ignore'));
});

describe('what a denial says would be allowed', () => {
  const allowed = (scene: Scene, rule: string) => {
    const found = verdict(scene);
    assert.ok('violations' in found, reasons(scene));
    return found.violations.find((each) => each.rule === rule)?.allowed;
  };

  test('the names that follow now', () => {
    const scene = {
      services: [withClusterIp],
      asks: { names: { ...full, dnsNames: ['google.com'] } },
    };
    assert.deepEqual(allowed(scene, 'dns-names'), full.dnsNames);
  });

  test('no address that the pod claims and that is not its own', () => {
    const pod = aPod({ ipAddresses: ['10.1.0.7', '192.0.2.1'] });
    const scene = {
      pod,
      network: { nodeAddresses: new Map([['192.0.2.1', new Set(['node-b'])]]) },
      allowance: { nameForms: ['pod' as const] },
      asks: {
        names: { dnsNames: ['192-0-2-1.shop.pod.cluster.local'], ipAddresses: ['192.0.2.1'] },
      },
    };
    assert.deepEqual(allowed(scene, 'addresses'), ['10.1.0.7']);
    assert.ok(!allowed(scene, 'dns-names')?.includes('192-0-2-1.shop.pod.cluster.local'));
  });
});
