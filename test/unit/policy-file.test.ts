import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parsePolicy, policyKeys } from '../../src/approver/policy-file.ts';
import { allowanceFor, defaultPolicy, type Policy } from '../../src/approver/policy.ts';
import { formatIpRange } from '../../src/identity/ip-range.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const settings = { clusterDomain: 'cluster.local' };
/** Two lines, so that what follows begins in line 3. */
const header = 'apiVersion: podseal.dev/v1\nkind: ApproverPolicy\n';

function policyOf(text: string): Policy {
  const parsed = parsePolicy(text, settings);
  assert.deepEqual(parsed.kind === 'invalid' ? parsed.problems : [], []);
  assert.ok(parsed.kind === 'valid');
  return parsed.value;
}

function problemsOf(text: string, clusterDomain = 'cluster.local'): readonly string[] {
  const parsed = parsePolicy(text, { clusterDomain });
  assert.equal(parsed.kind, 'invalid');
  return parsed.problems;
}

describe('parsePolicy()', () => {
  test('gives the defaults for a file that says nothing else', () => {
    assert.deepEqual(policyOf(header), defaultPolicy);
  });

  test('gives what it is told to, where the file says nothing', () => {
    const base = {
      ...defaultPolicy,
      defaults: { ...defaultPolicy.defaults, maximumLifetimeMs: 60_000 },
    };
    const parsed = parsePolicy(`${header}waitLimit: 1m\n`, { ...settings, base });
    assert.deepEqual(parsed, { kind: 'valid', value: { ...base, waitLimitMs: 60_000 } });
  });

  const everything = `${header}
maxLifetime: 1d12h
keyAlgorithms: [ECDSAP256, ED25519]
usages: [server auth]
nameForms: [svc.ns, pod]
dnsSuffixes: [shop.example.com]
wildcards: true
extraAddresses: [192.0.2.0/28, 192.0.2.77, "2001:db8::7"]
addresses: podCIDRs
hostNetwork: true
services:
  - name: db
    serviceAccounts: [postgres, backup.v2]
    whileUnselected: true
  - { name: web, serviceAccounts: [web] }
serviceRanges: [10.96.0.0/12, "fd00:96::/108"]
maxNames: 20
waitLimit: 0s
namespaces:
  - names: [shop, "team-*", "*"]
    nameForms: []
    maxLifetime: 10m
  - names: ["7"]
    nameForms: [svc]
`;

  test('reads every key', () => {
    const policy = policyOf(everything);
    const { extraAddresses, ...defaults } = policy.defaults;
    assert.deepEqual(extraAddresses.map(formatIpRange), [
      '192.0.2.0/28',
      '192.0.2.77/32',
      '2001:db8::7/128',
    ]);
    assert.deepEqual(defaults, {
      maximumLifetimeMs: 36 * 3_600_000,
      keyAlgorithms: ['ECDSAP256', 'ED25519'],
      usages: ['server auth'],
      nameForms: ['svc.ns', 'pod'],
      dnsSuffixes: ['shop.example.com'],
      wildcards: true,
      addresses: 'podCIDRs',
      hostNetwork: true,
      services: [
        { name: 'db', serviceAccounts: ['postgres', 'backup.v2'], whileUnselected: true },
        { name: 'web', serviceAccounts: ['web'], whileUnselected: false },
      ],
    });
    assert.deepEqual(policy.serviceRanges.map(formatIpRange), ['10.96.0.0/12', 'fd00:96::/108']);
    assert.equal(policy.maximumNames, 20);
    assert.equal(policy.waitLimitMs, 0);
    assert.deepEqual(policy.namespaces, [
      {
        names: ['shop', 'team-*', '*'],
        changes: { nameForms: [], maximumLifetimeMs: 600_000 },
      },
      { names: ['7'], changes: { nameForms: ['svc'] } },
    ]);
  });

  test('reads JSON, with tabs and carriage returns', () => {
    const file = {
      apiVersion: 'podseal.dev/v1',
      kind: 'ApproverPolicy',
      maxNames: 20,
      namespaces: [{ names: ['shop'], wildcards: true }],
    };
    const text = JSON.stringify(file, undefined, '\t').replaceAll('\n', '\r\n');
    const policy = policyOf(text);
    assert.equal(policy.maximumNames, 20);
    assert.equal(allowanceFor(policy, 'shop').wildcards, true);
  });

  test('names every problem at once, in the order of the lines', () => {
    const problems = problemsOf(`apiVersion: podseal.dev/v2
maxLifetime: "9x"
hostNetwork: "true"
namespaces:
  - names: [shop]
    maxLifetme: 1h
  - names: [a, Bad_Name]
    nameForms: [svc]
    services:
      - name: db
        whileUnselected: true
  - names: [b]
    nameForms: [svc, host]
maxNames: 251
`);
    assert.deepEqual(problems, [
      'line 1: apiVersion: "podseal.dev/v2" is none of podseal.dev/v1',
      'line 1: kind is missing: write ApproverPolicy',
      'line 2: maxLifetime: "9x" is not a duration like 24h, 90m or 30s',
      'line 3: hostNetwork: "true" is neither true nor false',
      'line 6: namespaces[0].maxLifetme: unknown key; did you mean "maxLifetime"?',
      'line 7: namespaces[1].names[1]: "Bad_Name" is not the name of a namespace, nor a pattern of one like team-*',
      'line 10: namespaces[1].services[0]: serviceAccounts is missing: name the service accounts that may hold the Service',
      'line 12: namespaces[2].names[0]: "b" has form "svc", and so has "a" (line 7): one word alone is the same in every namespace',
      'line 13: namespaces[2].nameForms[1]: "host" is none of svc.ns, svc, pod',
      'line 14: maxNames: 251 is not a whole number from 1 to 250',
    ]);
  });

  test('cuts a list of problems that nobody would read', () => {
    const keys = Array.from({ length: 200 }, (_, index) => `x${index}: 1\n`).join('');
    const problems = problemsOf(header + keys);
    assert.equal(problems.length, 51);
    assert.equal(problems.at(-1), 'and 150 more');
  });

  const oneWord = 'one word alone is the same in every namespace';
  const underDomain = (domain: string): string =>
    `holds names under the cluster domain "${domain}", which are those of Services and pods of every namespace`;
  const singleLabel =
    'is a single label, which is a public domain or the word for a Service in every namespace';
  const unsafe = 'cannot have short forms: its name is a part of every long name';

  for (const { lines, problem, domain } of [
    // The file as such.
    {
      lines: 'maxLifetime: 1d\nmaxLifetime: 2d',
      problem: 'line 4: maxLifetime: it is given twice, first in line 3',
    },
    {
      lines: 'wildcards: &x true',
      problem: 'line 3: wildcards: anchors are not known here; leave it out',
    },
    {
      lines: 'waitLimit: !!str 1m',
      problem: 'line 3: waitLimit: tags are not known here; leave it out',
    },
    { lines: '? [a]\n: 1', problem: 'line 3: a key is not text' },
    {
      lines: '---\nmaxNames: 1',
      problem: 'line 3: a second document begins here; a policy is one document',
    },
    { lines: 'dnsSuffixes: [', problem: /^line 4: it is not YAML: Flow sequence/ },
    {
      lines: 'services:\n\t- name: db',
      problem: 'line 4: it is not YAML: Tabs are not allowed as indentation',
    },
    {
      lines: `services: ${'['.repeat(20)}${']'.repeat(20)}`,
      problem: /^line 3: services(\[0\])+: it is nested too deeply\n/,
    },
    {
      lines: 'services: []\nServices: []',
      problem: 'line 4: Services: unknown key; did you mean "services"?',
    },
    { lines: 'constructor: 1', problem: /^line 3: constructor: unknown key/ },
    { lines: '"a\\nb": 1', problem: /^line 3: "a\\nb": unknown key/ },
    // Kinds of values.
    { lines: 'maxLifetime: 90', problem: 'line 3: maxLifetime: 90 is no text; write it in quotes' },
    { lines: 'maxLifetime: {}', problem: 'line 3: maxLifetime: a map is no text' },
    { lines: 'maxLifetime:', problem: 'line 3: maxLifetime: an empty value is no text' },
    { lines: 'wildcards: yes', problem: 'line 3: wildcards: "yes" is neither true nor false' },
    {
      lines: 'namespaces:',
      problem: 'line 3: namespaces: an empty value is not a list; an empty list is written []',
    },
    {
      lines: 'nameForms: svc.ns',
      problem: 'line 3: nameForms: "svc.ns" is not a list; an empty list is written []',
    },
    {
      lines: 'services:\n  name: db',
      problem: 'line 3: services: a map is not a list; an empty list is written []',
    },
    {
      lines: 'services:\n  - db',
      problem: 'line 4: services[0]: "db" is not a map of keys and values',
    },
    {
      lines: 'namespaces: [{ names: [true], wildcards: true }]',
      problem: 'line 3: namespaces[0].names[0]: true is no text; write it in quotes',
    },
    // Bounds.
    { lines: 'maxLifetime: 599s', problem: 'line 3: maxLifetime: "599s" is shorter than 10m' },
    {
      lines: 'maxLifetime: 24856d',
      problem: 'line 3: maxLifetime: "24856d" is longer than 24855d',
    },
    {
      lines: 'maxLifetime: 91d',
      problem:
        'line 3: maxLifetime: "91d" is longer than PODSEAL_MAX_LIFETIME (90d), and the signer would refuse what is approved',
    },
    {
      lines: 'namespaces: [{ names: [shop], maxLifetime: 91d }]',
      problem:
        'line 3: namespaces[0].maxLifetime: "91d" is longer than PODSEAL_MAX_LIFETIME (90d), and the signer would refuse what is approved',
    },
    { lines: 'waitLimit: 61m', problem: 'line 3: waitLimit: "61m" is longer than 1h' },
    { lines: 'maxNames: 0', problem: 'line 3: maxNames: 0 is not a whole number from 1 to 250' },
    {
      lines: 'maxNames: 2.5',
      problem: 'line 3: maxNames: 2.5 is not a whole number from 1 to 250',
    },
    {
      lines: 'maxNames: "20"',
      problem: 'line 3: maxNames: "20" is not a whole number from 1 to 250',
    },
    // Words.
    {
      lines: 'keyAlgorithms: []',
      problem: 'line 3: keyAlgorithms: the list is empty: no key would be accepted',
    },
    {
      lines: 'keyAlgorithms: [RSA1024]',
      problem:
        'line 3: keyAlgorithms[0]: "RSA1024" is none of ECDSAP256, ECDSAP384, ED25519, RSA2048, RSA3072, RSA4096',
    },
    {
      lines: 'usages: [server-auth]',
      problem:
        'line 3: usages[0]: "server-auth" is none of server auth, client auth, digital signature, key encipherment',
    },
    {
      lines: 'usages: [digital signature]',
      problem:
        'line 3: usages: has neither server auth nor client auth, and every certificate needs one',
    },
    {
      lines: 'addresses: all',
      problem: 'line 3: addresses: "all" is none of podIPs, podCIDRs, none',
    },
    // Services.
    {
      lines: 'services:\n  - { serviceAccounts: [a] }',
      problem: 'line 4: services[0]: name is missing: which Service is it about?',
    },
    {
      lines: 'services:\n  - { name: db, serviceAccounts: [], whileUnselected: true }',
      problem:
        'line 4: services[0].serviceAccounts: the list is empty: name the service accounts that may hold the Service',
    },
    {
      lines: 'services:\n  - { name: db.shop, serviceAccounts: [a] }',
      problem: 'line 4: services[0].name: "db.shop" is not the name of a Service',
    },
    {
      lines: 'services:\n  - { name: db, serviceAccounts: ["a:b"] }',
      problem: 'line 4: services[0].serviceAccounts[0]: "a:b" is not the name of a service account',
    },
    // Rules.
    {
      lines: 'namespaces:\n  - wildcards: true',
      problem: 'line 4: namespaces[0]: names is missing: name the namespaces that the rule is for',
    },
    {
      lines: 'namespaces:\n  - names: []',
      problem:
        'line 4: namespaces[0].names: the list is empty: name the namespaces that the rule is for',
    },
    {
      lines: 'namespaces:\n  - names: [shop]\nwildcards: true',
      problem:
        'line 4: namespaces[0]: the rule changes nothing; are its settings indented like names?',
    },
    {
      lines: 'namespaces:\n  - names: ["*a*b*c*"]\n    wildcards: true',
      problem: 'line 4: namespaces[0].names[0]: "*a*b*c*" has more than 3 stars',
    },
    {
      lines: 'namespaces:\n  - names: ["team-?"]\n    wildcards: true',
      problem: /^line 4: .*"team-\?" is not the name of a namespace/,
    },
    {
      lines: 'namespaces:\n  - names: [a.b]\n    wildcards: true',
      problem: /^line 4: .*"a\.b" is not the name of a namespace/,
    },
    ...['serviceRanges: []', 'maxNames: 1', 'waitLimit: 1m'].map((setting) => ({
      lines: `namespaces:\n  - names: [shop]\n    ${setting}`,
      problem: `line 5: namespaces[0].${setting.split(':')[0] ?? ''}: is for all namespaces alike, and stands at the top level`,
    })),
    // Short forms.
    {
      lines: 'nameForms: [svc]',
      problem: `line 3: nameForms[0]: only a rule that names one namespace can give form "svc": ${oneWord}`,
    },
    {
      lines: 'namespaces:\n  - names: ["*"]\n    nameForms: [svc]',
      problem: `line 4: namespaces[0].names[0]: "*" is a pattern, and has form "svc": ${oneWord}`,
    },
    {
      lines: 'namespaces:\n  - names: [a, b]\n    nameForms: [svc]',
      problem: `line 4: namespaces[0].names[1]: "b" has form "svc", and so has "a" (line 4): ${oneWord}`,
    },
    ...['svc', 'cluster', 'local'].flatMap((name) =>
      ['svc', 'svc.ns'].map((form) => ({
        lines: `namespaces:\n  - names: [${name}]\n    nameForms: [${form}]`,
        problem: `line 4: namespaces[0].names[0]: "${name}" ${unsafe}`,
      })),
    ),
    {
      lines: 'namespaces:\n  - names: [k8s]\n    nameForms: [svc.ns]',
      domain: 'k8s.example.com',
      problem: `line 4: namespaces[0].names[0]: "k8s" ${unsafe}`,
    },
    // Suffixes.
    ...['svc', 'local', 'com', 'pod'].map((suffix) => ({
      lines: `dnsSuffixes: [${suffix}]`,
      problem: `line 3: dnsSuffixes[0]: "${suffix}" ${singleLabel}`,
    })),
    {
      lines: 'dnsSuffixes: [foo.svc]',
      problem: 'line 3: dnsSuffixes[0]: "foo.svc" holds names of Services of every namespace',
    },
    {
      lines: 'dnsSuffixes: [foo.pod]',
      problem: 'line 3: dnsSuffixes[0]: "foo.pod" holds names of pods of every namespace',
    },
    ...['cluster.local', 'x.svc.cluster.local', 'x.cluster.local'].map((suffix) => ({
      lines: `dnsSuffixes: [${suffix}]`,
      problem: `line 3: dnsSuffixes[0]: "${suffix}" ${underDomain('cluster.local')}`,
    })),
    {
      lines: 'dnsSuffixes: [example.com]',
      domain: 'k8s.example.com',
      problem: `line 3: dnsSuffixes[0]: "example.com" ${underDomain('k8s.example.com')}`,
    },
    {
      lines: 'dnsSuffixes: ["*.example.com"]',
      problem:
        'line 3: dnsSuffixes[0]: "*.example.com" is a wildcard; a suffix covers what is below it, and wildcards: true allows them there',
    },
    {
      lines: 'dnsSuffixes: [Example.com]',
      problem: 'line 3: dnsSuffixes[0]: "Example.com" is not in lower case',
    },
    {
      lines: 'dnsSuffixes: [.example.com]',
      problem: /^line 3: dnsSuffixes\[0\]: "\.example\.com" is no DNS name: it has an empty label/,
    },
    {
      lines: 'dnsSuffixes: [10.0.0.7]',
      problem: 'line 3: dnsSuffixes[0]: "10.0.0.7" is no DNS name: it is an address, not a name',
    },
    {
      lines: 'dnsSuffixes: [a.b]\nnamespaces:\n  - names: [b]\n    nameForms: [svc.ns]',
      problem:
        'line 3: dnsSuffixes[0]: "a.b" is what Service "a" of namespace "b" has by form "svc.ns"; end with a rule for "b" with nameForms: []',
    },
    {
      lines: 'nameForms: [svc.ns]\nnamespaces:\n  - names: [shop]\n    dnsSuffixes: [example.com]',
      problem:
        /^line 6: namespaces\[0\]\.dnsSuffixes\[0\]: "example\.com" is what Service "example" of namespace "com" has/,
    },
    // Addresses.
    {
      lines: 'extraAddresses: [0.0.0.0/0]',
      problem: 'line 3: extraAddresses[0]: "0.0.0.0/0" is wider than /8',
    },
    {
      lines: 'extraAddresses: ["::/0"]',
      problem: 'line 3: extraAddresses[0]: "::/0" is wider than /32',
    },
    {
      lines: 'extraAddresses: ["2001:db8::/31"]',
      problem: 'line 3: extraAddresses[0]: "2001:db8::/31" is wider than /32',
    },
    {
      lines: 'extraAddresses: [127.0.0.1]',
      problem: 'line 3: extraAddresses[0]: "127.0.0.1" holds a loopback address',
    },
    {
      lines: 'extraAddresses: [169.0.0.0/8]',
      problem: 'line 3: extraAddresses[0]: "169.0.0.0/8" holds a link-local address',
    },
    {
      lines: 'extraAddresses: ["fe80::7"]',
      problem: 'line 3: extraAddresses[0]: "fe80::7" holds a link-local address',
    },
    {
      lines: 'extraAddresses: ["::ffff:192.0.2.7"]',
      problem:
        'line 3: extraAddresses[0]: "::ffff:192.0.2.7" holds an IPv4 address written as IPv6',
    },
    {
      lines: 'extraAddresses: [192.0.2.7/28]',
      problem:
        'line 3: extraAddresses[0]: "192.0.2.7/28" is not a range like 10.96.0.0/12 or fd00:96::/108, without bits beyond its prefix',
    },
    {
      lines: 'extraAddresses: [example.com]',
      problem: /^line 3: extraAddresses\[0\]: "example\.com" is not a range/,
    },
    {
      lines: 'serviceRanges: [10.96.0.0/12]\nextraAddresses: [10.0.0.0/8]',
      problem:
        'line 4: extraAddresses[0]: "10.0.0.0/8" meets the Service range 10.96.0.0/12; addresses of Services follow from Services alone',
    },
    {
      lines:
        'serviceRanges: [10.96.0.0/12]\nnamespaces:\n  - names: [shop]\n    extraAddresses: [10.96.0.7]',
      problem:
        /^line 6: namespaces\[0\]\.extraAddresses\[0\]: "10\.96\.0\.7" meets the Service range/,
    },
    {
      lines: 'serviceRanges: [10.96.0.1]',
      problem: /^line 3: serviceRanges\[0\]: "10\.96\.0\.1" is not a range/,
    },
    {
      lines: 'serviceRanges: [10.96.0.1/12]',
      problem: /^line 3: serviceRanges\[0\]: "10\.96\.0\.1\/12" is not a range/,
    },
    {
      lines: 'serviceRanges: [0.0.0.0/1]',
      problem: 'line 3: serviceRanges[0]: "0.0.0.0/1" is wider than /8',
    },
  ] as readonly { lines: string; problem: string | RegExp; domain?: string }[])
    test(`refuses ${JSON.stringify(lines)}${domain === undefined ? '' : ` under ${domain}`}`, () => {
      const problems = problemsOf(`${header}${lines}\n`, domain);
      if (typeof problem === 'string') assert.deepEqual(problems, [problem]);
      else assert.match(problems.join('\n'), problem);
    });

  for (const text of ['', '\n', '# nothing but a comment\n', '---\n', 'null'])
    test(`refuses ${JSON.stringify(text)}, which may be a truncated file`, () => {
      assert.deepEqual(problemsOf(text), [
        'line 1: the file is empty, as a truncated one is; to have the defaults, write apiVersion and kind alone',
      ]);
    });

  test('refuses another version of YAML, in which yes is true', () => {
    assert.deepEqual(problemsOf(`%YAML 1.1\n---\n${header}wildcards: yes\n`), [
      'line 1: it chooses a version of YAML; leave that line out',
    ]);
  });

  test('refuses aliases before a few of them become gigabytes', () => {
    const bomb = Array.from({ length: 30 }, (_, index) => {
      const item = index === 0 ? 'x' : `*a${index - 1}`;
      return `a${index}: &a${index} [${Array<string>(10).fill(item).join(', ')}]\n`;
    }).join('');
    const problems = problemsOf(header + bomb);
    assert.ok(
      problems.includes('line 4: a1[0]: aliases are not followed here; write the value out'),
    );
  });

  test('refuses a file that is too long, or nested too deeply to be read', () => {
    const longest = `${header}#`.padEnd(1024 * 1024, 'x');
    assert.deepEqual(policyOf(longest), defaultPolicy);
    assert.deepEqual(problemsOf(`${longest}x`), ['it is longer than 1048576 characters']);
    assert.ok(
      problemsOf(`${header}services: ${'['.repeat(50_000)}`).includes(
        'line 3: it is nested too deeply',
      ),
    );
  });

  test('quotes no more than a line of a value', () => {
    const [problem = ''] = problemsOf(`${header}addresses: ${'x'.repeat(100_000)}\n`);
    assert.ok(problem.length < 200, problem);
  });

  test('lets a rule take away the form that stands in the way of a suffix', () => {
    const policy = policyOf(`${header}nameForms: [svc.ns]
namespaces:
  - names: [shop]
    dnsSuffixes: [example.com]
  - names: [com]
    nameForms: []
`);
    assert.deepEqual(allowanceFor(policy, 'shop').nameForms, ['svc.ns']);
    assert.deepEqual(allowanceFor(policy, 'com').nameForms, []);
  });

  test('lets one namespace have form svc by several rules', () => {
    const policy = policyOf(`${header}namespaces:
  - { names: [shop], nameForms: [svc] }
  - { names: [shop], nameForms: [svc, svc.ns] }
`);
    assert.deepEqual(allowanceFor(policy, 'shop').nameForms, ['svc', 'svc.ns']);
  });
});

describe('examples/policy/policy.yaml', () => {
  test('is valid', () => {
    const policy = policyOf(read('examples/policy/policy.yaml'));
    assert.deepEqual(allowanceFor(policy, 'shop').nameForms, ['svc.ns', 'svc']);
    assert.deepEqual(allowanceFor(policy, 'team-a').nameForms, ['svc.ns']);
    assert.equal(allowanceFor(policy, 'databases').maximumLifetimeMs, 7 * 86_400_000);
    assert.equal(allowanceFor(policy, 'default').addresses, 'podCIDRs');
  });

  test('shows every key', () => {
    const text = read('examples/policy/policy.yaml');
    const missing = policyKeys
      .map((key) => key.replace(/^.*\./, ''))
      .filter((key) => !new RegExp(`^[ -]*${key}:`, 'm').test(text));
    assert.deepEqual(missing, []);
  });
});

describe('docs/policy.md', () => {
  const page = read('docs/policy.md');

  test('lists every key', () => {
    const rows = [...page.matchAll(/^\| `([A-Za-z.[\]]+)` \|/gm)].map(([, key]) => key);
    assert.deepEqual([...rows].sort(), [...policyKeys].sort());
  });

  test('holds policies that are valid, the last of which is the default', () => {
    const policies = [...page.matchAll(/^```yaml\n([^]*?)^```$/gm)].map(([, text = '']) =>
      policyOf(text),
    );
    assert.equal(policies.length, 2);
    assert.deepEqual(policies.at(-1), defaultPolicy);
    const [, defaults = ''] = /## The defaults[^]*?```yaml\n([^]*?)```/.exec(page) ?? [];
    const written = [...defaults.matchAll(/^(\w+):/gm)].map(([, key]) => key);
    assert.deepEqual(
      written,
      policyKeys.filter((key) => !key.includes('.')),
    );
  });
});
