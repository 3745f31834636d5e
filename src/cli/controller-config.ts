import { hostname } from 'node:os';
import { type ApproverConfig } from '../approver/world.ts';
import { type ReplicaConfig } from '../controller/replica.ts';
import { type AgentSettings } from '../injector/agent-container.ts';
import { type InjectorConfig } from '../injector/world.ts';
import { PodsealError } from '../errors.ts';
import { parseIpRange } from '../identity/ip-range.ts';
import { type ListenAddress } from '../runtime/web.ts';
import { type SignerConfig } from '../signer/world.ts';
import { logLevels, type LogLevel } from '../telemetry/log.ts';
import { defaultLifetimeMs } from '../vetting/asked.ts';
import {
  approverSettings,
  type CommonSettingName,
  type DomainSettingName,
  injectorSettings,
  type SharedSettingName,
  signerSettings,
} from './controller-settings.ts';
import { settingsReader, type SettingsReader } from './read-settings.ts';
import {
  absolutePath,
  clusterDomainProblem,
  durationFrom,
  listenAddress,
  signerName,
  trustDomainProblem,
} from './setting-values.ts';
import { unknownSettings } from './settings.ts';

/** What the environment says of a controller's surroundings, checked. */
export interface Surroundings {
  /** Where lease, CA and bundle are. */
  readonly namespace: string;
  readonly serviceAccountDirectory: string;
  readonly kubeconfig: string | undefined;
  /** Undefined: off. */
  readonly listen: ListenAddress | undefined;
  readonly logLevel: LogLevel;
  readonly warnings: readonly string[];
}

export interface ApproverSetup extends Surroundings {
  readonly config: ApproverConfig;
  readonly policyFile: string | undefined;
  /** Of the policy's default, where the file does not say. */
  readonly maximumLifetimeMs: number;
}

export interface SignerSetup extends Surroundings {
  readonly config: SignerConfig;
  readonly caSecret: string;
  /** Name of the signer's own ClusterRole. */
  readonly clusterRole: string;
}

export interface InjectorSetup extends Surroundings {
  readonly config: InjectorConfig;
  readonly agent: Pick<AgentSettings, 'image' | 'signerName' | 'clusterDomain' | 'trustDomain'>;
  readonly wrongAnnotations: 'refuse' | 'warn';
  /** Undefined: as the API server's version says. */
  readonly nativeSidecars: boolean | undefined;
  /** Undefined: where the API server has them as v1. */
  readonly clusterTrustBundle: boolean | undefined;
  /** Of the webhook's own certificate. */
  readonly certificateDirectory: string;
  readonly webhookListen: ListenAddress;
  /** Name of the MutatingWebhookConfiguration. */
  readonly webhookConfiguration: string;
}

/** Throws CONFIG_INVALID with every problem. */
export function readInjectorSetup(environment: NodeJS.ProcessEnv): InjectorSetup {
  const reader = settingsReader(environment, injectorSettings);
  const surroundings = readSurroundings(reader, environment, Object.keys(injectorSettings));
  const image = reader.text('PODSEAL_AGENT_IMAGE');
  if (image === undefined)
    reader.problems.push(
      'PODSEAL_AGENT_IMAGE is not set: the image of the agents, usually that of this very pod',
    );
  const webhookListen = reader.read('PODSEAL_WEBHOOK_LISTEN', (text) => {
    const address = listenAddress(text);
    if (!address) throw new Error('leaves the injector without work');
    return address;
  });
  const setup: InjectorSetup = {
    ...surroundings,
    config: {
      ...readReplica(reader, environment),
      namespace: surroundings.namespace,
      sweepMs: reader.read('PODSEAL_SWEEP', durationFrom('1s')),
    },
    agent: {
      image: image ?? '',
      signerName: reader.read('PODSEAL_SIGNER_NAME', signerName),
      ...readDomains(reader),
    },
    wrongAnnotations: reader.oneOf('PODSEAL_WRONG_ANNOTATIONS', ['refuse', 'warn']),
    nativeSidecars: reader.read('PODSEAL_NATIVE_SIDECARS', autoOrFlag),
    clusterTrustBundle: reader.read('PODSEAL_CLUSTER_TRUST_BUNDLE', autoOrFlag),
    certificateDirectory: reader.read('PODSEAL_DIR', absolutePath),
    webhookListen,
    webhookConfiguration: reader.read('PODSEAL_WEBHOOK_CONFIGURATION', (text) => text),
  };
  refuse(reader.problems);
  return setup;
}

function autoOrFlag(text: string): boolean | undefined {
  if (text === 'auto') return undefined;
  if (text !== 'true' && text !== 'false') throw new Error('is none of auto, true, false');
  return text === 'true';
}

/** Throws CONFIG_INVALID with every problem. */
export function readApproverSetup(environment: NodeJS.ProcessEnv): ApproverSetup {
  const reader = settingsReader(environment, approverSettings);
  const surroundings = readSurroundings(reader, environment, Object.keys(approverSettings));
  const shared = readShared(reader, environment);
  const policyFile = reader.text('PODSEAL_POLICY');
  refuse(reader.problems);
  return {
    ...surroundings,
    config: {
      ...shared.replica,
      ...shared.naming,
      defaultLifetimeMs: defaultLifetimeMs(shared.maximumLifetimeMs),
    },
    policyFile: policyFile === undefined ? undefined : absolutePath(policyFile),
    maximumLifetimeMs: shared.maximumLifetimeMs,
  };
}

/** Throws CONFIG_INVALID with every problem. */
export function readSignerSetup(environment: NodeJS.ProcessEnv): SignerSetup {
  const reader = settingsReader(environment, signerSettings);
  const surroundings = readSurroundings(reader, environment, Object.keys(signerSettings));
  const { replica, naming, maximumLifetimeMs } = readShared(reader, environment);
  const { clusterDomain, trustDomain, signerNames } = naming;
  const config: SignerConfig = {
    ...replica,
    signerNames,
    scope: {
      clusterDomain,
      trustDomain,
      ipRanges: reader.read('PODSEAL_CA_IP_RANGES', ipRanges),
    },
    defaultLifetimeMs: defaultLifetimeMs(maximumLifetimeMs),
    maximumLifetimeMs,
    backDateMs: 300_000,
    settleMs: reader.read('PODSEAL_CA_SETTLE', durationFrom('0s')),
    maximumOpenRequests: reader.read('PODSEAL_MAX_OPEN_REQUESTS', wholeNumber(1, 1000)),
  };
  const caSecret = reader.read('PODSEAL_CA_SECRET', (text) => text);
  const clusterRole = reader.read('PODSEAL_CLUSTER_ROLE', (text) => text);
  refuse(reader.problems);
  return { ...surroundings, config, caSecret, clusterRole };
}

function readSurroundings(
  reader: SettingsReader<CommonSettingName | 'PODSEAL_LISTEN'>,
  environment: NodeJS.ProcessEnv,
  known: readonly string[],
): Surroundings {
  const namespace = reader.text('POD_NAMESPACE');
  if (namespace === undefined)
    reader.problems.push(
      'POD_NAMESPACE is not set (downward API: metadata.namespace): lease, CA and bundle are there',
    );
  return {
    namespace: namespace ?? '',
    serviceAccountDirectory: reader.read('PODSEAL_SERVICE_ACCOUNT_DIR', absolutePath),
    kubeconfig: reader.text('KUBECONFIG'),
    listen: reader.read('PODSEAL_LISTEN', listenAddress),
    logLevel: reader.oneOf('PODSEAL_LOG_LEVEL', logLevels),
    warnings: unknownSettings(environment, known),
  };
}

interface Shared {
  readonly replica: ReplicaConfig & { readonly workers: number };
  readonly naming: Pick<ApproverConfig, 'signerNames' | 'clusterDomain' | 'trustDomain'>;
  readonly maximumLifetimeMs: number;
}

function readShared(
  reader: SettingsReader<SharedSettingName>,
  environment: NodeJS.ProcessEnv,
): Shared {
  return {
    naming: {
      signerNames: reader.read('PODSEAL_SIGNER_NAMES', signerNames),
      ...readDomains(reader),
    },
    replica: readReplica(reader, environment),
    maximumLifetimeMs: reader.read('PODSEAL_MAX_LIFETIME', durationFrom('30s')),
  };
}

function readDomains(
  reader: SettingsReader<DomainSettingName>,
): Pick<ApproverConfig, 'clusterDomain' | 'trustDomain'> {
  const clusterDomain = reader.read('PODSEAL_CLUSTER_DOMAIN', (text) => {
    const domain = text.toLowerCase();
    const problem = clusterDomainProblem(domain);
    if (problem !== undefined) throw new Error(problem);
    return domain;
  });
  const trustDomain = reader.text('PODSEAL_TRUST_DOMAIN') ?? clusterDomain;
  const problem = trustDomainProblem(trustDomain);
  if (problem !== undefined)
    reader.problems.push(`PODSEAL_TRUST_DOMAIN: ${JSON.stringify(trustDomain)} ${problem}`);
  return { clusterDomain, trustDomain };
}

function readReplica(
  reader: SettingsReader<CommonSettingName>,
  environment: NodeJS.ProcessEnv,
): Shared['replica'] {
  // No two processes may share it; a restarted container may take up the lease of its pod.
  const holder = environment['POD_NAME'] ?? `${hostname()}-${process.pid}`;
  return {
    workers: reader.read('PODSEAL_WORKERS', wholeNumber(1, 500)),
    follow: {
      idleMs: reader.read('PODSEAL_WATCH_IDLE', durationFrom('1s')),
      relistMs: reader.read('PODSEAL_RELIST', durationFrom('1s')),
    },
    lease: reader.read('PODSEAL_LEASE', (text) =>
      text === 'off' ? undefined : { holder, durationMs: durationFrom('2s')(text) },
    ),
  };
}

function signerNames(text: string): readonly string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const foreign = names.find((name) => name.startsWith('kubernetes.io/'));
  if (foreign !== undefined) throw new Error('is served by Kubernetes itself');
  return [...new Set(names.map(signerName))];
}

function ipRanges(text: string): readonly string[] {
  const ranges = text
    .split(',')
    .map((range) => range.trim())
    .filter((range) => range !== '' && range !== 'none');
  const wrong = ranges.find((range) => parseIpRange(range) === undefined);
  if (wrong !== undefined)
    throw new Error(`holds ${JSON.stringify(wrong)}, which is no range like 10.0.0.0/8`);
  return ranges;
}

function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < minimum || value > maximum)
      throw new Error(`is not a whole number from ${minimum} to ${maximum}`);
    return value;
  };
}

function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const [first = '', ...more] = problems;
  const list =
    more.length === 0 ? first : `${problems.length} problems\n  ${problems.join('\n  ')}`;
  throw new PodsealError('CONFIG_INVALID', `Cannot use the settings: ${list}`, {
    hint: 'podseal help settings lists every setting.',
  });
}
