import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isDnsLabel } from '../../src/identity/dns-name.ts';
import {
  subjectNamesOf,
  wantedNames,
  type NamingSettings,
  type OwnService,
  type Pod,
} from '../../src/identity/wanted-names.ts';

const web0: Pod = {
  name: 'web-0',
  namespace: 'shop',
  uid: '5e0c6f0e-0b3a-4f0e-9a52-4b8e1f0f3a11',
  serviceAccount: 'web',
  ipAddresses: ['10.0.0.7'],
  hostname: undefined,
  subdomain: undefined,
};

const naming: NamingSettings = {
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  forms: [],
  extraDnsNames: [],
  extraIpAddresses: [],
};

const service = (name: string, more: Partial<OwnService> = {}): OwnService => ({
  name,
  clusterIPs: [],
  headless: false,
  ...more,
});

const namesOf = (
  pod: Partial<Pod>,
  services: readonly OwnService[],
  settings: Partial<NamingSettings> = {},
) => subjectNamesOf(wantedNames({ ...web0, ...pod }, services, { ...naming, ...settings }));

describe('wantedNames()', () => {
  test('gives both forms, the addresses and the identity for one Service', () => {
    assert.deepEqual(namesOf({}, [service('web', { clusterIPs: ['10.96.0.5'] })]), {
      dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
      ipAddresses: ['10.0.0.7', '10.96.0.5'],
      uris: ['spiffe://cluster.local/ns/shop/sa/web'],
    });
  });

  test('says where each name came from', () => {
    const names = wantedNames(web0, [service('web', { clusterIPs: ['10.96.0.5'] })], {
      ...naming,
      extraDnsNames: ['shop.example.com'],
    });
    assert.deepEqual(
      names.map(({ kind, value, from }) => `${kind} ${value}: ${from}`),
      [
        'dns web.shop.svc: Service web',
        'dns web.shop.svc.cluster.local: Service web',
        'dns shop.example.com: PODSEAL_DNS_NAMES',
        'ip 10.0.0.7: address of the pod',
        'ip 10.96.0.5: cluster IP of Service web',
        'uri spiffe://cluster.local/ns/shop/sa/web: service account of the pod',
      ],
    );
  });

  test('gives addresses and identity alone when no Service selects the pod', () => {
    assert.deepEqual(namesOf({}, []), {
      dnsNames: [],
      ipAddresses: ['10.0.0.7'],
      uris: ['spiffe://cluster.local/ns/shop/sa/web'],
    });
  });

  test('adds the name of the pod itself for hostname and headless Service', () => {
    const pod = { hostname: 'web-0', subdomain: 'web' };
    assert.deepEqual(namesOf(pod, [service('web', { headless: true })]).dnsNames, [
      'web.shop.svc',
      'web.shop.svc.cluster.local',
      'web-0.web.shop.svc',
      'web-0.web.shop.svc.cluster.local',
    ]);
  });

  for (const { when, pod, own, expected } of [
    {
      when: 'when the Service has a cluster IP',
      pod: { hostname: 'web-0', subdomain: 'web' },
      own: service('web', { headless: false }),
      expected: false,
    },
    {
      when: 'when the subdomain is another Service',
      pod: { hostname: 'web-0', subdomain: 'db' },
      own: service('web', { headless: true }),
      expected: false,
    },
    {
      when: 'without hostname',
      pod: { hostname: undefined, subdomain: 'web' },
      own: service('web', { headless: true }),
      expected: false,
    },
    {
      when: 'when nobody knows whether the Service is headless',
      pod: { hostname: 'web-0', subdomain: 'web' },
      own: service('web', { headless: undefined }),
      expected: true,
    },
  ])
    test(`${expected ? 'asks' : 'does not ask'} for the name of the pod itself ${when}`, () => {
      assert.equal(namesOf(pod, [own]).dnsNames.includes('web-0.web.shop.svc'), expected);
    });

  test('keeps the same order, without doubles, however the Services come', () => {
    const settings = {
      extraDnsNames: ['api.shop.svc', 'Extra.Example.com'],
      extraIpAddresses: ['10.0.0.7'],
    };
    const [api, web] = [service('api'), service('web', { clusterIPs: ['10.0.0.7'] })];
    const names = namesOf({}, [web, api], settings);
    assert.deepEqual(names.dnsNames, [
      'api.shop.svc',
      'api.shop.svc.cluster.local',
      'web.shop.svc',
      'web.shop.svc.cluster.local',
      'extra.example.com',
    ]);
    assert.deepEqual(names.ipAddresses, ['10.0.0.7']);
    assert.deepEqual(namesOf({}, [api, web], settings), names);
  });

  test('takes both addresses of a dual-stack pod and Service', () => {
    const pod = { ipAddresses: ['10.0.0.7', 'fd00::7'] };
    const names = namesOf(pod, [service('web', { clusterIPs: ['10.96.0.5', 'fd00:96::5'] })]);
    assert.deepEqual(names.ipAddresses, ['10.0.0.7', 'fd00::7', '10.96.0.5', 'fd00:96::5']);
  });

  test('follows cluster domain and trust domain', () => {
    const names = namesOf({}, [service('web')], {
      clusterDomain: 'k8s.example.com',
      trustDomain: 'prod.example.com',
    });
    assert.deepEqual(names.dnsNames, ['web.shop.svc', 'web.shop.svc.k8s.example.com']);
    assert.deepEqual(names.uris, ['spiffe://prod.example.com/ns/shop/sa/web']);
  });

  test('adds short forms only when asked for', () => {
    const forms = ['svc.ns', 'svc'] as const;
    const long = namesOf({}, [service('web')]).dnsNames;
    const added = namesOf({}, [service('web')], { forms }).dnsNames.filter(
      (name) => !long.includes(name),
    );
    assert.deepEqual(added, ['web.shop', 'web']);
  });

  for (const namespace of ['svc', 'cluster', 'local'])
    test(`never gives a short form in namespace ${namespace}`, () => {
      const forms = ['svc.ns', 'svc'] as const;
      assert.deepEqual(namesOf({ namespace }, [service('web')], { forms }).dnsNames, [
        `web.${namespace}.svc`,
        `web.${namespace}.svc.cluster.local`,
      ]);
    });

  test('writes the form "pod" as CoreDNS does', () => {
    const pod = { ipAddresses: ['10.0.0.7', 'fd00::7', '::1', 'fd00::'] };
    assert.deepEqual(namesOf(pod, [], { forms: ['pod'] }).dnsNames, [
      '10-0-0-7.shop.pod.cluster.local',
      'fd00--7.shop.pod.cluster.local',
      '0--1.shop.pod.cluster.local',
      'fd00--0.shop.pod.cluster.local',
    ]);
  });
});

/** Words that stand in other names come up often: they are the interesting ones. */
const label = fc.oneof(
  fc.constantFrom('svc', 'pod', 'com', 'local', 'cluster', 'google', 'prod', 'payments', 'a', 'b'),
  fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/).filter(isDnsLabel),
);

const anyPod = fc.record({
  namespace: label,
  services: fc.uniqueArray(label, { minLength: 1, maxLength: 3 }),
  hostname: fc.option(label, { nil: undefined }),
  headless: fc.constantFrom(true, undefined),
});

const dnsNamesOf = (pod: typeof anyPod extends fc.Arbitrary<infer P> ? P : never, domain: string) =>
  namesOf(
    { namespace: pod.namespace, hostname: pod.hostname, subdomain: pod.services[0] },
    pod.services.map((name) => service(name, { headless: pod.headless })),
    // The form `svc` is left out: one word alone is the same in every namespace, hence a policy's matter.
    { clusterDomain: domain, forms: ['svc.ns', 'pod'] },
  ).dnsNames;

describe('wantedNames(), whatever anybody calls things,', () => {
  const clusterDomain = fc
    .array(label, { minLength: 1, maxLength: 3 })
    .map((labels) => labels.join('.'))
    .filter((domain) => domain !== 'svc');

  test('never gives one DNS name to pods of two namespaces', () => {
    fc.assert(
      fc.property(anyPod, anyPod, clusterDomain, (one, other, domain) => {
        fc.pre(one.namespace !== other.namespace);
        // Every pod has the same address: that must not matter either.
        const ofOne = new Set(dnsNamesOf(one, domain));
        const shared = dnsNamesOf(other, domain).filter((name) => ofOne.has(name));
        assert.deepEqual(shared, []);
      }),
      { numRuns: 2_000 },
    );
  });

  test('gives each pod at least both forms of each of its Services', () => {
    fc.assert(
      fc.property(anyPod, clusterDomain, (pod, domain) => {
        const names = dnsNamesOf(pod, domain);
        for (const name of pod.services) {
          assert.ok(names.includes(`${name}.${pod.namespace}.svc`));
          assert.ok(names.includes(`${name}.${pod.namespace}.svc.${domain}`));
        }
      }),
    );
  });

  // Why the setting PODSEAL_CLUSTER_DOMAIN refuses it.
  test('would give one name to two namespaces under the cluster domain "svc"', () => {
    const one = namesOf({ namespace: 'svc' }, [service('a')], { clusterDomain: 'svc' }).dnsNames;
    const other = namesOf(
      { namespace: 'b', hostname: 'x', subdomain: 'a' },
      [service('a', { headless: true })],
      { clusterDomain: 'svc' },
    ).dnsNames;
    assert.ok(one.includes('a.svc.svc.svc'));
    assert.ok(other.includes('x.a.b.svc'));
    const headless = namesOf(
      { namespace: 'svc', hostname: 'a', subdomain: 'b' },
      [service('b', { headless: true })],
      { clusterDomain: 'svc' },
    ).dnsNames;
    const plain = namesOf({ namespace: 'b' }, [service('a')], { clusterDomain: 'svc' }).dnsNames;
    assert.deepEqual(
      headless.filter((name) => plain.includes(name)),
      ['a.b.svc.svc'],
    );
  });
});
