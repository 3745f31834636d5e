import { execFile, type ExecFileException } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { apiClient, type ApiClient } from './api-client.ts';
import { findBinaries, type Binaries } from './binaries.ts';
import { kubeconfig, makeCredentials, type User } from './credentials.ts';
import { endPart, runningPart, startPart, startPartAgain, takeDown } from './parts.ts';
import { isAlive, type Command } from './processes.ts';

export type Part = 'etcd' | 'kube-apiserver' | 'kube-controller-manager';

/** A real Kubernetes API for the tests. */
export interface ControlPlane {
  /** Where its files are; undefined for an existing cluster. */
  readonly directory: string | undefined;
  readonly serverUrl: string;
  /** The API server's CA, PEM. */
  readonly caPem: string;
  /** Path, cluster administrator. */
  readonly kubeconfig: string;
  /** As cluster administrator. */
  readonly api: ApiClient;
  /** Resolves to standard output; rejects with standard error in the message. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** The faults, on a control plane of our own; they throw on an existing cluster. */
  readonly faults: {
    /** The serving pair, for a proxy in front; PEM. */
    readonly servingPair: { readonly cert: string; readonly key: string };
    stop(part: Part, how: 'kill' | 'term'): Promise<void>;
    /**
     * Starts it again with the same arguments, these flags after them (the last of a name counts), and
     * waits until it serves; nothing when it runs.
     */
    start(part: Part, flags?: readonly string[]): Promise<void>;
  };
  /** Ends every part and removes every file; nothing on an existing cluster. */
  down(): Promise<void>;
}

/** What does not change while a control plane is up; its processes have files of their own (parts.ts). */
interface State {
  readonly serverUrl: string;
  readonly kubectl: readonly string[];
  readonly managerPort: number;
}

export interface UpOptions {
  /** Where its files go; a new temporary directory by default. */
  readonly directory?: string;
  readonly say?: (line: string) => void;
}

/** etcd, kube-apiserver and kube-controller-manager on free loopback ports, without root. */
export async function startControlPlane(options: UpOptions = {}): Promise<ControlPlane> {
  const { say = () => undefined } = options;
  const binaries = await findBinaries(say);
  const startedAt = Date.now();
  const seconds = (): string => ((Date.now() - startedAt) / 1000).toFixed(1);
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'podseal-cp-'));
  if (existsSync(stateFile(directory)))
    throw new Error(
      `Cannot start a control plane in ${directory}: one is up already; run "npm run cluster -- down" first`,
    );
  mkdirSync(directory, { recursive: true });
  const [apiPort, etcdPort, peerPort, managerPort] = await freePorts(4);
  const serverUrl = `https://127.0.0.1:${apiPort}`;
  const pki = join(directory, 'pki');
  await makeCredentials(pki, { ipAddresses: ['10.96.0.1'] });
  const admin = userKubeconfig(directory, serverUrl, 'admin');
  const manager = userKubeconfig(directory, serverUrl, 'kube-controller-manager');
  const ports = { api: apiPort, etcd: etcdPort, peer: peerPort, manager: managerPort };
  const state: State = { serverUrl, kubectl: binaries('kubectl'), managerPort };
  writeFileSync(stateFile(directory), JSON.stringify(state));
  const hasManager = existsSync(binaries('kube-controller-manager')[0]);
  if (!hasManager)
    say(
      'there is no kube-controller-manager: no certificates from kubernetes.io signers, no ' +
        'EndpointSlices, and deleted namespaces stay',
    );
  // The parts outlive us, so a Ctrl-C before we return must end them.
  let cleaning: Promise<void> | undefined;
  const cleanUp = (): Promise<void> => (cleaning ??= takeDown(directory));
  const forget = onInterrupt(cleanUp);
  try {
    const commands = commandLines(binaries, { directory, pki, manager, ports });
    for (const [part, command] of Object.entries(commands))
      if (hasManager || part !== 'kube-controller-manager') startPart(directory, part, command);
    const plane = handle(directory, state, admin);
    await until('the API server to be ready', directory, () => serves(plane.api));
    say(`${seconds()} s: API server ready`);
    await until('the controllers to work', directory, async () => {
      if (!hasManager) return true;
      // It gives up when the API server was not there yet.
      startPartAgain(directory, 'kube-controller-manager');
      const paths = ['serviceaccounts/default', 'configmaps/kube-root-ca.crt'];
      const reads = paths.map((path) =>
        plane.api.request('GET', `/api/v1/namespaces/default/${path}`),
      );
      return (await Promise.all(reads)).every((answer) => answer.status === 200);
    });
    say(`${seconds()} s: control plane up at ${serverUrl}`);
    return plane;
  } catch (error) {
    await cleanUp();
    throw error;
  } finally {
    forget();
  }
}

/** The control plane that another process of ours started in this directory. */
export function attachControlPlane(directory: string): ControlPlane {
  if (!existsSync(stateFile(directory)))
    throw new Error(
      `Cannot find a control plane in ${directory}: start one with "npm run cluster -- up"`,
    );
  const state = JSON.parse(readFileSync(stateFile(directory), 'utf8')) as State | { kind: 'node' };
  if ('kind' in state)
    throw new Error(
      `Cannot steer the parts of the node in ${directory} one by one: only those of "cluster -- up" without --node`,
    );
  return handle(directory, state, join(directory, 'admin.kubeconfig'));
}

/** The cluster of KUBECONFIG, because USE_EXISTING_CLUSTER=true said so in as many words. */
export function existingCluster(): ControlPlane {
  const path = process.env['KUBECONFIG'];
  if (process.env['USE_EXISTING_CLUSTER'] !== 'true' || !path)
    throw new Error(
      'Cannot use an existing cluster: set USE_EXISTING_CLUSTER=true and KUBECONFIG, both',
    );
  const refuse = (): never => {
    throw new Error('Cannot make faults in an existing cluster: it may be in use by somebody');
  };
  const config = new KubeConfig();
  config.loadFromFile(path);
  const { caData, caFile, server = '' } = config.getCurrentCluster() ?? {};
  return {
    directory: undefined,
    serverUrl: server,
    caPem: caData ? Buffer.from(caData, 'base64').toString() : readFileSync(caFile ?? '', 'utf8'),
    kubeconfig: path,
    api: apiClient(path),
    kubectl: (args, input) => run('kubectl', ['--kubeconfig', path, ...args], input),
    faults: {
      get servingPair(): never {
        return refuse();
      },
      stop: refuse,
      start: refuse,
    },
    down: () => Promise.resolve(),
  };
}

function handle(directory: string, state: State, admin: string): ControlPlane {
  const api = apiClient(admin);
  const pki = (name: string): string => readFileSync(join(directory, 'pki', name), 'utf8');
  const [program = '', ...first] = state.kubectl;
  const cache = ['--kubeconfig', admin, '--cache-dir', join(directory, 'kubectl-cache')];
  return {
    directory,
    serverUrl: state.serverUrl,
    caPem: pki('ca.crt'),
    kubeconfig: admin,
    api,
    kubectl: (args, input) => run(program, [...first, ...cache, ...args], input),
    faults: {
      get servingPair() {
        return { cert: pki('apiserver.crt'), key: pki('apiserver.key') };
      },
      stop: (part, how) => endPart(directory, part, how),
      async start(part, flags = []) {
        startPartAgain(directory, part, flags);
        await until(`${part} to serve again`, directory, async () => {
          if (part !== 'kube-controller-manager') return serves(api);
          // It gives up when the API server is not there.
          startPartAgain(directory, part);
          return accepts(state.managerPort);
        });
      },
    },
    async down() {
      api.close();
      await takeDown(directory);
    },
  };
}

async function serves(api: ApiClient): Promise<boolean> {
  return (await api.request('GET', '/readyz')).status === 200;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Runs `cleanUp` when we are told to end, then ends; returns how to call that off. */
function onInterrupt(cleanUp: () => Promise<void>): () => void {
  const interrupted = (signal: NodeJS.Signals): void => {
    void cleanUp().then(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, interrupted);
  return () => {
    for (const signal of signals) process.off(signal, interrupted);
  };
}

function stateFile(directory: string): string {
  return join(directory, 'state.json');
}

function userKubeconfig(directory: string, serverUrl: string, user: User): string {
  const path = join(directory, `${user}.kubeconfig`);
  const token = readFileSync(join(directory, 'pki', `${user}.token`), 'utf8');
  const text = kubeconfig(serverUrl, join(directory, 'pki/ca.crt'), { token });
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

interface Layout {
  readonly directory: string;
  readonly pki: string;
  readonly manager: string;
  readonly ports: Readonly<Record<'api' | 'etcd' | 'peer' | 'manager', number>>;
}

function commandLines(binaries: Binaries, layout: Layout): Readonly<Record<Part, Command>> {
  const { directory, pki, manager, ports } = layout;
  const etcdUrl = `http://127.0.0.1:${ports.etcd}`;
  const peerUrl = `http://127.0.0.1:${ports.peer}`;
  return {
    etcd: [
      ...binaries('etcd'),
      '--name=podseal',
      `--data-dir=${directory}/etcd`,
      '--unsafe-no-fsync',
      `--listen-client-urls=${etcdUrl}`,
      `--advertise-client-urls=${etcdUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=podseal=${peerUrl}`,
    ],
    'kube-apiserver': [
      ...binaries('kube-apiserver'),
      '--bind-address=127.0.0.1',
      `--secure-port=${ports.api}`,
      '--endpoint-reconciler-type=none',
      `--etcd-servers=${etcdUrl}`,
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--client-ca-file=${pki}/ca.crt`,
      `--token-auth-file=${pki}/tokens.csv`,
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement',
      '--allow-privileged=true',
      '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
      `--service-account-key-file=${pki}/service-account.pub`,
      `--service-account-signing-key-file=${pki}/service-account.key`,
      '--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112',
    ],
    'kube-controller-manager': [
      ...binaries('kube-controller-manager'),
      '--bind-address=127.0.0.1',
      `--secure-port=${ports.manager}`,
      `--cert-dir=${directory}/manager`,
      `--kubeconfig=${manager}`,
      '--leader-elect=false',
      // Its default of 20 requests per second makes the start five seconds slower.
      '--kube-api-qps=500',
      '--kube-api-burst=1000',
      '--use-service-account-credentials',
      `--cluster-signing-cert-file=${pki}/csr-ca.crt`,
      `--cluster-signing-key-file=${pki}/csr-ca.key`,
      `--root-ca-file=${pki}/ca.crt`,
      `--service-account-private-key-file=${pki}/service-account.key`,
    ],
  };
}

function endOfLog(directory: string, part: string): string {
  const lines = readFileSync(join(directory, 'log', `${part}.log`), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.slice(-8).join('\n');
}

async function freePorts(count: number): Promise<[number, number, number, number]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) =>
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
        ),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports as [number, number, number, number];
}

async function until(what: string, directory: string, isSo: () => Promise<boolean>): Promise<void> {
  const limitMs = 60_000;
  for (const startedAt = Date.now(); ;) {
    if (await isSo().catch(() => false)) return;
    // The directory may go with the failure, so what the logs say goes into the message.
    for (const part of ['etcd', 'kube-apiserver'])
      if (!isAlive(runningPart(directory, part).process))
        throw new Error(`Cannot wait for ${what}: ${part} ended:\n${endOfLog(directory, part)}`);
    if (Date.now() - startedAt > limitMs)
      throw new Error(
        `Cannot wait longer than ${limitMs / 1000} s for ${what}; kube-apiserver says:\n${endOfLog(directory, 'kube-apiserver')}`,
      );
    await sleep(50);
  }
}

function run(program: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 64 * 1024 * 1024 };
    const done = (error: ExecFileException | null, stdout: string, stderr: string): void => {
      if (error)
        reject(new Error(`Cannot run kubectl ${args.slice(4).join(' ')}: ${stderr.trim()}`));
      else resolve(stdout);
    };
    const child = execFile(program, [...args], options, done);
    if (input !== undefined) child.stdin?.end(input);
  });
}
