import { defaultPolicy } from '../../src/approver/policy.ts';
import { nameForms } from '../../src/identity/wanted-names.ts';
import { keyAlgorithms } from '../../src/pki/key-pair.ts';
import { type Dice } from './dice.ts';
import { type World, type WorldAllowance, type WorldPod, type WorldService } from './world.ts';

/** Few words, so that things meet by chance: a hostname is a Service's name, a namespace a label of the domain. */
export const words = {
  namespaces: ['shop', 'shop', 'shop', 'prod', 'evil', 'svc', 'cluster', 'local', 'com', 'pod'],
  services: [
    'web',
    'web',
    'api',
    'db',
    'prod',
    'payments',
    'shop',
    'svc',
    '3scale',
    '12',
    'a'.repeat(63),
  ],
  accounts: ['web', 'db', 'default', 'web.v2'],
  domains: ['cluster.local', 'cluster.local', 'k8s.example'],
  suffixes: ['example.com', 'shop.example.com', 'corp.example'],
  podIPs: ['10.1.0.7', '10.1.0.8', '10.1.1.9', 'fd00:1::7', 'fd00:1:0:1::9', '2001:db8::'],
  clusterIPs: ['10.96.0.5', '10.96.0.6', '10.96.0.7', 'fd00:96::5', 'fd00:96::6'],
  foreignClusterIPs: ['10.96.0.1', '10.96.0.20', 'fd00:96::1'],
  nodeIPs: ['192.0.2.1', '192.0.2.2', '2001:db8:1::1'],
  otherIPs: [
    '127.0.0.1',
    '::1',
    '169.254.169.254',
    'fe80::1',
    '224.0.0.1',
    'ff02::1',
    '0.0.0.0',
    '::',
    '255.255.255.255',
    '8.8.8.8',
    '198.51.100.7',
    '10.96.9.9',
    '::ffff:10.1.0.7',
  ],
} as const;

const labels = {
  app: ['web', 'api', 'db'],
  tier: ['front', 'back'],
  role: ['leader', ''],
} as const;

/** A cluster at one moment, a pod of it and its token; now and then one of them is not as it should be. */
export function makeWorld(dice: Dice): World {
  const clusterDomain = dice.pick(words.domains);
  const trustDomain = dice.chance(90) ? clusterDomain : 'prod.example';
  const pod = makePod(dice);
  const services = makeServices(dice);
  const owned = services.flatMap(({ name, clusterIPs }) =>
    clusterIPs.map((ip) => [ip, `${pod.namespace}/${name}`] as const),
  );
  const foreign = words.foreignClusterIPs.map((ip) => [ip, 'elsewhere/other'] as const);
  return {
    usages: makeUsages(dice),
    expirationSeconds: dice.chance(85)
      ? dice.pick([null, 600, 3600, 3600])
      : dice.pick([3601, 86_400, 86_401, 7_776_000, 7_776_001]),
    ...makeToken(dice, pod),
    pod: dice.chance(98) ? pod : null,
    services,
    nodes: [
      {
        name: 'node-a',
        addresses: ['192.0.2.1', '2001:db8:1::1'],
        podCIDRs: dice.chance(80) ? ['10.1.0.0/24', 'fd00:1::/64'] : [],
      },
      {
        name: 'node-b',
        // A bad node says what it likes.
        addresses: ['192.0.2.2', ...(dice.chance(10) ? ['192.0.2.1', '10.1.0.7'] : [])],
        podCIDRs: ['10.1.1.0/24', 'fd00:1:0:1::/64', ...(dice.chance(10) ? ['10.1.0.0/16'] : [])],
      },
    ],
    clusterIPs: Object.fromEntries(dice.chance(80) ? [...foreign, ...owned] : owned),
    serviceCIDRs: dice.chance(80) ? ['10.96.0.0/12', 'fd00:96::/108'] : [],
    policy: makePolicy(dice, pod.namespace),
    ca: dice.chance(70) ? null : { dns: ['svc', clusterDomain], uri: [trustDomain] },
    clusterDomain,
    trustDomain,
  };
}

function makePod(dice: Dice): WorldPod {
  const hostNetwork = dice.chance(8);
  const hasRecord = dice.chance(40);
  const wrong = (percent: number): boolean => dice.chance(percent);
  return {
    namespace: dice.pick(words.namespaces),
    name: 'web-0',
    uid: 'uid-of-web-0',
    serviceAccount: dice.pick(words.accounts),
    nodeName: wrong(1) ? '' : 'node-a',
    phase: wrong(2)
      ? dice.pick(['Succeeded', 'Failed', 'Unknown', ''])
      : dice.pick(['Running', 'Pending']),
    terminating: wrong(1),
    mirror: wrong(1),
    hostNetwork,
    ips: hostNetwork
      ? dice.some(
          wrong(10) ? words.podIPs : wrong(10) ? ['192.0.2.2'] : ['192.0.2.1', '2001:db8:1::1'],
          2,
        )
      : wrong(10)
        ? dice.some(
            [
              ...words.foreignClusterIPs,
              ...words.nodeIPs,
              ...words.otherIPs.slice(0, -1),
              ...words.clusterIPs,
            ],
            2,
          )
        : dice.some(words.podIPs, 2),
    hostname: hasRecord ? dice.pick(['web-0', 'payments', 'web', 'x']) : '',
    subdomain: hasRecord || dice.chance(10) ? dice.pick(words.services) : '',
    labels: makeLabels(dice),
  };
}

function makeLabels(dice: Dice): Record<string, string> {
  return Object.fromEntries(
    dice.some(Object.entries(labels), 3).map(([key, values]) => [key, dice.pick<string>(values)]),
  );
}

function makeServices(dice: Dice): WorldService[] {
  const names = new Set(dice.some(words.services, 5));
  const free: string[] = [...words.clusterIPs];
  return [...names].map((name) => {
    const headless = dice.chance(40);
    return {
      name,
      selector: makeLabels(dice),
      clusterIPs: headless
        ? []
        : dice
            .some(free, 2)
            .map((ip) => free.splice(free.indexOf(ip), 1))
            .flat(),
      headless,
      externalName: dice.chance(6),
      deleting: dice.chance(6),
    };
  });
}

function makeToken(dice: Dice, pod: WorldPod): Pick<World, 'username' | 'extra'> {
  const claims = new Map([
    ['pod-name', [pod.name]],
    ['pod-uid', [dice.chance(99) ? pod.uid : 'uid-of-another']],
    ['node-name', dice.chance(99) ? ['node-a'] : ['node-b']],
    ['credential-id', ['JTI=8a3f']],
  ]);
  if (dice.chance(10)) claims.delete('node-name');
  if (dice.chance(2)) claims.delete(dice.pick([...claims.keys()]));
  if (dice.chance(2)) {
    const [name, values] = dice.pick([...claims]);
    claims.set(name, dice.pick([[], [...values, 'x'], ['']]));
  }
  const account = dice.chance(99) ? pod.serviceAccount : dice.pick(words.accounts);
  const username = dice.chance(98)
    ? `system:serviceaccount:${pod.namespace}:${account}`
    : dice.pick([
        'system:node:node-a',
        'admin',
        `system:serviceaccount:${pod.namespace}`,
        'system:serviceaccount::web',
        `system:serviceaccount:${pod.namespace}:web:x`,
      ]);
  return {
    username,
    extra: Object.fromEntries(
      [...claims].map(([name, values]) => [`authentication.kubernetes.io/${name}`, values]),
    ),
  };
}

function makeUsages(dice: Dice): string[] {
  const purposes = dice.chance(97)
    ? dice.pick([['server auth'], ['client auth'], ['server auth', 'client auth']])
    : [];
  return [
    ...(dice.chance(70) ? ['digital signature'] : []),
    ...(dice.chance(4) ? ['key encipherment'] : []),
    ...purposes,
    ...(dice.chance(2) ? [dice.pick(['cert sign', 'any', 'code signing', 'signing'])] : []),
  ];
}

function makePolicy(dice: Dice, namespace: string): World['policy'] {
  const { defaults } = defaultPolicy;
  const names = dice.pick([
    [namespace],
    ['*'],
    [`${namespace.slice(0, 2)}*`],
    ['other'],
    ['*o*', namespace],
  ]);
  return {
    defaults: {
      ...defaults,
      extraAddresses: [],
      maximumSeconds: 7_776_000,
      ...(dice.chance(20) ? makeChanges(dice) : {}),
    },
    namespaces: Array.from({ length: dice.below(3) }, () => ({
      names,
      changes: makeChanges(dice),
    })),
    maximumNames: dice.chance(95) ? 250 : 3,
  };
}

function makeChanges(dice: Dice): Partial<WorldAllowance> {
  const all: WorldAllowance = {
    nameForms: dice.some(nameForms, 3),
    dnsSuffixes: dice.some(words.suffixes, 2),
    wildcards: dice.chance(50),
    extraAddresses: dice.some(
      ['198.51.100.0/24', '8.8.8.8/32', '10.0.0.0/8', 'fd00::/16', '192.0.2.0/24'],
      2,
    ),
    addresses: dice.pick(['podIPs', 'podCIDRs', 'none']),
    hostNetwork: dice.chance(70),
    keyAlgorithms: dice.chance(80) ? keyAlgorithms : dice.some(keyAlgorithms, 5),
    usages: dice.chance(80)
      ? defaultPolicy.defaults.usages
      : dice.some(defaultPolicy.defaults.usages, 4),
    maximumSeconds: dice.pick([3600, 86_400, 7_776_000, 7_776_000]),
    services: dice.some(words.services, 4).map((name) => ({
      name,
      serviceAccounts: dice.some(words.accounts, 3),
      whileUnselected: dice.chance(50),
    })),
  };
  const chosen = dice.some(Object.keys(all), 5);
  return Object.fromEntries(Object.entries(all).filter(([key]) => chosen.includes(key)));
}
