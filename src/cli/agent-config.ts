import { isAbsolute, resolve, sep } from 'node:path';
import { type TellingSettings } from '../agent/telling.ts';
import { type AgentConfig } from '../agent/world.ts';
import { PodsealError } from '../errors.ts';
import { dnsNameProblem, isDnsLabel } from '../identity/dns-name.ts';
import { readIpAddress } from '../identity/ip-address.ts';
import { clusterDomainOf, hostAndSubdomainOf } from '../identity/pod-files.ts';
import {
  nameForms,
  shortFormsAreSafe,
  type NamingSettings,
  type Pod,
} from '../identity/wanted-names.ts';
import { readText } from '../node/pod-files.ts';
import { keyAlgorithms } from '../pki/key-pair.ts';
import { type ListenAddress } from '../runtime/web.ts';
import { logLevels, type LogLevel } from '../telemetry/log.ts';
import { volumeFormats } from '../volume/payload.ts';
import { settingsReader, type SettingsReader as ReaderOf } from './read-settings.ts';
import {
  absolutePath,
  clusterDomainProblem,
  durationFrom,
  listenAddress,
  signerName,
  trustDomainProblem,
} from './setting-values.ts';
import { agentSettings, podFacts, type SettingName, unknownSettings } from './settings.ts';
import { readTelling } from './telling-settings.ts';

type SettingsReader = ReaderOf<SettingName>;

/** Everything that the environment says, checked. */
export interface Settings {
  readonly agent: AgentConfig;
  readonly pod: Pod;
  readonly naming: NamingSettings;
  /** PODSEAL_SERVICES; undefined when it is not set. */
  readonly services: readonly string[] | undefined;
  readonly servicesFile: string | undefined;
  readonly podInfoDirectory: string;
  readonly trustFiles: readonly string[];
  readonly directory: string;
  readonly telling: TellingSettings;
  readonly serviceAccountDirectory: string;
  readonly kubeconfig: string | undefined;
  /** Undefined: off. */
  readonly listen: ListenAddress | undefined;
  readonly logLevel: LogLevel;
  readonly warnings: readonly string[];
}

/** What commands need of the settings: `names` and `inspect` do without an API server. */
export interface SystemFiles {
  readonly hosts: string | undefined;
  readonly resolvConf: string | undefined;
}

export function systemFiles(): SystemFiles {
  return { hosts: readText('/etc/hosts'), resolvConf: readText('/etc/resolv.conf') };
}

/** Throws CONFIG_INVALID or IDENTITY_INCOMPLETE with every problem, one per line. */
export function readSettings(environment: NodeJS.ProcessEnv, files: SystemFiles): Settings {
  const reader = settingsReader(environment, agentSettings);
  const settings = collect(reader, environment, files);
  const missing = podFacts
    .filter((fact) => fact.needed && reader.text(fact.name) === undefined)
    .map((fact) => `${fact.name} is not set (downward API: ${fact.fieldPath})`);
  refuse([...reader.problems, ...missing], missing.length > 0 && reader.problems.length === 0);
  return settings;
}

/** What is wrong with settings of an agent that is yet to be: facts about its pod are not looked for. */
export function agentSettingProblems(
  environment: Readonly<Record<string, string>>,
): readonly string[] {
  const reader = settingsReader(environment, agentSettings);
  collect(reader, environment, { hosts: undefined, resolvConf: undefined });
  return reader.problems;
}

/** The settings; after a problem, which the reader keeps, with the fallback. */
function collect(
  reader: SettingsReader,
  environment: NodeJS.ProcessEnv,
  files: SystemFiles,
): Settings {
  const pod = readPod(reader, files);
  const naming = readNaming(reader, pod, files);
  const directory = reader.read('PODSEAL_DIR', absolutePath);
  return {
    agent: readAgent(reader, pod.uid),
    pod,
    naming,
    services: readServiceNames(reader),
    servicesFile: reader.text('PODSEAL_SERVICES_FILE'),
    podInfoDirectory: reader.read('PODSEAL_POD_INFO_DIR', absolutePath),
    trustFiles: readTrustPaths(reader, directory),
    directory,
    telling: readTelling(reader, pod.ipAddresses),
    serviceAccountDirectory: reader.read('PODSEAL_SERVICE_ACCOUNT_DIR', absolutePath),
    kubeconfig: reader.text('KUBECONFIG'),
    listen: reader.read('PODSEAL_LISTEN', listenAddress),
    logLevel: reader.oneOf('PODSEAL_LOG_LEVEL', logLevels),
    warnings: unknownSettings(environment, Object.keys(agentSettings)),
  };
}

/** The volume's directory alone, for `podseal inspect`. */
export function readDirectory(environment: NodeJS.ProcessEnv): string {
  const reader = settingsReader(environment, agentSettings);
  const directory = reader.read('PODSEAL_DIR', absolutePath);
  refuse(reader.problems, false);
  return directory;
}

function refuse(problems: readonly string[], isIdentity: boolean): void {
  if (problems.length === 0) return;
  const [first = '', ...more] = problems;
  const list =
    more.length === 0 ? first : `${problems.length} problems\n  ${problems.join('\n  ')}`;
  if (isIdentity)
    throw new PodsealError('IDENTITY_INCOMPLETE', `Cannot tell who the pod is: ${list}`, {
      hint: 'Add env entries with valueFrom.fieldRef.fieldPath to the container; examples/by-hand/pod.yaml has them all.',
    });
  throw new PodsealError('CONFIG_INVALID', `Cannot use the settings: ${list}`, {
    hint: 'podseal help settings lists every setting.',
  });
}

function readAgent(reader: SettingsReader, podUid: string): AgentConfig {
  const formats = reader.someOf('PODSEAL_FORMATS', volumeFormats);
  return {
    podUid,
    signerName: reader.read('PODSEAL_SIGNER_NAME', signerName),
    keyAlgorithm: reader.oneOf('PODSEAL_KEY_ALGORITHM', keyAlgorithms),
    lifetimeMs: reader.read('PODSEAL_LIFETIME', durationFrom('10m')),
    timeoutMs: reader.read('PODSEAL_TIMEOUT', durationFrom('1s')),
    withCommonName: reader.flag('PODSEAL_COMMON_NAME'),
    payload: {
      keyMode: reader.read('PODSEAL_KEY_MODE', keyMode),
      formats,
      storePassword: readStorePassword(reader, formats.includes('pkcs12')),
    },
  };
}

function keyMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new Error('is not an octal mode like 0400, 0440 or 0444');
  const mode = parseInt(text, 8);
  if ((mode & 0o400) === 0) throw new Error('does not let the owner read');
  if ((mode & 0o333) !== 0)
    throw new Error('lets somebody write or execute; only read bits are useful');
  return mode;
}

function readStorePassword(reader: SettingsReader, isNeeded: boolean): string {
  const name: SettingName = 'PODSEAL_STORE_PASSWORD_FILE';
  const path = reader.text(name);
  if (isNeeded && path === undefined)
    reader.problems.push(`${name} is not set, and PODSEAL_FORMATS asks for pkcs12`);
  if (!isNeeded && path !== undefined)
    reader.problems.push(`${name} is set, and PODSEAL_FORMATS does not ask for pkcs12`);
  if (!isNeeded || path === undefined) return '';
  const password = readText(path)?.replace(/\r?\n$/, '');
  if (password === undefined || password.length < 6)
    reader.problems.push(
      `${name}: ${JSON.stringify(path)} cannot be read or holds fewer than 6 characters (Java's minimum)`,
    );
  return password ?? '';
}

function readServiceNames(reader: SettingsReader): readonly string[] | undefined {
  const names = reader.list('PODSEAL_SERVICES');
  for (const name of names ?? [])
    if (!isDnsLabel(name))
      reader.problems.push(
        `PODSEAL_SERVICES: ${JSON.stringify(name)} is not the name of a Service in the pod's own namespace`,
      );
  return names;
}

function readTrustPaths(reader: SettingsReader, directory: string): readonly string[] {
  const name: SettingName = 'PODSEAL_TRUST_FILES';
  const paths = reader.read(name, (text) =>
    text
      .split(',')
      .map((path) => path.trim())
      .filter((path) => path !== ''),
  );
  for (const path of paths) {
    if (!isAbsolute(path))
      reader.problems.push(`${name}: ${JSON.stringify(path)} is not an absolute path`);
    if (resolve(path).startsWith(directory + sep))
      reader.problems.push(
        `${name}: ${JSON.stringify(path)} is inside PODSEAL_DIR, which Podseal writes itself`,
      );
  }
  return paths;
}

function readPod(reader: SettingsReader, files: SystemFiles): Pod {
  const fact = (name: (typeof podFacts)[number]['name']): string | undefined => reader.text(name);
  const namespace = fact('POD_NAMESPACE') ?? '';
  const fromHosts =
    files.hosts === undefined ? undefined : hostAndSubdomainOf(files.hosts, namespace);
  const label = (name: 'POD_HOSTNAME' | 'POD_SUBDOMAIN' | 'POD_NAMESPACE', value?: string) => {
    if (value !== undefined && !isDnsLabel(value))
      reader.problems.push(`${name}: ${JSON.stringify(value)} is not a DNS label`);
    return value;
  };
  label('POD_NAMESPACE', fact('POD_NAMESPACE'));
  return {
    name: fact('POD_NAME') ?? '',
    namespace,
    uid: fact('POD_UID') ?? '',
    serviceAccount: fact('SERVICE_ACCOUNT') ?? '',
    ipAddresses: podAddresses(reader),
    hostname: label('POD_HOSTNAME', fact('POD_HOSTNAME') ?? fromHosts?.hostname),
    subdomain: label('POD_SUBDOMAIN', fact('POD_SUBDOMAIN') ?? fromHosts?.subdomain),
  };
}

/** Dual stack from POD_IPS; a hostNetwork pod's addresses are its node's and are left out. */
function podAddresses(reader: SettingsReader): readonly string[] {
  const addresses = (name: 'POD_IP' | 'POD_IPS' | 'HOST_IPS'): string[] =>
    (reader.text(name) ?? '')
      .split(',')
      .filter((text) => text !== '')
      .flatMap((text) => {
        const read = readIpAddress(text.trim());
        if ('address' in read) return [read.address];
        reader.problems.push(`${name}: ${JSON.stringify(text)}: ${read.problem}`);
        return [];
      });
  const hosts = addresses('HOST_IPS');
  const all = new Set([...addresses('POD_IPS'), ...addresses('POD_IP')]);
  return [...all].filter((address) => !hosts.includes(address));
}

function readClusterDomain(reader: SettingsReader, pod: Pod, files: SystemFiles): string {
  const found =
    files.resolvConf === undefined ? undefined : clusterDomainOf(files.resolvConf, pod.namespace);
  const domain = (reader.text('PODSEAL_CLUSTER_DOMAIN') ?? found ?? 'cluster.local').toLowerCase();
  const problem = clusterDomainProblem(domain);
  if (problem !== undefined)
    reader.problems.push(`PODSEAL_CLUSTER_DOMAIN: ${JSON.stringify(domain)}: ${problem}`);
  return domain;
}

function readTrustDomain(reader: SettingsReader, clusterDomain: string): string {
  const given = reader.text('PODSEAL_TRUST_DOMAIN');
  const problem = trustDomainProblem(given ?? clusterDomain);
  if (given !== undefined && problem !== undefined)
    reader.problems.push(`PODSEAL_TRUST_DOMAIN: ${JSON.stringify(given)} ${problem}`);
  return given ?? clusterDomain;
}

function readNaming(reader: SettingsReader, pod: Pod, files: SystemFiles): NamingSettings {
  const clusterDomain = readClusterDomain(reader, pod, files);
  const trustDomain = readTrustDomain(reader, clusterDomain);
  const forms = reader.someOf('PODSEAL_NAME_FORMS', nameForms);
  const asksShort = forms.includes('svc') || forms.includes('svc.ns');
  if (asksShort && !shortFormsAreSafe(pod.namespace, clusterDomain))
    reader.problems.push(
      `PODSEAL_NAME_FORMS: short forms in namespace ${JSON.stringify(pod.namespace)} would read as names of other namespaces`,
    );
  return {
    clusterDomain,
    trustDomain,
    forms,
    extraDnsNames: extraDnsNames(reader),
    extraIpAddresses: extraIpAddresses(reader),
  };
}

function extraDnsNames(reader: SettingsReader): readonly string[] {
  return (reader.list('PODSEAL_DNS_NAMES') ?? []).map((given) => {
    const name = given.toLowerCase();
    const problem = dnsNameProblem(name);
    if (problem !== undefined)
      reader.problems.push(`PODSEAL_DNS_NAMES: ${JSON.stringify(given)}: ${problem}`);
    return name;
  });
}

function extraIpAddresses(reader: SettingsReader): readonly string[] {
  return (reader.list('PODSEAL_IP_ADDRESSES') ?? []).flatMap((given) => {
    const read = readIpAddress(given);
    if ('address' in read) return [read.address];
    reader.problems.push(`PODSEAL_IP_ADDRESSES: ${JSON.stringify(given)}: ${read.problem}`);
    return [];
  });
}
