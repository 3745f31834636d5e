import { nearest } from '../runtime/nearest.ts';
import { withoutEndSlashes } from './mount-path.ts';
import { isObjectName } from './object-name.ts';
import { type Resources } from './pod-object.ts';

/** What a pod's annotations `podseal.dev/...` ask for. */
export interface Wishes {
  /** Settings of the agent, by their names: PODSEAL_LIFETIME and so on. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the application's containers find the files. */
  readonly directory: string;
  /** The containers that get the files; undefined: all. */
  readonly containers: ReadonlySet<string> | undefined;
  /** Where the agent serves probes. */
  readonly port: number;
  readonly portIsGiven: boolean;
  /** Undefined: the narrowest that works. */
  readonly keyMode: string | undefined;
  readonly resources: Resources | undefined;
  readonly image: string | undefined;
  /** The Secret with the password of PKCS#12 files. */
  readonly storePassword: ObjectKey | undefined;
  /** A ConfigMap of the pod's namespace with other roots than Podseal's. */
  readonly trust: ObjectKey | undefined;
  readonly sendsSignal: boolean;
  /** Services that the pod waits for: the annotation `podseal.dev/services`. */
  readonly promisedServices: readonly string[];
}

/** One key of a Secret or ConfigMap in the pod's namespace. */
export interface ObjectKey {
  readonly name: string;
  readonly key: string;
}

/** Says what is wrong with the agent's settings, each problem with the name of its setting; empty: nothing. */
export type CheckSettings = (environment: Readonly<Record<string, string>>) => readonly string[];

export const annotationPrefix = 'podseal.dev/';
const agentPort = 9809;
/** A signing request, in which all names have to fit, has no more bytes (examples/admission/signing-requests.yaml). */
const longestValue = 16_384;
/** A longer name of an annotation is refused by the API server. */
const longestName = 63;
const mostSuggestions = 10;

/** Annotations that are settings of the agent. */
const settings: Readonly<Record<string, string>> = {
  'dns-names': 'PODSEAL_DNS_NAMES',
  'ip-addresses': 'PODSEAL_IP_ADDRESSES',
  'name-forms': 'PODSEAL_NAME_FORMS',
  'common-name': 'PODSEAL_COMMON_NAME',
  lifetime: 'PODSEAL_LIFETIME',
  'key-algorithm': 'PODSEAL_KEY_ALGORITHM',
  formats: 'PODSEAL_FORMATS',
  'signer-name': 'PODSEAL_SIGNER_NAME',
  timeout: 'PODSEAL_TIMEOUT',
  'hook-signal': 'PODSEAL_HOOK_SIGNAL',
  'hook-http': 'PODSEAL_HOOK_HTTP',
  'hook-timeout': 'PODSEAL_HOOK_TIMEOUT',
  probe: 'PODSEAL_PROBE',
  'log-level': 'PODSEAL_LOG_LEVEL',
};

/** Checked like settings; the agent reads them from the downward API, or they go elsewhere. */
const checkedOnly: Readonly<Record<string, string>> = {
  services: 'PODSEAL_SERVICES',
  'key-mode': 'PODSEAL_KEY_MODE',
};

const others = [
  'directory',
  'containers',
  'port',
  'resources',
  'image',
  'store-password-secret',
  'trust-config-map',
  'renew',
  'warnings',
] as const;

/** Every annotation without its prefix. docs/injection.md explains each, and a test compares. */
export const annotationNames: readonly string[] = [
  ...Object.keys(settings),
  ...Object.keys(checkedOnly),
  ...others,
];

/** What the annotations ask for, and what is wrong with them; what is wrong is left out of the wishes. */
export function readWishes(
  annotations: Readonly<Record<string, string>>,
  check: CheckSettings,
): { readonly wishes: Wishes; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const given = ours(annotations, problems);
  const read = <T>(name: (typeof others)[number], parse: (text: string) => T): T | undefined => {
    const text = given.get(name);
    if (text === undefined) return undefined;
    try {
      return parse(text.trim());
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      problems.push(`${annotationPrefix}${name}: ${JSON.stringify(text)} ${why}`);
      return undefined;
    }
  };
  const storePassword = read('store-password-secret', objectKey);
  const environment = environmentOf(given, settings);
  const { environment: sound, problems: wrong } = withoutProblems(
    { ...environment, ...environmentOf(given, checkedOnly) },
    (candidate) => check(withoutStores(candidate, storePassword)),
  );
  problems.push(...wrong);
  const asksForStores = (sound['PODSEAL_FORMATS'] ?? '').includes('pkcs12');
  if (storePassword && !asksForStores)
    problems.push(
      `${annotationPrefix}store-password-secret is set, and ${annotationPrefix}formats does not ask for pkcs12`,
    );
  const port = read('port', portNumber);
  const wishes: Wishes = {
    environment: Object.fromEntries(
      Object.entries(sound).filter(([name]) => Object.hasOwn(environment, name)),
    ),
    directory: read('directory', absoluteDirectory) ?? '/var/run/podseal',
    containers: read('containers', listOfNames),
    port: port ?? agentPort,
    portIsGiven: port !== undefined,
    keyMode: sound['PODSEAL_KEY_MODE'],
    resources: read('resources', resourcesFrom),
    image: read('image', imageFrom),
    storePassword: asksForStores ? storePassword : undefined,
    trust: read('trust-config-map', objectKey),
    sendsSignal: sound['PODSEAL_HOOK_SIGNAL'] !== undefined,
    promisedServices: listOf(sound['PODSEAL_SERVICES'] ?? ''),
  };
  return { wishes, problems };
}

/**
 * Our annotations without their prefix; one that we do not know, or that is too long, is a problem. Anybody
 * may have written them, and what they cost is bounded here.
 */
function ours(
  annotations: Readonly<Record<string, string>>,
  problems: string[],
): ReadonlyMap<string, string> {
  const all = Object.entries(annotations)
    .filter(([key]) => key.startsWith(annotationPrefix))
    .map(([key, value]) => [key.slice(annotationPrefix.length), value] as const);
  const known = all.filter(([name]) => annotationNames.includes(name));
  const isTooLong = (value: string): boolean => value.length > longestValue;
  const unknown = all.map(([name]) => name).filter((name) => !annotationNames.includes(name));
  problems.push(
    ...unknown.slice(0, mostSuggestions).map(suggestion),
    ...(unknown.length > mostSuggestions
      ? [
          `${unknown.length - mostSuggestions} more annotations ${annotationPrefix}... are none of Podseal`,
        ]
      : []),
    ...known
      .filter(([, value]) => isTooLong(value))
      .map(([name]) => `${annotationPrefix}${name} is longer than ${longestValue} characters`),
  );
  return new Map(known.filter(([, value]) => !isTooLong(value)));
}

function suggestion(name: string): string {
  const shown = name.slice(0, longestName);
  return `${annotationPrefix}${shown} is no annotation of Podseal; did you mean ${annotationPrefix}${nearest(shown, annotationNames)}?`;
}

function environmentOf(
  given: ReadonlyMap<string, string>,
  table: Readonly<Record<string, string>>,
): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, setting] of Object.entries(table)) {
    const value = given.get(name);
    if (value !== undefined) environment[setting] = value;
  }
  return environment;
}

/** The password is in a Secret that nobody can read yet: with one named, the stores need no check. */
function withoutStores(
  environment: Readonly<Record<string, string>>,
  storePassword: ObjectKey | undefined,
): Readonly<Record<string, string>> {
  const formats = environment['PODSEAL_FORMATS'];
  if (!storePassword || formats === undefined) return environment;
  const rest = formats.split(',').filter((each) => each.trim() !== 'pkcs12');
  return { ...environment, PODSEAL_FORMATS: rest.join(',') };
}

/** The settings that nothing is wrong with, and the problems of the others in the words of annotations. */
function withoutProblems(
  environment: Readonly<Record<string, string>>,
  check: CheckSettings,
): {
  readonly environment: Readonly<Record<string, string>>;
  readonly problems: readonly string[];
} {
  // Most pods say nothing: for them the check would be a good part of the answer's time.
  if (Object.keys(environment).length === 0) return { environment, problems: [] };
  const problems = check(environment);
  if (problems.length === 0) return { environment, problems };
  const names = Object.keys(environment);
  const sound = names.filter((name) => !problems.some((problem) => mentions(problem, name)));
  return {
    environment: Object.fromEntries(sound.map((name) => [name, environment[name] ?? ''])),
    problems: problems.map(inAnnotations),
  };
}

function mentions(problem: string, setting: string): boolean {
  return new RegExp(`\\b${setting}\\b`).test(problem);
}

/** `PODSEAL_LIFETIME: ...` as the author of a pod knows it: `podseal.dev/lifetime: ...`. */
function inAnnotations(problem: string): string {
  return problem.replace(/\bPODSEAL_[A-Z_]+\b/g, (setting) => {
    if (setting === 'PODSEAL_STORE_PASSWORD_FILE')
      return `${annotationPrefix}store-password-secret`;
    const all = [...Object.entries(settings), ...Object.entries(checkedOnly)];
    const [name] = all.find(([, each]) => each === setting) ?? [];
    return name === undefined ? setting : annotationPrefix + name;
  });
}

function objectKey(text: string): ObjectKey {
  const [name = '', key = '', ...more] = text.split('/');
  if (!isObjectName(name) || !/^[-._a-zA-Z0-9]{1,253}$/.test(key) || more.length > 0)
    throw new Error('is no name and key, like stores/password');
  return { name, key };
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1024 || port > 65535)
    throw new Error('is no port from 1024 to 65535');
  return port;
}

function absoluteDirectory(text: string): string {
  const path = withoutEndSlashes(text);
  const parts = path.split('/').slice(1);
  // The kubelet refuses a colon, and backsteps; the root would hide the image.
  const isClean = parts.every((part) => part !== '' && part !== '.' && part !== '..');
  if (!path.startsWith('/') || !isClean || path.includes(':'))
    throw new Error('is no absolute directory, like /etc/tls');
  return path;
}

function listOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function listOfNames(text: string): ReadonlySet<string> {
  const names = new Set(listOf(text));
  if (names.size === 0) throw new Error('is no list of containers, like web,migrate');
  return names;
}

function imageFrom(text: string): string {
  if (text === '' || /\s/.test(text)) throw new Error('is no name of an image');
  return text;
}

const quantity = /^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;

function resourcesFrom(text: string): Resources {
  const wrong = new Error('is no JSON like {"requests":{"cpu":"20m"},"limits":{"memory":"64Mi"}}');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong;
  }
  if (!isMap(value)) throw wrong;
  for (const [kind, amounts] of Object.entries(value)) {
    if (!['requests', 'limits'].includes(kind) || !isMap(amounts)) throw wrong;
    for (const amount of Object.values(amounts))
      if (typeof amount !== 'string' || !quantity.test(amount)) throw wrong;
  }
  return value;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
