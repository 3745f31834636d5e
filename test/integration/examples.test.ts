import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { agentSettings } from '../../src/cli/settings.ts';
import { cacheDirectory } from '../cluster/binaries.ts';
import { boundToken, prepareNamespace } from '../cluster/pod.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { downwardMap, kubeletVolume } from '../support/kubelet-volume.ts';
import { startProgram } from '../support/program.ts';
import { runSection, sections, startShell, type Shell } from '../support/readme.ts';
import { sceneFor } from '../support/shared-scene.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
after(() => plane.api.close());

const examples = join(import.meta.dirname, '../../examples');
const run = promisify(execFile);

interface Role {
  readonly metadata: { readonly name: string };
  readonly rules: readonly { readonly verbs: readonly string[] }[];
}

interface Binding {
  readonly metadata: { readonly name: string };
  readonly roleRef: { readonly name: string };
  readonly subjects: readonly { readonly namespace: string; readonly name: string }[];
}

function agentRights(): readonly [Role, Binding] {
  const text = readFileSync(join(examples, 'rbac/agent.yaml'), 'utf8');
  return parseAllDocuments(text).map((each) => each.toJS() as unknown) as [Role, Binding];
}

describe('examples/rbac/agent.yaml', { timeout: 120_000 }, () => {
  /** A pod whose service account has the rights of the file, less `without`. */
  async function sceneWithRights(context: TestContext, without?: string) {
    const id = randomBytes(4).toString('hex');
    const namespace = `rights-${id}`;
    const [role, binding] = agentRights();
    const name = `podseal-rights-${id}`;
    const rules = role.rules.map((rule) => ({
      ...rule,
      verbs: rule.verbs.filter((verb) => verb !== without),
    }));
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await plane.api.must('POST', `${rbac}/clusterroles`, { ...role, metadata: { name }, rules });
    await plane.api.must('POST', `${rbac}/clusterrolebindings`, {
      ...binding,
      metadata: { name },
      roleRef: { ...binding.roleRef, name },
      subjects: binding.subjects.map((subject) => ({ ...subject, namespace })),
    });
    context.after(async () => {
      await plane.api.request('DELETE', `${rbac}/clusterrolebindings/${name}`);
      await plane.api.request('DELETE', `${rbac}/clusterroles/${name}`);
    });
    const account = binding.subjects[0]?.name ?? '';
    await plane.api.must('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
    await plane.api.must('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, {
      metadata: { name: account },
    });
    const scene = await sceneFor(context, plane, { namespace, serviceAccount: account });
    const verb = role.rules[0]?.verbs.find((each) => each !== without) ?? '';
    await until('the API server to know the rights', () => mayI(verb, namespace, account));
    return scene;
  }

  async function mayI(verb: string, namespace: string, account: string): Promise<boolean> {
    const review = (await plane.api.must(
      'POST',
      '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      {
        spec: {
          user: `system:serviceaccount:${namespace}:${account}`,
          resourceAttributes: {
            group: 'certificates.k8s.io',
            resource: 'certificatesigningrequests',
            verb,
          },
        },
      },
    )) as { status: { allowed: boolean } };
    return review.status.allowed;
  }

  test('allows create and get of signing requests, and nothing else', () => {
    const [role, binding] = agentRights();
    equal(role.metadata.name, 'podseal-workload');
    deepEqual(role.rules, [
      {
        apiGroups: ['certificates.k8s.io'],
        resources: ['certificatesigningrequests'],
        verbs: ['create', 'get'],
      },
    ]);
    equal(binding.roleRef.name, role.metadata.name);
    equal(binding.subjects.length, 1);
  });

  test('is enough for init, and lets a workload neither list nor approve', async (context) => {
    const scene = await sceneWithRights(context);
    const init = scene.run('init');
    const request = await scene.administrator.pending();
    const as = ['--token', scene.pod.token];
    const { name } = request.metadata;
    match(await plane.kubectl([...as, 'get', 'csr', name]), /Pending/);
    await rejects(plane.kubectl([...as, 'get', 'csr']), /Forbidden.*cannot list resource/s);
    await rejects(
      plane.kubectl([...as, 'certificate', 'approve', name]),
      /cannot update resource "certificatesigningrequests\/approval"/,
    );
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await init.exit, 0);
  });

  for (const verb of ['create', 'get'])
    test(`init without ${verb}: exit 77, naming it`, async (context) => {
      const scene = await sceneWithRights(context, verb);
      const init = scene.run('init');
      equal(await init.exit, 77);
      const last = init.lines().at(-1);
      equal(last?.code, 'API_FORBIDDEN');
      match(last.hint ?? '', new RegExp(`may not ${verb} .*examples/rbac/agent\\.yaml`));
    });
});

/** Folders of applications whose pods are injected, with their manifests. */
const injected = readdirSync(examples, { withFileTypes: true })
  .filter((each) => each.isDirectory())
  .map(({ name }) => {
    const files = readdirSync(join(examples, name)).filter((file) => file.endsWith('.yaml'));
    return { folder: name, files: files.map((file) => join(examples, name, file)) };
  })
  .filter(({ files }) =>
    files.some((file) => readFileSync(file, 'utf8').includes('podseal.dev/inject: enabled')),
  );

interface PodTemplate {
  readonly metadata?: object;
  readonly spec: object;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: {
    readonly template?: PodTemplate;
    readonly jobTemplate?: { readonly spec: { readonly template: PodTemplate } };
  };
}

describe('examples of injected applications', { timeout: 120_000 }, () => {
  for (const { folder, files } of injected)
    test(`${folder}: the API server takes every object, and every pod meets the standard "restricted"`, async (context) => {
      const documents = files.flatMap((file) =>
        parseAllDocuments(readFileSync(file, 'utf8')).map((each) => each.toJS() as Manifest),
      );
      const namespace = documents.find(({ kind }) => kind === 'Namespace');
      ok(namespace);
      const path = `/api/v1/namespaces/${namespace.metadata.name}`;
      await plane.api.must('POST', '/api/v1/namespaces', namespace);
      context.after(() => plane.api.request('DELETE', path));
      await plane.kubectl([
        ...['apply', '--dry-run=server', '--validate=strict', '-n', namespace.metadata.name],
        ...files.flatMap((file) => ['-f', file]),
      ]);
      await until('the namespace to have its service account', async () => {
        const { status } = await plane.api.request('GET', `${path}/serviceaccounts/default`);
        return status === 200;
      });
      const templates = documents.flatMap(({ spec }) => {
        return spec?.template ?? spec?.jobTemplate?.spec.template ?? [];
      });
      ok(templates.length > 0);
      for (const { metadata, spec } of templates)
        await plane.api.must('POST', `${path}/pods?dryRun=All`, {
          metadata: { ...metadata, name: 'pod' },
          // The others are made by the manifest, of which this is a dry run.
          spec: { restartPolicy: 'Always', ...spec, serviceAccountName: 'default' },
        });
    });
});

const skip = plane.directory === undefined && 'an existing cluster has kubelets of its own';

describe('examples/by-hand/README.md', { timeout: 240_000, skip }, () => {
  const root = mkdtempSync(join(tmpdir(), 'podseal-by-hand-'));
  const folder = join(root, 'examples/by-hand');
  const bin = join(root, 'bin');
  const logs = join(root, 'logs');
  let forwarder: Server | undefined;
  let kubelet: Kubelet | undefined;
  let shell: Shell | undefined;
  let hasFailed = false;

  before(
    async () => {
      const port = await freePort();
      forwarder = await forwardToService('my-namespace', 'my-svc');
      const { port: forwarded } = forwarder.address() as AddressInfo;
      // The tutorial's ports may be taken here, and there is no control plane node with a CA of kubeadm.
      const here = (text: string): string =>
        text
          .replaceAll('8443', String(port))
          .replaceAll('9443', String(forwarded))
          .replaceAll('/etc/kubernetes/pki', join(plane.directory ?? '', 'pki'));
      cpSync(examples, join(root, 'examples'), { recursive: true });
      for (const name of readdirSync(folder).map((each) => join(folder, each)))
        if (statSync(name).isFile()) writeFileSync(name, here(readFileSync(name, 'utf8')));
      for (const directory of [bin, logs]) mkdirSync(directory);
      writeStandIns(bin, logs, await cfsslDirectory());
      // Only for the node that it makes.
      await prepareNamespace(plane.api, 'my-namespace-node');
      shell = startShell(folder, bin, () => kubelet?.failure);
      kubelet = startKubelet({ namespace: 'my-namespace', root: join(root, 'kubelet'), logs });
    },
    { timeout: 600_000 },
  );

  after(async () => {
    await shell?.end();
    await kubelet?.stop();
    forwarder?.close();
    await plane.api.request(
      'DELETE',
      '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/podseal-workload-my-namespace-my-app',
    );
    rmSync(root, { recursive: true, force: true });
  });

  for (const { heading } of sections(join(examples, 'by-hand/README.md')))
    test(`${heading}: every command works and prints what the text shows`, async (context) => {
      ok(shell && kubelet);
      if (hasFailed) {
        context.skip('a section before this one failed');
        return;
      }
      hasFailed = true;
      // Read again: the copy has the port and the paths of here.
      const copy = sections(join(folder, 'README.md')).find((each) => each.heading === heading);
      await runSection(shell, copy);
      hasFailed = false;
    });

  test('left nothing behind but the ClusterRole', async (context) => {
    if (hasFailed) {
      context.skip('a section failed');
      return;
    }
    deepEqual(readdirSync(folder).sort(), readdirSync(join(examples, 'by-hand')).sort());
    const { status } = await plane.api.request('GET', '/api/v1/namespaces/my-namespace');
    equal(status, 404);
  });
});

/**
 * Puts the programs of the tutorial into `bin`. kubectl is the real one, except for the two commands
 * that talk to a kubelet, of which there is none: `logs` prints what the container printed, and
 * `port-forward` does nothing until it is ended, as the test itself forwards.
 */
function writeStandIns(bin: string, logs: string, cfssl: string | { readonly why: string }): void {
  const write = (name: string, script: string): void => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  const directory = plane.directory ?? '';
  const state = JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8')) as {
    kubectl: string[];
  };
  const kubectl = [
    ...state.kubectl,
    ...['--kubeconfig', plane.kubeconfig, '--cache-dir', join(directory, 'kubectl-cache')],
  ];
  write(
    'kubectl',
    `case "$1" in
logs) until [ -s '${logs}/podseal' ]; do sleep 0.1; done; exec cat '${logs}/podseal' ;;
port-forward) exec sleep 600 ;;
*) exec ${kubectl.map((word) => `'${word}'`).join(' ')} "$@" ;;
esac`,
  );
  for (const name of ['cfssl', 'cfssljson'])
    write(
      name,
      typeof cfssl === 'string'
        ? `exec '${join(cfssl, name)}' "$@"`
        : `echo '${cfssl.why}' >&2; exit 1`,
    );
}

/** Where cfssl and cfssljson are, built with Go from the version that test/cfssl pins; or why they are not. */
async function cfsslDirectory(): Promise<string | { readonly why: string }> {
  const source = join(import.meta.dirname, '../cfssl');
  const [, version] =
    /cloudflare\/cfssl (v[\d.]+)/.exec(readFileSync(join(source, 'go.mod'), 'utf8')) ?? [];
  const directory = join(cacheDirectory(), `cfssl-${version ?? ''}`);
  if (existsSync(directory)) return directory;
  mkdirSync(dirname(directory), { recursive: true });
  const temporary = mkdtempSync(`${directory}.`);
  const commands = ['cfssl', 'cfssljson'].map((name) => `github.com/cloudflare/cfssl/cmd/${name}`);
  try {
    await run('go', ['build', '-o', `${temporary}/`, ...commands], {
      cwd: source,
      // Its databases are not used here, and need no C compiler then.
      env: { ...process.env, CGO_ENABLED: '0' },
    });
    renameSync(temporary, directory);
    return directory;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    // Somebody else may have built it in the meantime.
    if (existsSync(directory)) return directory;
    const why = code === 'ENOENT' ? 'there is no Go on this machine' : message;
    return { why: `Cannot build cfssl: ${why}. Install Go 1.24 or newer.`.replaceAll("'", '"') };
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What `kubectl port-forward` does: each connection goes to a ready endpoint of the Service. */
async function forwardToService(namespace: string, name: string): Promise<Server> {
  const path =
    `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices` +
    `?labelSelector=kubernetes.io/service-name=${name}`;
  interface Slice {
    readonly ports?: readonly { readonly port: number }[];
    readonly endpoints?: readonly { readonly conditions: { readonly ready?: boolean } }[];
  }
  const readyPort = async (): Promise<number | undefined> => {
    const { items } = (await plane.api.must('GET', path)) as { items: Slice[] };
    return items.find((slice) => slice.endpoints?.some(({ conditions }) => conditions.ready))
      ?.ports?.[0]?.port;
  };
  const server = createServer((incoming) => {
    until('a ready endpoint of the Service', readyPort).then(
      (port) => {
        const outgoing = connect(port, '127.0.0.1');
        outgoing.on('error', () => incoming.destroy());
        incoming.on('error', () => outgoing.destroy());
        incoming.pipe(outgoing).pipe(incoming);
      },
      () => incoming.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return server;
}

interface Container {
  readonly name: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
  }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

interface DownwardItems {
  readonly items: readonly {
    readonly path: string;
    readonly fieldRef: { readonly fieldPath: string };
  }[];
}

interface VolumeSource {
  readonly emptyDir?: unknown;
  readonly configMap?: { readonly name: string };
  readonly downwardAPI?: DownwardItems;
  readonly serviceAccountToken?: { readonly path: string };
  readonly projected?: { readonly sources: readonly VolumeSource[] };
}

interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly serviceAccountName: string;
    readonly initContainers?: readonly Container[];
    readonly containers: readonly Container[];
    readonly volumes?: readonly (VolumeSource & { readonly name: string })[];
  };
}

interface Kubelet {
  /** Why a pod could not be run. */
  readonly failure: string | undefined;
  stop(): Promise<void>;
}

/**
 * Does for the pods of a namespace what scheduler and kubelet do, as far as the example needs it: the
 * pods are read from the API server, with everything that admission added, and their containers run
 * as processes of this machine, with the variables and mounts of the pod and nothing more.
 */
function startKubelet(of: {
  readonly namespace: string;
  readonly root: string;
  readonly logs: string;
}): Kubelet {
  const pods = `/api/v1/namespaces/${of.namespace}/pods`;
  const known = new Map<string, ChildProcess[]>();
  const starting: Promise<void>[] = [];
  let failure: string | undefined;
  const stopping = new AbortController();

  const patchStatus = (pod: Pod, status: object): Promise<unknown> =>
    plane.api.must(
      'PATCH',
      `${pods}/${pod.metadata.name}/status`,
      { status },
      'application/merge-patch+json',
    );

  async function start(pod: Pod, children: ChildProcess[]): Promise<void> {
    const podIP = '10.97.0.10';
    await patchStatus(pod, { phase: 'Pending', podIP, podIPs: [{ ip: podIP }] });
    const root = join(of.root, pod.metadata.uid);
    await makeVolumes(pod, join(root, 'volumes'));
    for (const container of pod.spec.initContainers ?? []) {
      const at = containerPaths(root, container);
      const program = startProgram(container.args ?? [], {
        ...mountedDefaults(at),
        ...variables(pod, container, podIP, at),
      });
      children.push(program.child);
      const log = join(of.logs, container.name);
      for (const stream of [program.child.stdout, program.child.stderr])
        stream?.on('data', () => writeFileSync(log, program.output()));
      const code = await program.exit;
      if (code !== 0) throw new Error(`${container.name} ended with ${code}:\n${program.output()}`);
    }
    for (const container of pod.spec.containers) {
      const at = containerPaths(root, container);
      const [, ...args] = container.command ?? [];
      const child = spawn(process.execPath, args.map(at), {
        env: variables(pod, container, podIP, at),
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      children.push(child);
      const [port] = container.ports ?? [];
      await until('the application to listen', () => listens(port?.containerPort ?? 0));
    }
    const conditions = [{ type: 'Ready', status: 'True' }];
    await patchStatus(pod, { phase: 'Running', conditions });
  }

  async function look(pod: Pod): Promise<void> {
    const { name, uid, deletionTimestamp } = pod.metadata;
    const children = known.get(uid);
    if (deletionTimestamp !== undefined) {
      for (const child of children ?? []) child.kill('SIGKILL');
      await plane.api.request('DELETE', `${pods}/${name}`, {
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
    } else if (pod.spec.nodeName === undefined) {
      const target = { apiVersion: 'v1', kind: 'Node', name: 'node-1' };
      await plane.api.must('POST', `${pods}/${name}/binding`, { metadata: { name }, target });
    } else if (children === undefined) {
      const started: ChildProcess[] = [];
      known.set(uid, started);
      starting.push(
        start(pod, started).catch((error: unknown) => {
          if (!stopping.signal.aborted) failure = `The pod ${name} cannot run: ${String(error)}`;
        }),
      );
    }
  }

  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const { items } = (await plane.api.must('GET', pods)) as { items: Pod[] };
      for (const pod of items) await look(pod);
      await sleep(50);
    }
  })().catch((error: unknown) => {
    failure = String(error);
  });

  return {
    get failure() {
      return failure;
    },
    async stop() {
      stopping.abort();
      await loop;
      for (const child of [...known.values()].flat()) child.kill('SIGKILL');
      await Promise.all(starting);
      await plane.api.request('DELETE', `/api/v1/namespaces/${of.namespace}`);
    },
  };
}

/** Where a path of the container is on this machine: its mounts are links in a directory of its own. */
function containerPaths(root: string, container: Container): (path: string) => string {
  const files = join(root, container.name);
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    mkdirSync(dirname(join(files, mountPath)), { recursive: true });
    symlinkSync(join(root, 'volumes', name), join(files, mountPath));
  }
  return (path) => (path.startsWith('/') ? join(files, path) : path);
}

/** The settings whose defaults are paths: the program must look for them among the mounts. */
function mountedDefaults(at: (path: string) => string): Record<string, string> {
  const paths = Object.entries(agentSettings).filter(([, value]) => value.startsWith('/'));
  return Object.fromEntries(paths.map(([name, value]) => [name, at(value)]));
}

function variables(
  pod: Pod,
  container: Container,
  podIP: string,
  at: (path: string) => string,
): Record<string, string> {
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': pod.metadata.name,
    'metadata.namespace': pod.metadata.namespace,
    'metadata.uid': pod.metadata.uid,
    'spec.serviceAccountName': pod.spec.serviceAccountName,
    'status.podIP': podIP,
    'status.podIPs': podIP,
  };
  const { hostname, port } = new URL(plane.serverUrl);
  const given: Record<string, string> = {
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
  };
  for (const { name, value, valueFrom } of container.env ?? []) {
    const text = valueFrom ? fields[valueFrom.fieldRef.fieldPath] : value;
    ok(text !== undefined, `${name} of ${container.name} has a value`);
    given[name] = at(text);
  }
  return given;
}

async function makeVolumes(pod: Pod, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  for (const volume of pod.spec.volumes ?? []) {
    const path = join(directory, volume.name);
    if (volume.emptyDir !== undefined) mkdirSync(path);
    else kubeletVolume(path, await volumeFiles(pod, volume));
  }
}

async function volumeFiles(pod: Pod, source: VolumeSource): Promise<Record<string, string>> {
  const { namespace, name, uid, labels = {}, annotations = {} } = pod.metadata;
  if (source.configMap) {
    const path = `/api/v1/namespaces/${namespace}/configmaps/${source.configMap.name}`;
    return ((await plane.api.must('GET', path)) as { data: Record<string, string> }).data;
  }
  if (source.downwardAPI) {
    const fields: Readonly<Record<string, string>> = {
      'metadata.labels': downwardMap(labels),
      'metadata.annotations': downwardMap(annotations),
      'metadata.namespace': namespace,
    };
    const { items } = source.downwardAPI;
    return Object.fromEntries(
      items.map(({ path, fieldRef }) => [path, fields[fieldRef.fieldPath] ?? '']),
    );
  }
  if (source.serviceAccountToken) {
    const serviceAccount = pod.spec.serviceAccountName;
    const token = await boundToken(plane.api, { namespace, name, uid, serviceAccount });
    return { [source.serviceAccountToken.path]: token };
  }
  const files: Record<string, string> = {};
  for (const each of source.projected?.sources ?? [])
    Object.assign(files, await volumeFiles(pod, each));
  return files;
}

async function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
