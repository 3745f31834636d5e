import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  copyFileSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { apiClient, type ApiClient } from './api-client.ts';
import { findBinaries, type Binary } from './binaries.ts';
import { kubeconfig, makeCredentials, type User } from './credentials.ts';
import { end, startDetached, startedAs, type Command, type Started } from './processes.ts';

const run = promisify(execFile);
const scripts = join(import.meta.dirname, 'node');

/** Addresses of the sandbox: ours, the node's, its pods' and the Services'. */
const net = {
  host: '10.98.0.1',
  node: '10.98.0.2',
  pods: '10.97.0.0/24',
  services: '10.96.0.0/16',
  link: 'podseal0',
} as const;
const nodeName = 'node-1';
const serverUrl = `https://${net.node}:6443`;

interface NodeState {
  readonly kind: 'node';
  readonly processes: Record<string, Started>;
  /** What was started as these processes, inside the sandbox. */
  readonly commands: Record<string, Command>;
}

export interface NodeOptions {
  /** How often the kubelet brings the volumes of a pod up to date; its default: every 60 to 90 s. */
  readonly syncFrequency?: string;
}

const programs = {
  containerd: 'containerd',
  runc: 'runc',
  nft: 'nftables',
  iptables: 'iptables',
  ip: 'iproute2',
  busybox: 'busybox-static',
  '/usr/lib/cni/bridge': 'containernetworking-plugins',
} as const;

/** Throws an Error that says what is missing for a node on this machine. */
export async function requireNode(): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new Error('Cannot start a node: it needs root, for namespaces of its own');
  const missing: string[] = [];
  for (const [program, debianPackage] of Object.entries(programs)) {
    const found = program.startsWith('/')
      ? existsSync(program)
      : await run('sh', ['-c', `command -v ${program}`]).then(
          () => true,
          () => false,
        );
    if (!found) missing.push(debianPackage);
  }
  if (missing.length > 0)
    throw new Error(
      `Cannot start a node: install what is missing with: apt-get install --no-install-recommends ${missing.join(' ')}`,
    );
}

/**
 * A whole node: control plane, scheduler, kubelet, containerd, kube-proxy and cluster DNS, in mount,
 * network, pid, uts and ipc namespaces of their own. Killing pid 1 of these ends everything in them.
 */
export async function startNode(
  directory: string,
  say: (line: string) => void,
  options: NodeOptions = {},
): Promise<string> {
  await requireNode();
  const binaries = await findBinaries(say);
  if (existsSync(join(directory, 'state.json')))
    throw new Error(
      `Cannot start a node in ${directory}: one is up already; run "npm run cluster -- down" first`,
    );
  // Its addresses and cgroups are fixed, and the link is the first to come and the last to go.
  if (existsSync(join('/sys/class/net', net.link)))
    throw new Error(
      `Cannot start a node in ${directory}: another is up on this machine, as the link ${net.link} says; ` +
        'one machine can have one at a time',
    );
  const startedAt = Date.now();
  const tick = (what: string): void =>
    say(`${((Date.now() - startedAt) / 1000).toFixed(1)} s: ${what}`);
  mkdirSync(directory, { recursive: true });
  const state: NodeState = { kind: 'node', processes: {}, commands: {} };
  const save = (): void => saveState(directory, state);
  try {
    const box = await startBox(directory, state);
    save();
    tick('sandbox');
    const pki = join(directory, 'pki');
    await makeCredentials(pki, { ipAddresses: ['10.96.0.1', net.node, net.host] });
    const config = (user: User): string =>
      writeKubeconfig(directory, user, { token: readFileSync(join(pki, `${user}.token`), 'utf8') });
    const admin = config('admin');
    const api = apiClient(admin);
    const start = async (name: string, command: readonly string[]): Promise<void> => {
      const sandbox = ['-t', String(box), '-m', '-n', '-p', '-u', '-i'];
      const inside: Command = ['nsenter', ...sandbox, '--', ...command];
      state.commands[name] = inside;
      state.processes[name] = startDetached(directory, name, inside);
      save();
      await Promise.resolve();
    };
    const part = (name: Binary, ...args: readonly string[]): Promise<void> =>
      start(name, [...binaries(name), ...args]);
    const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
      await serving(what, directory, isSo);
      tick(what);
    };
    await part('etcd', '--name=podseal', `--data-dir=${directory}/etcd`, '--unsafe-no-fsync');
    await part('kube-apiserver', ...apiServerFlags(pki));
    await until(
      'API server ready',
      async () => (await api.request('GET', '/readyz')).status === 200,
    );
    await part('kube-controller-manager', ...managerFlags(pki, config('kube-controller-manager')));
    await part(
      'kube-scheduler',
      '--bind-address=127.0.0.1',
      '--leader-elect=false',
      `--kubeconfig=${config('kube-scheduler')}`,
    );
    writeNodeFiles(directory, pki, config, options);
    await start('containerd', ['containerd', '--config', join(directory, 'containerd.toml')]);
    await until('containerd ready', async () => (await ctr(box, 'version')) !== '');
    for (const image of await buildImages(directory)) await ctr(box, 'images', 'import', image);
    tick('images imported');
    const kubelet = writeKubeconfig(directory, 'kubelet', {
      'client-certificate': join(pki, 'kubelet.crt'),
      'client-key': join(pki, 'kubelet.key'),
    });
    await part(
      'kubelet',
      `--config=${directory}/kubelet.yaml`,
      `--kubeconfig=${kubelet}`,
      `--hostname-override=${nodeName}`,
      `--node-ip=${net.node}`,
      '--root-dir=/var/lib/kubelet',
    );
    await part(
      'kube-proxy',
      `--config=${directory}/kube-proxy.yaml`,
      `--hostname-override=${nodeName}`,
    );
    await until(
      'controllers work',
      async () =>
        (await api.request('GET', '/api/v1/namespaces/default/serviceaccounts/default')).status ===
        200,
    );
    await until('node ready', async () => {
      const { body } = await api.request('GET', `/api/v1/nodes/${nodeName}`);
      const { status } = body as {
        status: { conditions: readonly { type: string; status: string }[] };
      };
      return status.conditions.some((each) => each.type === 'Ready' && each.status === 'True');
    });
    await part('coredns', '-conf', join(directory, 'Corefile'));
    api.close();
    tick('node up');
    return admin;
  } catch (error) {
    await stopNode(directory);
    throw error;
  }
}

/** Gives an image, in an archive, to the containerd of a node that is up. */
export async function importImage(directory: string, archive: string): Promise<void> {
  await ctr(boxOf(directory), 'images', 'import', archive);
}

/** pid 1 of the sandbox. */
function boxOf(directory: string): number {
  const { box } = stateOf(directory).processes;
  if (!box) throw new Error(`Cannot find the sandbox: there is no node in ${directory}`);
  return box.pid;
}

/** Gives an image of a node that is up another name. */
export async function tagImage(directory: string, name: string, other: string): Promise<void> {
  await ctr(boxOf(directory), 'images', 'tag', `docker.io/${name}`, `docker.io/${other}`);
}

/** What a crash can hit while the pods of the node go on. */
export type NodePart = 'containerd' | 'kubelet' | 'kube-apiserver';

/**
 * Kills a part of a node that is up, as a crash or the kernel would, and starts it again; resolves when
 * it serves.
 */
export async function restartPart(
  directory: string,
  part: NodePart,
  api: ApiClient,
): Promise<void> {
  const state = stateOf(directory);
  const [started, command] = [state.processes[part], state.commands[part]];
  if (!started || !command) throw new Error(`Cannot restart ${part}: it is not in ${directory}`);
  // nsenter waits outside of the sandbox; what it started is its child.
  await end(startedAs(await childOf(started.pid)), 'SIGKILL');
  await end(started, 'SIGKILL');
  state.processes[part] = startDetached(directory, part, command);
  saveState(directory, state);
  const answers = async (path: string): Promise<boolean> =>
    (await api.request('GET', path)).status === 200;
  const serves = {
    containerd: async () => (await ctr(boxOf(directory), 'version')) !== '',
    kubelet: () => answers(`/api/v1/nodes/${nodeName}/proxy/healthz`),
    'kube-apiserver': () => answers('/readyz'),
  };
  await serving(`${part} to serve again`, directory, serves[part]);
}

/** containerd's own client, inside the sandbox. */
async function ctr(box: number, ...args: readonly string[]): Promise<string> {
  const socket = ['--address', '/run/containerd/containerd.sock', '-n', 'k8s.io'];
  const inside = ['-t', String(box), '-m', '-n', '-p', '--', 'ctr', ...socket];
  return (await run('nsenter', [...inside, ...args])).stdout;
}

/** Waits until it is so; what cannot be asked yet is not so. */
async function serving(
  what: string,
  directory: string,
  isSo: () => Promise<boolean>,
): Promise<void> {
  for (const since = Date.now(); !(await isSo().catch(() => false));) {
    if (Date.now() - since > 120_000)
      throw new Error(`Cannot wait longer than 120 s for ${what}: see ${directory}/log`);
    await sleep(100);
  }
}

function stateOf(directory: string): NodeState {
  return JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8')) as NodeState;
}

function saveState(directory: string, state: NodeState): void {
  writeFileSync(join(directory, 'state.json'), JSON.stringify(state));
}

/** Ends the sandbox and removes link, cgroups and files. */
export async function stopNode(directory: string): Promise<void> {
  const { box, ...others } = stateOf(directory).processes;
  if (box) await end(box, 'SIGKILL');
  await Promise.all(Object.values(others).map((process) => end(process, 'SIGKILL')));
  await run('ip', ['link', 'del', net.link]).catch(() => undefined);
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    const group = join('/sys/fs/cgroup', controller, 'podseal');
    if (!existsSync(group) || !statSync(group).isDirectory()) continue;
    // The kernel removes a group a moment after its last process.
    for (let i = 0; i < 50 && existsSync(group); i++) {
      await run('find', [group, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+']).catch(
        () => undefined,
      );
      if (existsSync(group)) await sleep(50);
    }
  }
  rmSync(directory, { recursive: true, force: true });
}

async function startBox(directory: string, state: NodeState): Promise<number> {
  const flags = [
    '--mount',
    '--propagation',
    'private',
    '--net',
    '--pid',
    '--uts',
    '--ipc',
    '--fork',
    '--mount-proc',
  ];
  const outer = startDetached(directory, 'box', [
    'unshare',
    ...flags,
    'bash',
    join(scripts, 'box-init.sh'),
    directory,
    nodeName,
  ]);
  state.processes['unshare'] = outer;
  const box = await childOf(outer.pid);
  state.processes['box'] = startedAs(box);
  for (const since = Date.now(); !existsSync(join(directory, 'box-ready'));) {
    if (Date.now() - since > 10_000)
      throw new Error(`Cannot start the sandbox: see ${directory}/log/box.log`);
    await sleep(20);
  }
  const inside = ['-t', String(box), '-n', 'ip'];
  await run('ip', [
    'link',
    'add',
    net.link,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    String(box),
  ]);
  await run('ip', ['addr', 'add', `${net.host}/30`, 'dev', net.link]);
  await run('ip', ['link', 'set', net.link, 'up']);
  await run('nsenter', [...inside, 'addr', 'add', `${net.node}/30`, 'dev', 'eth0']);
  await run('nsenter', [...inside, 'link', 'set', 'eth0', 'up']);
  await run('nsenter', [...inside, 'link', 'set', 'lo', 'up']);
  await run('nsenter', [...inside, 'route', 'add', net.services, 'dev', 'eth0']);
  for (const range of [net.pods, net.services])
    await run('ip', ['route', 'replace', range, 'via', net.node, 'dev', net.link]);
  prepareCgroups();
  return box;
}

async function childOf(pid: number): Promise<number> {
  for (let i = 0; i < 250; i++) {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    if (child) return Number(child);
    await sleep(20);
  }
  throw new Error('Cannot start the sandbox: unshare made no process');
}

/** A cgroup v1 cpuset must be told its processors before anything can join it. */
function prepareCgroups(): void {
  const root = '/sys/fs/cgroup';
  for (const controller of readdirSync(root)) {
    if (
      !existsSync(join(root, controller, 'cgroup.procs')) ||
      !statSync(join(root, controller)).isDirectory()
    )
      continue;
    mkdirSync(join(root, controller, 'podseal'), { recursive: true });
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      if (existsSync(join(root, controller, 'podseal', file)))
        writeFileSync(
          join(root, controller, 'podseal', file),
          readFileSync(join(root, controller, file)),
        );
  }
}

function writeKubeconfig(
  directory: string,
  user: string,
  credentials: Record<string, string>,
): string {
  const path = join(directory, `${user}.kubeconfig`);
  writeFileSync(path, kubeconfig(serverUrl, join(directory, 'pki/ca.crt'), credentials), {
    mode: 0o600,
  });
  return path;
}

function apiServerFlags(pki: string): readonly string[] {
  return [
    '--bind-address=0.0.0.0',
    '--secure-port=6443',
    `--advertise-address=${net.node}`,
    '--etcd-servers=http://127.0.0.1:2379',
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
    `--service-cluster-ip-range=${net.services}`,
    `--kubelet-client-certificate=${pki}/kubelet-client.crt`,
    `--kubelet-client-key=${pki}/kubelet-client.key`,
    `--kubelet-certificate-authority=${pki}/ca.crt`,
    // There is no DNS in which the node would have a name.
    '--kubelet-preferred-address-types=InternalIP',
  ];
}

function managerFlags(pki: string, config: string): readonly string[] {
  return [
    '--bind-address=127.0.0.1',
    `--kubeconfig=${config}`,
    '--leader-elect=false',
    '--kube-api-qps=500',
    '--kube-api-burst=1000',
    '--use-service-account-credentials',
    `--cluster-signing-cert-file=${pki}/csr-ca.crt`,
    `--cluster-signing-key-file=${pki}/csr-ca.key`,
    `--root-ca-file=${pki}/ca.crt`,
    `--service-account-private-key-file=${pki}/service-account.key`,
  ];
}

function writeNodeFiles(
  directory: string,
  pki: string,
  config: (user: User) => string,
  { syncFrequency = '1m' }: NodeOptions,
): void {
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
  mkdirSync(join(directory, 'cni-conf'), { recursive: true });
  write('resolv.conf', '');
  write(
    'cni-conf/10-podseal.conflist',
    JSON.stringify({
      cniVersion: '1.0.0',
      name: 'podseal',
      plugins: [
        {
          type: 'bridge',
          bridge: 'cni0',
          isGateway: true,
          isDefaultGateway: true,
          hairpinMode: true,
          ipMasq: false,
          ipam: {
            type: 'host-local',
            dataDir: '/var/lib/cni/networks',
            ranges: [[{ subnet: net.pods }]],
          },
        },
      ],
    }),
  );
  write(
    'containerd.toml',
    `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "podseal.test/pause:1"
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${directory}/cni-conf"
`,
  );
  write(
    'kubelet.yaml',
    `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ${pki}/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: ${pki}/kubelet.crt
tlsPrivateKeyFile: ${pki}/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /podseal
failCgroupV1: false
failSwapOn: false
syncFrequency: ${syncFrequency}
makeIPTablesUtilChains: false
clusterDomain: cluster.local
clusterDNS: [${net.node}]
resolvConf: ${directory}/resolv.conf
volumePluginDir: /var/lib/kubelet/volumeplugins
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
`,
  );
  write(
    'kube-proxy.yaml',
    `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: ${config('kube-proxy')}}
clusterCIDR: ${net.pods}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
  );
  write(
    'Corefile',
    `.:53 {
  bind ${net.node}
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${config('coredns')} podseal
    pods verified
  }
}
`,
  );
}

/** pause and busybox, from Debian's static busybox. */
async function buildImages(directory: string): Promise<readonly string[]> {
  const rootfs = join(directory, 'rootfs');
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  for (const folder of ['tmp', 'proc', 'sys', 'dev', 'etc']) mkdirSync(join(rootfs, folder));
  const { stdout: busybox } = await run('sh', ['-c', 'command -v busybox']);
  copyFileSync(busybox.trim(), join(rootfs, 'bin/busybox'));
  const { stdout: applets } = await run(busybox.trim(), ['--list']);
  for (const applet of applets.trim().split('\n'))
    if (applet !== 'busybox') symlinkSync('busybox', join(rootfs, 'bin', applet));
  const image = async (name: string, entrypoint: readonly string[]): Promise<string> => {
    const archive = join(directory, `${name}.tar`);
    await run(join(scripts, 'image.sh'), [
      rootfs,
      `podseal.test/${name}:1`,
      archive,
      JSON.stringify({ Env: ['PATH=/usr/local/bin:/usr/bin:/bin'], Entrypoint: entrypoint }),
    ]);
    return archive;
  };
  return [await image('pause', ['/bin/sleep', '2147483647']), await image('busybox', ['/bin/sh'])];
}
