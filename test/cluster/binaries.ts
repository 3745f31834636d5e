import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, isAlive, processOf, type Started } from './processes.ts';

/** Parts of Kubernetes that the harness starts. */
export type Binary =
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kubelet'
  | 'kube-proxy'
  | 'coredns'
  | 'kubectl';

/**
 * The command line that runs a part: a program, or one program and the name of the part.
 * kube-controller-manager's program may not exist in KUBEBUILDER_ASSETS.
 */
export type Binaries = (part: Binary) => Command;

const source = join(import.meta.dirname, 'kube');

/** Where the harness keeps what outlives a checkout. */
export function cacheDirectory(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'podseal');
}

/**
 * The binaries of a real Kubernetes: those of KUBEBUILDER_ASSETS when it is set (envtest's
 * convention), else one program built with Go from test/cluster/kube and cached by version.
 * `say` is told about progress. Throws an Error that says how to get what is missing.
 */
export async function findBinaries(say: (line: string) => void): Promise<Binaries> {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets) {
    for (const part of ['etcd', 'kube-apiserver', 'kubectl'])
      if (!existsSync(join(assets, part)))
        throw new Error(
          `Cannot use KUBEBUILDER_ASSETS=${assets}: there is no ${part} in it. ` +
            'Put etcd, kube-apiserver, kubectl and, for everything to work, kube-controller-manager ' +
            'of one Kubernetes version there, or unset it.',
        );
    return (part) => [join(assets, part)];
  }
  const program = await builtProgram(say);
  return (part) => [program, part];
}

async function builtProgram(say: (line: string) => void): Promise<string> {
  const hash = createHash('sha256');
  for (const file of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(source, file)));
  const version = kubernetesVersion();
  const directory = join(cacheDirectory(), 'kube', `${version}-${hash.digest('hex').slice(0, 12)}`);
  const program = join(directory, 'kube');
  if (existsSync(program)) return program;
  const go = findGo();
  mkdirSync(directory, { recursive: true });
  const release = await lock(join(directory, 'lock'), program, say);
  try {
    if (!existsSync(program)) await build(go, program, version, say);
  } finally {
    release();
  }
  return program;
}

function kubernetesVersion(): string {
  const [, version] =
    /k8s\.io\/kubernetes (v[\d.]+)/.exec(readFileSync(join(source, 'go.mod'), 'utf8')) ?? [];
  if (version === undefined)
    throw new Error('Cannot read the Kubernetes version from test/cluster/kube/go.mod');
  return version;
}

const howToGet =
  'Install Go 1.26, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, ' +
  'kube-controller-manager and kubectl, or set USE_EXISTING_CLUSTER=true to use the cluster of KUBECONFIG.';

function findGo(): { environment: NodeJS.ProcessEnv } {
  const environment = { ...process.env };
  let version: string;
  try {
    version = execFileSync('go', ['env', 'GOVERSION'], { encoding: 'utf8', cwd: '/' }).trim();
  } catch {
    throw new Error(
      `Cannot build Kubernetes for the tests: there is no Go on this machine. ${howToGet}`,
    );
  }
  const minor = Number(/^go1\.(\d+)/.exec(version)?.[1]);
  if (minor < 26)
    throw new Error(`Cannot build Kubernetes for the tests with ${version}. ${howToGet}`);
  // With Go 1.27 the API server's /openapi/v2 answers 503; Go fetches the older toolchain by itself.
  if (minor > 26) environment['GOTOOLCHAIN'] = 'go1.26.8';
  return { environment };
}

/** Waits until no living process holds the lock; returns how to release it. */
async function lock(path: string, goal: string, say: (line: string) => void): Promise<() => void> {
  // Linked, so that the lock never exists without its holder's name in it.
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, JSON.stringify(processOf(process.pid)));
  try {
    for (let isSaid = false; !tryLink(mine, path);) {
      const holder = holderOf(path);
      if (holder && !isAlive(holder)) rmSync(path, { force: true });
      else if (holder && !isSaid) {
        say(`waiting for process ${holder.pid}, which builds ${goal}`);
        isSaid = true;
      }
      await sleep(500);
    }
  } finally {
    rmSync(mine);
  }
  return () => rmSync(path, { force: true });
}

function tryLink(existing: string, path: string): boolean {
  try {
    linkSync(existing, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Undefined when the lock was released meanwhile. */
function holderOf(path: string): Started | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Started;
  } catch {
    return undefined;
  }
}

async function build(
  go: { readonly environment: NodeJS.ProcessEnv },
  program: string,
  version: string,
  say: (line: string) => void,
): Promise<void> {
  const startedAt = Date.now();
  say(
    `building Kubernetes ${version} once, with Go (6 to 9 minutes on two cores with a cold cache)`,
  );
  const run = { cwd: source, env: go.environment };
  const list = execFileSync('go', ['list', '-deps', '.'], {
    ...run,
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  const total = list.split('\n').length;
  const variable = 'k8s.io/component-base/version';
  const [, minor = ''] = /^v1\.(\d+)/.exec(version) ?? [];
  // Without these kubectl refuses the server's version.
  const flags = `-s -w -X ${variable}.gitVersion=${version} -X ${variable}.gitMajor=1 -X ${variable}.gitMinor=${minor}`;
  const temporary = `${program}.${process.pid}`;
  const child = spawn('go', ['build', '-v', '-o', temporary, '-ldflags', flags, '.'], {
    ...run,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let done = 0;
  const other: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (/^[\w./-]+$/.test(line)) done++;
    else other.push(line);
  });
  const isTerminal = process.stderr.isTTY;
  const timer = setInterval(
    () => {
      const seconds = Math.round((Date.now() - startedAt) / 1000);
      const line = `building Kubernetes ${version}: ${done} of at most ${total} packages, ${seconds} s`;
      if (isTerminal) process.stderr.write(`\r${line}`);
      else say(line);
    },
    isTerminal ? 1_000 : 10_000,
  );
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  clearInterval(timer);
  if (isTerminal) process.stderr.write('\r\x1b[K');
  if (code !== 0)
    throw new Error(
      `Cannot build Kubernetes for the tests (go build ended with ${code ?? 'a signal'}):\n${other.join('\n')}`,
    );
  renameSync(temporary, program);
  say(`built Kubernetes ${version} in ${Math.round((Date.now() - startedAt) / 1000)} s`);
}
