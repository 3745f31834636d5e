import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readSettings, type Settings, type SystemFiles } from '../../src/cli/agent-config.ts';
import { agentSettings, unknownSettings } from '../../src/cli/settings.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { podsealErrorOf } from '../support/thrown.ts';

const pod = {
  POD_NAME: 'web-0',
  POD_NAMESPACE: 'shop',
  POD_UID: '5e0c6f0e-0b3a-4f0e-9a52-4b8e1f0f3a11',
  SERVICE_ACCOUNT: 'web',
  POD_IPS: '10.0.0.7,fd00::7',
};

const noFiles: SystemFiles = { hosts: undefined, resolvConf: undefined };

const read = (environment: NodeJS.ProcessEnv = {}, files: SystemFiles = noFiles): Settings =>
  readSettings({ ...pod, ...environment }, files);

const refused = (environment: NodeJS.ProcessEnv, files: SystemFiles = noFiles) =>
  podsealErrorOf(() => read(environment, files));

/** Each malformed value, and what is said about it. */
const malformed: readonly (readonly [string, string, RegExp])[] = [
  [
    'PODSEAL_SIGNER_NAME',
    'serving',
    /"serving" is not a signer name of the form example\.com\/name/,
  ],
  ['PODSEAL_SIGNER_NAME', 'podseal/serving', /is not a signer name/],
  ['PODSEAL_SIGNER_NAME', 'podseal.dev/a/b', /is not a signer name/],
  ['PODSEAL_SIGNER_NAME', 'Podseal.dev/serving', /is not a signer name/],
  ['PODSEAL_DIR', 'podseal', /"podseal" is not an absolute path/],
  ['PODSEAL_SERVICES', 'web,db.shop', /"db\.shop" is not the name of a Service/],
  ['PODSEAL_POD_INFO_DIR', './podinfo', /is not an absolute path/],
  [
    'PODSEAL_DNS_NAMES',
    'shop.example.com,under_score.example.com',
    /"under_score\.example\.com": label/,
  ],
  ['PODSEAL_IP_ADDRESSES', '10.0.0.256', /"10\.0\.0\.256": it is not an IPv4 or IPv6 address/],
  ['PODSEAL_NAME_FORMS', 'svc.ns,short', /"short" is none of svc\.ns, svc, pod/],
  ['PODSEAL_CLUSTER_DOMAIN', 'cluster_local', /"cluster_local": label/],
  [
    'PODSEAL_CLUSTER_DOMAIN',
    'svc',
    /"svc": names under it would read as names of other namespaces/,
  ],
  ['PODSEAL_TRUST_DOMAIN', 'Example.com', /"Example\.com" is not a SPIFFE trust domain/],
  ['PODSEAL_TRUST_DOMAIN', 'a/b', /is not a SPIFFE trust domain/],
  ['PODSEAL_COMMON_NAME', 'yes', /"yes" is neither true nor false/],
  ['PODSEAL_KEY_ALGORITHM', 'RSA1024', /"RSA1024" is none of ECDSAP256, .*RSA4096/],
  ['PODSEAL_KEY_MODE', 'rw', /"rw" is not an octal mode/],
  ['PODSEAL_KEY_MODE', '0040', /does not let the owner read/],
  ['PODSEAL_KEY_MODE', '0600', /lets somebody write or execute/],
  ['PODSEAL_KEY_MODE', '0888', /is not an octal mode/],
  ['PODSEAL_LIFETIME', '1 day', /"1 day" is not a duration like 24h/],
  ['PODSEAL_LIFETIME', '9m', /"9m" is shorter than 10m/],
  ['PODSEAL_LIFETIME', '30000d', /is longer than 68 years/],
  ['PODSEAL_TRUST_FILES', 'ca.crt', /"ca\.crt" is not an absolute path/],
  ['PODSEAL_TRUST_FILES', '/var/run/podseal/ca.crt', /is inside PODSEAL_DIR/],
  ['PODSEAL_TRUST_FILES', '/etc/../var/run/podseal/ca.crt', /is inside PODSEAL_DIR/],
  ['PODSEAL_FORMATS', 'jks', /"jks" is none of combined, pkcs12/],
  ['PODSEAL_FORMATS', 'pkcs12', /PODSEAL_STORE_PASSWORD_FILE is not set, and PODSEAL_FORMATS asks/],
  ['PODSEAL_STORE_PASSWORD_FILE', '/p', /is set, and PODSEAL_FORMATS does not ask for pkcs12/],
  ['PODSEAL_TIMEOUT', '0s', /"0s" is shorter than 1s/],
  [
    'PODSEAL_HOOK_SIGNAL',
    'nginx',
    /"nginx" is not the name of a process and one of HUP, .*, like nginx:HUP/,
  ],
  ['PODSEAL_HOOK_SIGNAL', 'nginx:KILL', /is not the name of a process and one of/],
  ['PODSEAL_HOOK_SIGNAL', ':HUP', /is not the name of a process and one of/],
  ['PODSEAL_HOOK_SIGNAL', '/usr/sbin/nginx:HUP', /is not the name of a process and one of/],
  [
    'PODSEAL_HOOK_HTTP',
    'reload',
    /"reload" is not a method and a URL, like POST http:\/\/127\.0\.0\.1/,
  ],
  ['PODSEAL_HOOK_HTTP', 'TRACE http://127.0.0.1/', /is not a method and a URL/],
  ['PODSEAL_HOOK_HTTP', 'POST http://127.0.0.1/ now', /is not a method and a URL/],
  ['PODSEAL_HOOK_HTTP', 'https://127.0.0.1:8443/load', /is not http/],
  ['PODSEAL_HOOK_HTTP', 'http://admin:secret@127.0.0.1/load', /has a user in it/],
  ['PODSEAL_HOOK_HTTP', 'http://admin@127.0.0.1/load', /has a user in it/],
  ['PODSEAL_HOOK_HTTP', 'http://web.shop.svc/load', /does not call localhost/],
  ['PODSEAL_HOOK_HTTP', 'http://10.0.0.7/load', /does not call localhost/],
  ['PODSEAL_HOOK_HTTP', 'http://127.0.0.1.example.com/load', /does not call localhost/],
  ['PODSEAL_HOOK_HTTP', 'http://[::ffff:127.0.0.1]/load', /does not call localhost/],
  ['PODSEAL_HOOK_TIMEOUT', '0s', /"0s" is shorter than 1s/],
  ['PODSEAL_PROBE', '8443', /"8443" is not an address and a port, like 127\.0\.0\.1:8443/],
  ['PODSEAL_PROBE', '127.0.0.1:0', /is not an address and a port/],
  ['PODSEAL_PROBE', '127.0.0.1:65536', /is not an address and a port/],
  ['PODSEAL_PROBE', '10.0.0.8:8443', /is neither a loopback address nor one of the pod/],
  ['PODSEAL_PROBE', 'web.shop.svc:8443', /is neither a loopback address nor one of the pod/],
  ['PODSEAL_SERVICE_ACCOUNT_DIR', 'token', /is not an absolute path/],
  ['PODSEAL_LISTEN', '9809', /"9809" is not an address like :9809/],
  ['PODSEAL_LISTEN', ':65536', /is not an address/],
  ['PODSEAL_LISTEN', 'localhost:9809', /is not an address/],
  ['PODSEAL_LOG_LEVEL', 'trace', /"trace" is none of debug, info, warn, error/],
  ['POD_NAMESPACE', 'Shop', /"Shop" is not a DNS label/],
  ['POD_IPS', '10.0.0.7,nowhere', /"nowhere": it is not an IPv4 or IPv6 address/],
  ['POD_HOSTNAME', 'web_0', /"web_0" is not a DNS label/],
  ['POD_SUBDOMAIN', 'web.db', /"web\.db" is not a DNS label/],
];

describe('readSettings()', () => {
  test('gives the defaults of every setting', () => {
    const { agent, pod: facts, naming, ...others } = read();
    assert.deepEqual(agent, {
      podUid: pod.POD_UID,
      signerName: 'podseal.dev/serving',
      keyAlgorithm: 'ECDSAP256',
      lifetimeMs: 86_400_000,
      timeoutMs: 900_000,
      withCommonName: false,
      payload: { keyMode: 0o400, formats: [], storePassword: '' },
    });
    assert.deepEqual(facts, {
      name: 'web-0',
      namespace: 'shop',
      uid: pod.POD_UID,
      serviceAccount: 'web',
      ipAddresses: ['10.0.0.7', 'fd00::7'],
      hostname: undefined,
      subdomain: undefined,
    });
    assert.equal(naming.clusterDomain, 'cluster.local');
    assert.equal(naming.trustDomain, 'cluster.local');
    assert.equal(others.services, undefined);
    assert.equal(others.directory, '/var/run/podseal');
    assert.deepEqual(others.listen, { host: undefined, port: 9809 });
    assert.equal(others.logLevel, 'info');
    assert.deepEqual(others.warnings, []);
  });

  for (const [name, value, why] of malformed)
    test(`refuses ${name}=${value} with the reason`, () => {
      const error = refused({ [name]: value });
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.match(error.message, why);
      assert.ok(error.message.includes(name), error.message);
      assert.ok(error.hint);
    });

  test('reads how the application is told, in the ways in which people write it', () => {
    const telling = (environment: NodeJS.ProcessEnv) => read(environment).telling;
    assert.deepEqual(telling({}), {
      signal: undefined,
      http: undefined,
      hookTimeoutMs: 10_000,
      probe: undefined,
    });
    for (const [text, processName, signal] of [
      ['nginx:HUP', 'nginx', 'HUP'],
      ['haproxy:sigusr2', 'haproxy', 'USR2'],
      ['a:b c:TERM', 'a:b c', 'TERM'],
    ] as const)
      assert.deepEqual(telling({ PODSEAL_HOOK_SIGNAL: text }).signal, { processName, signal });
    for (const [text, method, url] of [
      ['http://127.0.0.1:2019/load', 'POST', 'http://127.0.0.1:2019/load'],
      ['get http://LOCALHOST/-/reload?all=1#x', 'GET', 'http://localhost/-/reload?all=1'],
      ['PUT  http://[::1]:9000', 'PUT', 'http://[::1]:9000/'],
      ['http://127.1/', 'POST', 'http://127.0.0.1/'],
    ] as const)
      assert.deepEqual(telling({ PODSEAL_HOOK_HTTP: text }).http, { method, url });
    for (const [text, host, port] of [
      ['127.0.0.1:8443', '127.0.0.1', 8443],
      ['localhost:443', 'localhost', 443],
      ['[::1]:8443', '::1', 8443],
      ['10.0.0.7:8443', '10.0.0.7', 8443],
      ['[fd00:0::7]:8443', 'fd00:0::7', 8443],
    ] as const)
      assert.deepEqual(telling({ PODSEAL_PROBE: text }).probe, { host, port });
  });

  test('a secret in a URL is not repeated', () => {
    const { message } = refused({ PODSEAL_HOOK_HTTP: 'http://admin:secret@127.0.0.1/load' });
    assert.doesNotMatch(message, /secret@/);
  });

  test('refuses a wildcard as cluster domain', () => {
    const { message } = refused({
      PODSEAL_CLUSTER_DOMAIN: '*.local',
      PODSEAL_TRUST_DOMAIN: 'example.com',
    });
    assert.match(message, /PODSEAL_CLUSTER_DOMAIN: "\*\.local"/);
  });

  test('names every problem at once', () => {
    const one = new Map(malformed.map(([name, value]) => [name, value]));
    one.delete('PODSEAL_STORE_PASSWORD_FILE');
    const { code, message } = refused({ ...Object.fromEntries(one), POD_UID: '' });
    assert.equal(code, 'CONFIG_INVALID');
    for (const name of one.keys()) assert.ok(message.includes(name), `${name} is not named`);
    assert.match(message, /POD_UID is not set \(downward API: metadata\.uid\)/);
  });

  test('says which facts of the pod are missing, and where they come from', () => {
    const { code, message } = refused({
      POD_NAME: undefined,
      POD_NAMESPACE: '',
      POD_UID: ' ',
      SERVICE_ACCOUNT: undefined,
    });
    assert.equal(code, 'IDENTITY_INCOMPLETE');
    for (const path of [
      'metadata.name',
      'metadata.namespace',
      'metadata.uid',
      'spec.serviceAccountName',
    ])
      assert.ok(message.includes(`(downward API: ${path})`), message);
  });

  for (const namespace of ['svc', 'cluster', 'local'])
    test(`refuses short forms in namespace ${namespace}`, () => {
      const { message } = refused({ POD_NAMESPACE: namespace, PODSEAL_NAME_FORMS: 'svc.ns' });
      assert.match(message, /would read as names of other namespaces/);
      assert.deepEqual(read({ POD_NAMESPACE: namespace, PODSEAL_NAME_FORMS: 'pod' }).naming.forms, [
        'pod',
      ]);
    });

  for (const [what, environment, resolvConf, expected] of [
    [
      'the setting',
      { PODSEAL_CLUSTER_DOMAIN: 'Corp.Example' },
      'search shop.svc.lan\n',
      'corp.example',
    ],
    ['resolv.conf', {}, 'search shop.svc.lan\n', 'lan'],
    ['neither', {}, 'search lan\n', 'cluster.local'],
  ] as const)
    test(`takes the cluster domain from ${what}, and the trust domain with it`, () => {
      const { naming } = read(environment, { ...noFiles, resolvConf });
      assert.equal(naming.clusterDomain, expected);
      assert.equal(naming.trustDomain, expected);
    });

  test('takes hostname and subdomain from the environment before /etc/hosts', () => {
    const hosts = '10.0.0.7\tweb-0.web.shop.svc.cluster.local\tweb-0\n';
    const fromFile = read({}, { ...noFiles, hosts }).pod;
    assert.deepEqual([fromFile.hostname, fromFile.subdomain], ['web-0', 'web']);
    const given = read({ POD_HOSTNAME: 'db-0', POD_SUBDOMAIN: 'db' }, { ...noFiles, hosts }).pod;
    assert.deepEqual([given.hostname, given.subdomain], ['db-0', 'db']);
  });

  test('leaves out the addresses of the node', () => {
    const { pod: facts } = read({
      POD_IPS: '192.168.1.5',
      HOST_IPS: '192.168.1.5',
      POD_IP: '192.168.1.5',
    });
    assert.deepEqual(facts.ipAddresses, []);
  });

  test('writes addresses canonically, each once', () => {
    const { pod: facts } = read({ POD_IPS: '10.0.0.7, FD00:0::7', POD_IP: '10.0.0.7' });
    assert.deepEqual(facts.ipAddresses, ['10.0.0.7', 'fd00::7']);
  });

  test('tells no Service apart from no setting', () => {
    assert.deepEqual(read({ PODSEAL_SERVICES: '' }).services, []);
    assert.deepEqual(read({ PODSEAL_SERVICES: ' web , db,' }).services, ['web', 'db']);
  });

  test('lowers extra names and takes algorithms and levels in any case', () => {
    const settings = read({
      PODSEAL_DNS_NAMES: 'Shop.Example.com',
      PODSEAL_KEY_ALGORITHM: 'ed25519',
      PODSEAL_LOG_LEVEL: 'WARN',
      PODSEAL_LISTEN: 'off',
      PODSEAL_COMMON_NAME: 'TRUE',
    });
    assert.deepEqual(settings.naming.extraDnsNames, ['shop.example.com']);
    assert.equal(settings.agent.keyAlgorithm, 'ED25519');
    assert.equal(settings.logLevel, 'warn');
    assert.equal(settings.listen, undefined);
    assert.equal(settings.agent.withCommonName, true);
  });

  for (const [text, expected] of [
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['[::1]:9809', { host: '::1', port: 9809 }],
  ] as const)
    test(`reads the listen address ${text}`, () => {
      assert.deepEqual(read({ PODSEAL_LISTEN: text }).listen, expected);
    });

  test('reads the password of the stores from its file', (t) => {
    const path = join(temporaryDirectory(t), 'password');
    const environment = { PODSEAL_FORMATS: 'pkcs12,combined', PODSEAL_STORE_PASSWORD_FILE: path };
    assert.match(refused(environment).message, /cannot be read or holds fewer than 6 characters/);
    writeFileSync(path, 'short');
    assert.match(refused(environment).message, /fewer than 6 characters/);
    writeFileSync(path, 'change it\n');
    const { payload } = read(environment).agent;
    assert.deepEqual(payload, {
      keyMode: 0o400,
      formats: ['combined', 'pkcs12'],
      storePassword: 'change it',
    });
  });

  test('warns about settings that it does not know', () => {
    assert.deepEqual(read({ PODSEAL_LIFETIMES: '1h' }).warnings, [
      'PODSEAL_LIFETIMES is not a setting; did you mean PODSEAL_LIFETIME?',
    ]);
  });
});

/** What Kubernetes sets for Services called `podseal` and `podseal-...`, with a named port too. */
const serviceLinks = (service: string): readonly string[] => {
  const prefix = service.toUpperCase().replaceAll('-', '_');
  return [
    ...['_SERVICE_HOST', '_SERVICE_PORT', '_SERVICE_PORT_HTTPS', '_SERVICE_PORT_WEB_2', '_PORT'],
    ...['TCP', 'UDP', 'SCTP'].flatMap((protocol) =>
      ['', '_PROTO', '_PORT', '_ADDR'].map((part) => `_PORT_443_${protocol}${part}`),
    ),
  ].map((suffix) => prefix + suffix);
};

const settingNames = Object.keys(agentSettings);

describe('unknownSettings()', () => {
  test('is silent about the links to Services', () => {
    const names = ['podseal', 'podseal-injector', 'podseal-2'].flatMap(serviceLinks);
    const environment = Object.fromEntries(names.map((name) => [name, 'x']));
    assert.deepEqual(unknownSettings(environment, settingNames), []);
  });

  test('is silent about settings and foreign variables', () => {
    const names = [...settingNames, 'PATH', 'MY_PODSEAL_DIR'];
    assert.deepEqual(
      unknownSettings(Object.fromEntries(names.map((name) => [name, 'x'])), settingNames),
      [],
    );
  });

  test('names the nearest setting for each unknown one, in order', () => {
    assert.deepEqual(
      unknownSettings({ PODSEAL_TRUSTFILE: 'x', PODSEAL_DNS_NAME: 'x' }, settingNames),
      [
        'PODSEAL_DNS_NAME is not a setting; did you mean PODSEAL_DNS_NAMES?',
        'PODSEAL_TRUSTFILE is not a setting; did you mean PODSEAL_TRUST_FILES?',
      ],
    );
  });

  test('would warn about every setting that is misspelt, because none looks like a link', () => {
    for (const name of settingNames) {
      const [warning] = unknownSettings({ [`${name}X`]: 'x' }, settingNames);
      assert.equal(warning, `${name}X is not a setting; did you mean ${name}?`);
      assert.ok(!/_SERVICE_(HOST|PORT)|_PORT(_\d+_|$)/.test(name), name);
    }
  });
});
