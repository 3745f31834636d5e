import { execFile, type ExecFileException } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { apiClient, type ApiClient } from './api-client.ts';
import { findBinaries, type Binaries } from './binaries.ts';
import { kubeconfig, makeCredentials, type User } from './credentials.ts';
import { end, isAlive, startDetached, type Started } from './processes.ts';

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
    /** Starts it again with the same arguments, and waits until the API is ready. */
    start(part: Part): Promise<void>;
  };
  /** Ends every part and removes every file; nothing on an existing cluster. */
  down(): Promise<void>;
}

interface State {
  readonly serverUrl: string;
  readonly kubectl: readonly string[];
  readonly commands: Readonly<Record<Part, readonly [string, ...string[]]>>;
  readonly processes: Record<string, Started>;
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
  const state: State = {
    serverUrl,
    kubectl: binaries('kubectl'),
    commands: commandLines(binaries, { directory, pki, manager, ports }),
    processes: {},
  };
  const run = (part: Part): void => {
    state.processes[part] = startDetached(directory, part, state.commands[part]);
    save(directory, state);
  };
  try {
    for (const part of ['etcd', 'kube-apiserver', 'kube-controller-manager'] as const) run(part);
    const plane = handle(directory, state, admin);
    await until('the API server to be ready', 60, directory, async () => {
      for (const [part, process] of Object.entries(state.processes))
        // The controller manager gives up when the API server is not there yet.
        if (!isAlive(process) && part === 'kube-controller-manager') run(part);
      return (await plane.api.request('GET', '/readyz')).status === 200;
    });
    say(`${seconds()} s: API server ready`);
    await until('the controllers to work', 60, directory, async () => {
      const process = state.processes['kube-controller-manager'];
      if (process && !isAlive(process)) run('kube-controller-manager');
      const paths = ['serviceaccounts/default', 'configmaps/kube-root-ca.crt'];
      const reads = paths.map((path) =>
        plane.api.request('GET', `/api/v1/namespaces/default/${path}`),
      );
      return (await Promise.all(reads)).every((answer) => answer.status === 200);
    });
    say(`${seconds()} s: controllers work; control plane up at ${serverUrl}`);
    return plane;
  } catch (error) {
    await takeDown(directory, state);
    throw error;
  }
}

/** The control plane that another process of ours started in this directory. */
export function attachControlPlane(directory: string): ControlPlane {
  if (!existsSync(stateFile(directory)))
    throw new Error(
      `Cannot find a control plane in ${directory}: start one with "npm run cluster -- up"`,
    );
  const state = JSON.parse(readFileSync(stateFile(directory), 'utf8')) as State;
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
      async stop(part, how) {
        const process = state.processes[part];
        if (process) await end(process, how === 'kill' ? 'SIGKILL' : 'SIGTERM');
      },
      async start(part) {
        state.processes[part] = startDetached(directory, part, state.commands[part]);
        save(directory, state);
        await until('the API server to be ready again', 60, directory, async () => {
          return (await api.request('GET', '/readyz')).status === 200;
        });
      },
    },
    async down() {
      api.close();
      await takeDown(directory, state);
    },
  };
}

async function takeDown(directory: string, state: State): Promise<void> {
  // Its data is thrown away, so there is nothing to end gracefully for.
  await Promise.all(Object.values(state.processes).map((process) => end(process, 'SIGKILL')));
  rmSync(directory, { recursive: true, force: true });
}

function stateFile(directory: string): string {
  return join(directory, 'state.json');
}

function save(directory: string, state: State): void {
  writeFileSync(stateFile(directory), JSON.stringify(state));
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

function commandLines(binaries: Binaries, layout: Layout): State['commands'] {
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
      '--enable-admission-plugins=NodeRestriction',
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

async function until(
  what: string,
  seconds: number,
  directory: string,
  isSo: () => Promise<boolean>,
): Promise<void> {
  for (const startedAt = Date.now(); ;) {
    try {
      if (await isSo()) return;
    } catch {
      // Not there yet.
    }
    if (Date.now() - startedAt > seconds * 1000)
      throw new Error(
        `Cannot wait longer than ${seconds} s for ${what}: see ${directory}/log (kept only by "npm run cluster -- up")`,
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
