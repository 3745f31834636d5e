import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Case, caseOf } from '../../src/approver/case.ts';
import { parsePolicy } from '../../src/approver/policy-file.ts';
import {
  type AllowanceChanges,
  allowanceFor,
  defaultPolicy,
  type Policy,
} from '../../src/approver/policy.ts';
import { dnsNamesFollow } from '../../src/approver/rules-names.ts';
import { isDnsLabel } from '../../src/identity/dns-name.ts';
import { type LiveService } from '../../src/identity/live-service.ts';
import { generateKey } from '../../src/node/key-generator.ts';
import {
  buildCertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';

function policyWith(
  ...rules: readonly { readonly names: readonly string[]; readonly changes: AllowanceChanges }[]
): Policy {
  return { ...defaultPolicy, namespaces: rules };
}

describe('allowanceFor()', () => {
  test('gives the defaults where no rule names the namespace', () => {
    const policy = policyWith({ names: ['other'], changes: { wildcards: true } });
    assert.equal(allowanceFor(policy, 'shop'), policy.defaults);
  });

  test('lets later rules win, setting by setting', () => {
    const policy = policyWith(
      { names: ['shop'], changes: { wildcards: true, maximumLifetimeMs: 1 } },
      { names: ['other', 'sh*'], changes: { maximumLifetimeMs: 2, nameForms: ['pod'] } },
      { names: ['shopping'], changes: { nameForms: [] } },
    );
    assert.deepEqual(allowanceFor(policy, 'shop'), {
      ...policy.defaults,
      wildcards: true,
      maximumLifetimeMs: 2,
      nameForms: ['pod'],
    });
  });

  test('lets the list of a rule replace the list of the defaults', () => {
    const policy = policyWith({ names: ['shop'], changes: { dnsSuffixes: ['shop.example.com'] } });
    const defaults = { ...policy.defaults, dnsSuffixes: ['example.org'] };
    assert.deepEqual(allowanceFor({ ...policy, defaults }, 'shop').dnsSuffixes, [
      'shop.example.com',
    ]);
  });

  for (const [pattern, namespace, expected] of [
    ['shop', 'shop', true],
    ['shop', 'shopping', false],
    ['shop', 'my-shop', false],
    ['team-*', 'team-a', true],
    ['team-*', 'team-', true],
    ['team-*', 'team', false],
    ['*-prod', 'shop-prod', true],
    ['*-prod', 'shop-prod-2', false],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'acb', false],
    ['*', 'anything', true],
  ] as const)
    test(`says that ${pattern} ${expected ? 'names' : 'does not name'} ${namespace}`, () => {
      const policy = policyWith({ names: [pattern], changes: { wildcards: true } });
      assert.equal(allowanceFor(policy, namespace).wildcards, expected);
    });
});

/** Words that stand in other names come up often: they are the interesting ones. */
const label = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('svc', 'pod', 'com', 'local', 'cluster', 'shop', 'x-y', 'a', 'b'),
  },
  {
    weight: 1,
    arbitrary: fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/).filter(isDnsLabel),
  },
);
const dottedLabels = (maxLength: number): fc.Arbitrary<string> =>
  fc.array(label, { minLength: 1, maxLength }).map((labels) => labels.join('.'));

const allowance = fc.record(
  {
    nameForms: fc.oneof(
      { weight: 9, arbitrary: fc.subarray(['svc.ns', 'pod']) },
      { weight: 1, arbitrary: fc.subarray(['svc.ns', 'svc']) },
    ),
    dnsSuffixes: fc.array(dottedLabels(3), { maxLength: 2 }),
    wildcards: fc.boolean(),
    services: fc.array(
      fc.record({
        name: label,
        serviceAccounts: fc.constant(['app']),
        whileUnselected: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: [] },
);

/** A policy file as a person could write it, most often about these namespaces; many are refused. */
function policyFile(namespaces: readonly string[]): fc.Arbitrary<string> {
  const pattern = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...namespaces) },
    { weight: 1, arbitrary: label },
    { weight: 1, arbitrary: fc.constantFrom('*', 'x-*', '*o*', 's*') },
  );
  const rule = fc
    .tuple(fc.array(pattern, { minLength: 1, maxLength: 2 }), allowance)
    .map(([names, changes]) => ({ names, ...changes }));
  const wordRule = fc
    .constantFrom(...namespaces.map((name) => [name]), namespaces, ['*'])
    .map((names) => ({ names, nameForms: ['svc', 'svc.ns'] }));
  return fc
    .tuple(
      allowance,
      fc.array(rule, { maxLength: 3 }),
      fc.array(wordRule, { maxLength: 1 }),
      fc.array(rule, { maxLength: 1 }),
    )
    .map(([defaults, ...rules]) =>
      JSON.stringify({
        apiVersion: 'podseal.dev/v1',
        kind: 'ApproverPolicy',
        ...defaults,
        namespaces: rules.flat(),
      }),
    );
}

const anyPod = fc.record({
  namespace: label,
  hostname: fc.option(label, { nil: undefined }),
  services: fc.uniqueArray(
    fc.record({
      name: label,
      headless: fc.boolean(),
      isExternalName: fc.nat(9).map((number) => number === 0),
      selects: fc.nat(3).map((number) => number > 0),
    }),
    { minLength: 1, maxLength: 3, selector: ({ name }) => name },
  ),
});

const keyPair = await generateKey('ED25519');
const { usages } = defaultPolicy.defaults;
const anyContent = parseCertificationRequest(
  buildCertificationRequest(
    { names: { dnsNames: ['a.b.svc'], ipAddresses: [], uris: [] }, usages },
    keyPair,
  ),
);

const scene = fc.tuple(anyPod, anyPod).chain(([one, other]) =>
  fc.record({
    one: fc.constant(one),
    other: fc.constant(other),
    domain: dottedLabels(3).filter((domain) => domain !== 'svc'),
    file: policyFile([one.namespace, other.namespace]),
  }),
);

type AnyPod = typeof anyPod extends fc.Arbitrary<infer P> ? P : never;

/** The case of a request by this pod for these DNS names. Every pod has the same address: that must not matter. */
function caseFor(
  { namespace, hostname, services }: AnyPod,
  policy: Policy,
  clusterDomain: string,
  dnsNames: readonly string[] = [],
): Case {
  const identity = { namespace, name: 'app-0', uid: 'u-1', serviceAccount: 'app', nodeName: 'n-1' };
  return caseOf({
    request: {
      name: 'podseal-u-1-0',
      uid: 'u-2',
      resourceVersion: '1',
      createdAt: new Date(0),
      request: '',
      signerName: 'podseal.dev/serving',
      usages,
      expirationSeconds: undefined,
      requester: { username: '', extra: {} },
      conditions: [],
      hasCertificate: false,
      isRenewal: false,
    },
    content: {
      kind: 'read',
      value: { ...anyContent, names: { dnsNames, ipAddresses: [], uris: [] } },
    },
    requester: { kind: 'pod', pod: identity },
    pod: {
      ...identity,
      phase: 'Running',
      isTerminating: false,
      isMirror: false,
      hostNetwork: false,
      ipAddresses: ['10.0.0.7', 'fd00::7'],
      hostname,
      subdomain: services[0]?.name,
      labels: new Map([['app', 'app']]),
    },
    services: services.map(({ selects, ...service }): LiveService => ({
      ...service,
      namespace,
      isBeingDeleted: false,
      clusterIPs: [],
      selector: { app: selects ? 'app' : 'other' },
    })),
    network: {
      nodeAddresses: new Map(),
      serviceRanges: [],
      clusterIPs: new Map(),
      podRangesByNode: new Map(),
    },
    caConstraints: [],
    policy,
    settings: { signerNames: [], clusterDomain, trustDomain: clusterDomain, defaultLifetimeMs: 1 },
  });
}

/** The wildcard that covers the name, beside the name itself. */
function coverings(name: string): readonly string[] {
  const [, ...parents] = name.split('.');
  return parents.length === 0 ? [name] : [name, `*.${parents.join('.')}`];
}

describe('a policy that is not refused', () => {
  test('never gives one DNS name to pods of two namespaces', () => {
    const seen = { valid: 0, words: 0, shortForms: 0, extras: 0 };
    fc.assert(
      fc.property(scene, ({ one, other, domain, file }) => {
        fc.pre(one.namespace !== other.namespace);
        const parsed = parsePolicy(file, { clusterDomain: domain });
        fc.pre(parsed.kind === 'valid');
        const policy = parsed.value;

        const { provable } = caseFor(one, policy, domain);
        const ofOther = caseFor(other, policy, domain);
        assert.deepEqual(
          provable.dnsNames.filter((name) => ofOther.provable.dnsNames.includes(name)),
          [],
        );

        // What follows for one pod is approved for it, and under no pretext for the other.
        const own = caseFor(one, policy, domain, provable.dnsNames);
        assert.deepEqual(dnsNamesFollow(own), []);
        const claimed = provable.dnsNames.flatMap(coverings);
        const refused = dnsNamesFollow(caseFor(other, policy, domain, claimed));
        assert.deepEqual(
          refused.map(({ value }) => value),
          claimed,
        );

        seen.valid++;
        if (provable.dnsNames.some((name) => !name.includes('.'))) seen.words++;
        if (provable.dnsNames.some((name) => name.split('.').length === 2)) seen.shortForms++;
        if (allowanceFor(policy, other.namespace).dnsSuffixes.length > 0) seen.extras++;
      }),
      { numRuns: 2_000 },
    );
    assert.equal(seen.valid, 2_000);
    for (const count of Object.values(seen)) assert.ok(count >= 20, JSON.stringify(seen));
  });

  // What the refusals are for: each of these would give a name to two namespaces.
  const pod = (namespace: string, service: string, hostname?: string): AnyPod => ({
    namespace,
    hostname,
    services: [{ name: service, headless: true, isExternalName: false, selects: true }],
  });
  for (const { what, policy, one, other } of [
    {
      what: 'form svc in two namespaces',
      policy: policyWith({ names: ['a', 'b'], changes: { nameForms: ['svc'] } }),
      one: pod('a', 'web'),
      other: pod('b', 'web'),
    },
    {
      what: 'form svc by a pattern',
      policy: policyWith({ names: ['team-*'], changes: { nameForms: ['svc'] } }),
      one: pod('team-a', 'web'),
      other: pod('team-b', 'web'),
    },
    {
      what: 'a suffix under svc',
      policy: policyWith({ names: ['b'], changes: { dnsSuffixes: ['a.svc'] } }),
      one: pod('a', 'web'),
      other: pod('b', 'web'),
    },
    {
      what: 'a suffix above the cluster domain',
      policy: policyWith({ names: ['b'], changes: { dnsSuffixes: ['example.com'] } }),
      one: pod('a', 'web'),
      other: pod('b', 'web'),
    },
    {
      what: 'a suffix that is a short form of a namespace',
      policy: policyWith(
        { names: ['a'], changes: { nameForms: ['svc.ns'] } },
        { names: ['b'], changes: { dnsSuffixes: ['web.a'] } },
      ),
      one: pod('a', 'web'),
      other: pod('b', 'web'),
    },
  ])
    test(`is needed: ${what} would share a name`, () => {
      const domain = 'k8s.example.com';
      const { provable } = caseFor(one, policy, domain);
      const refused = dnsNamesFollow(caseFor(other, policy, domain, provable.dnsNames));
      assert.ok(refused.length < provable.dnsNames.length);
    });
});
