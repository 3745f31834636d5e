import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { trustBundleName } from '../../src/kubernetes/trust-publication.ts';
import { publishedNames } from '../../src/trust/publication.ts';
import { type ApiClient } from '../cluster/api-client.ts';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { createPod, prepareNamespace } from '../cluster/pod.ts';
import { startProgram, type Program } from './program.ts';
import { until } from './until.ts';

/** Those that work on signing requests. */
export type ControllerName = 'approver' | 'signer';
/** Everything that deploy/ runs. */
export type ProgramName = ControllerName | 'injector';

/** A rule of a Role or ClusterRole. */
export interface RbacRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Subject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** An object of a file of examples/rbac. */
export interface RbacObject {
  readonly kind: keyof typeof collections;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly RbacRule[];
  readonly roleRef?: { readonly name: string; readonly kind: keyof typeof collections };
  readonly subjects?: readonly Subject[];
}

const rbac = '/apis/rbac.authorization.k8s.io/v1';

/** Where each kind is created; `NS` stands for its namespace. */
const collections = {
  ServiceAccount: '/api/v1/namespaces/NS/serviceaccounts',
  Role: `${rbac}/namespaces/NS/roles`,
  RoleBinding: `${rbac}/namespaces/NS/rolebindings`,
  ClusterRole: `${rbac}/clusterroles`,
  ClusterRoleBinding: `${rbac}/clusterrolebindings`,
} as const;

/** What examples/rbac/NAME.yaml holds. */
export function rbacObjects(of: ProgramName): readonly RbacObject[] {
  const file = join(import.meta.dirname, `../../examples/rbac/${of}.yaml`);
  return parseAllDocuments(readFileSync(file, 'utf8')).map((each) => each.toJS() as RbacObject);
}

export interface SystemOptions {
  readonly signerNames: readonly string[];
  /** Instead of podseal-injector. */
  readonly webhookConfiguration?: string;
  /** What the files grant, changed: to leave a verb out, say. */
  readonly alterRule?: (rule: RbacRule, of: ProgramName) => RbacRule;
}

/** A running `podseal approver`, `podseal signer` or `podseal injector`. */
export interface RunningController extends Program {
  readonly podName: string;
  /** Of /readyz, /metrics and the like. */
  get(path: string): Promise<{ readonly status: number; readonly body: string }>;
  ready(): Promise<void>;
  /** The sum of a metric's samples whose labels include these. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Resolves to the exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

/** A namespace as an administrator sets it up for the controllers, and what runs in it. */
export interface ControllerSystem {
  readonly namespace: string;
  readonly signerNames: readonly string[];
  /** Of the program's service account, which has no pod. */
  readonly tokens: Readonly<Record<ProgramName, string>>;
  /** Everything that was started here, in that order. */
  readonly running: readonly RunningController[];
  /** Starts another replica; resolves once it listens. */
  start(name: ProgramName, changes?: Readonly<Record<string, string>>): Promise<RunningController>;
  /** Starts another replica whose token is bound to a pod, as in a cluster. */
  startInPod(
    name: ProgramName,
    changes?: Readonly<Record<string, string>>,
  ): Promise<RunningController>;
  /** The published bundle, waited for; PEM. */
  bundle(): Promise<string>;
  /** Kills what runs, and removes every file, the namespace, the requests, and the rights. */
  close(): Promise<void>;
}

export async function controllerSystem(
  plane: ControlPlane,
  { signerNames, webhookConfiguration, alterRule = (rule) => rule }: SystemOptions,
): Promise<ControllerSystem> {
  const { api } = plane;
  const id = randomBytes(4).toString('hex');
  const namespace = `podseal-${id}`;
  const root = mkdtempSync(join(tmpdir(), 'podseal-controllers-'));
  const running: RunningController[] = [];
  let started = 0;
  const clusterScoped = signerNames.map(
    (name) => `/apis/certificates.k8s.io/v1/clustertrustbundles/${trustBundleName(name)}`,
  );
  await prepareNamespace(api, namespace);
  const tokens = { approver: '', signer: '', injector: '' };
  for (const name of ['approver', 'signer', 'injector'] as const) {
    for (const object of rbacObjects(name)) {
      const own = relocate(object, { id, namespace, signerNames, webhookConfiguration }, (rule) =>
        alterRule(rule, name),
      );
      const collection = collections[own.kind].replace('NS', namespace);
      await api.must('POST', collection, own);
      if (own.metadata.namespace === undefined)
        clusterScoped.push(`${collection}/${own.metadata.name}`);
    }
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/podseal-${name}/token`;
    const answer = (await api.must('POST', path, { spec: { expirationSeconds: 3600 } })) as {
      status: { token: string };
    };
    tokens[name] = answer.status.token;
  }
  const { hostname, port } = new URL(plane.serverUrl);
  const launch = async (
    name: ProgramName,
    token: string,
    changes: Readonly<Record<string, string>>,
  ): Promise<RunningController> => {
    const podName = changes['POD_NAME'] ?? `podseal-${name}-${started++}`;
    const account = join(root, podName);
    mkdirSync(account, { recursive: true });
    writeFileSync(join(account, 'ca.crt'), plane.caPem);
    writeFileSync(join(account, 'token'), token);
    const program = startProgram([name], {
      POD_NAME: podName,
      POD_NAMESPACE: namespace,
      KUBERNETES_SERVICE_HOST: hostname,
      KUBERNETES_SERVICE_PORT: port,
      PODSEAL_SERVICE_ACCOUNT_DIR: account,
      ...(name === 'injector' ? {} : { PODSEAL_SIGNER_NAMES: signerNames.join(',') }),
      PODSEAL_LISTEN: '127.0.0.1:0',
      ...(name === 'signer'
        ? { PODSEAL_CA_SETTLE: '0s', PODSEAL_CLUSTER_ROLE: `podseal-signer-${id}` }
        : {}),
      ...changes,
    });
    const controller = runningController(program, podName);
    running.push(controller);
    await program.logged('probes.listening');
    return controller;
  };
  return {
    namespace,
    signerNames,
    tokens,
    running,
    start: (name, changes = {}) => launch(name, tokens[name], changes),
    async startInPod(name, changes = {}) {
      const serviceAccount = `podseal-${name}`;
      const pod = await createPod(api, {
        namespace,
        name: `${serviceAccount}-${started++}`,
        serviceAccount,
      });
      return launch(name, pod.token, { ...changes, POD_NAME: pod.name });
    },
    bundle: () =>
      until('the CA bundle to be published', async () => {
        const path = `/api/v1/namespaces/${namespace}/configmaps/${publishedNames.configMap}`;
        const { status, body } = await api.request('GET', path);
        const { data } = body as { data?: Readonly<Record<string, string>> };
        return status === 200 && data?.[publishedNames.bundle];
      }),
    async close() {
      await Promise.all(running.map((each) => each.kill()));
      rmSync(root, { recursive: true, force: true });
      for (const path of clusterScoped) await api.request('DELETE', path);
      for (const signerName of signerNames) {
        const selector = encodeURIComponent(`spec.signerName=${signerName}`);
        const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
        await api.request('DELETE', `${path}?fieldSelector=${selector}`);
      }
      await removeNamespace(api, namespace);
    },
  };
}

/** With what prepareNamespace made for it. There is no kubelet to end its pods, and it waits for them. */
export async function removeNamespace(api: ApiClient, namespace: string): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}`;
  await api.request('DELETE', `${rbac}/clusterrolebindings/podseal-workload-${namespace}-default`);
  await api.request('DELETE', `${path}/pods?gracePeriodSeconds=0`);
  await api.request('DELETE', path);
}

/** The object in the test's namespace; what belongs to no namespace gets a name of its own. */
function relocate(
  object: RbacObject,
  place: {
    readonly id: string;
    readonly namespace: string;
    readonly signerNames: readonly string[];
    readonly webhookConfiguration: string | undefined;
  },
  alterRule: (rule: RbacRule) => RbacRule,
): RbacObject {
  const { id, namespace, signerNames, webhookConfiguration } = place;
  const { metadata, rules, roleRef, subjects } = object;
  const isForeign = (kind: RbacObject['kind']): boolean => kind.startsWith('Cluster');
  const rename = (name: string, { resources }: RbacRule): string[] => {
    if (resources.includes('clusterroles')) return [`${name}-${id}`];
    if (name === 'podseal.dev/serving') return [...signerNames];
    if (name === 'podseal-injector' && webhookConfiguration !== undefined)
      return [webhookConfiguration, name];
    return name === trustBundleName('podseal.dev/serving')
      ? signerNames.map(trustBundleName)
      : [name];
  };
  return {
    ...object,
    metadata: isForeign(object.kind)
      ? { name: `${metadata.name}-${id}` }
      : { name: metadata.name, namespace },
    ...(rules && {
      rules: rules
        .map((rule) => ({
          ...rule,
          ...(rule.resourceNames && {
            resourceNames: rule.resourceNames.flatMap((name) => rename(name, rule)),
          }),
        }))
        .map(alterRule)
        .filter(({ verbs }) => verbs.length > 0),
    }),
    ...(roleRef && {
      roleRef:
        isForeign(roleRef.kind) && roleRef.name !== 'podseal-workload'
          ? { ...roleRef, name: `${roleRef.name}-${id}` }
          : roleRef,
    }),
    ...(subjects && { subjects: subjects.map((subject) => ({ ...subject, namespace })) }),
  };
}

function runningController(program: Program, podName: string): RunningController {
  const get: RunningController['get'] = async (path) => {
    const { port } = await program.logged('probes.listening');
    const answer = await fetch(`http://127.0.0.1:${String(port)}${path}`);
    return { status: answer.status, body: await answer.text() };
  };
  return {
    ...program,
    podName,
    get,
    async ready() {
      await until(`${podName} to be ready`, async () => (await get('/readyz')).status === 200);
    },
    async metric(name, labels = {}) {
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      const samples = (await get('/metrics')).body
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
        .filter((line) => wanted.every((label) => line.includes(label)));
      return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
    stop() {
      program.child.kill('SIGTERM');
      return program.exit;
    },
    async kill() {
      // A stopped process is ended by SIGKILL too.
      program.child.kill('SIGKILL');
      await program.exit;
    },
  };
}
