import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext } from 'node:test';
import { parse } from 'yaml';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { kubeconfig } from '../cluster/credentials.ts';
import { createPod, prepareNamespace, type PodSpec, type TestPod } from '../cluster/pod.ts';
import { startProgram } from './program.ts';
import { until } from './until.ts';

/** A namespace whose pods `podseal status` is asked about. */
export interface StatusScene {
  readonly namespace: string;
  readonly plane: ControlPlane;
  pod(name: string, form?: Partial<PodSpec>): Promise<TestPod>;
  /** Runs `podseal status -n NAMESPACE ARGS` as a cluster administrator. */
  status(...args: readonly string[]): Promise<StatusRun>;
}

export interface StatusRun {
  readonly code: number | null;
  /** Standard output. */
  readonly text: string;
  /** Standard error. */
  readonly errors: string;
}

/** One pod of `-o json`. */
export interface StatusRecord {
  readonly name: string;
  readonly state: string;
  readonly fine: boolean;
  readonly secondsLeft: number | null;
  readonly lastError: string | null;
  readonly why: readonly string[];
  readonly mend: readonly string[];
  readonly request: {
    readonly name: string;
    readonly standing: string;
    readonly denial: { readonly reasons: readonly { readonly value?: string }[] } | null;
  } | null;
  readonly unread: string | null;
  readonly agent: Readonly<Record<string, unknown>> | null;
}

export async function statusScene(
  plane: ControlPlane,
  labels: Readonly<Record<string, string>> = {},
): Promise<StatusScene> {
  const namespace = `status-${randomBytes(4).toString('hex')}`;
  await prepareNamespace(plane.api, namespace);
  await plane.api.must(
    'PATCH',
    `/api/v1/namespaces/${namespace}`,
    { metadata: { labels } },
    'application/merge-patch+json',
  );
  return {
    namespace,
    plane,
    pod: (name, form = {}) => createPod(plane.api, { ...form, namespace, name }),
    status: (...args) => runStatus({ KUBECONFIG: plane.kubeconfig }, ['-n', namespace, ...args]),
  };
}

export async function runStatus(
  environment: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<StatusRun> {
  const program = startProgram(['status', ...args], environment);
  let text = '';
  let errors = '';
  program.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  program.child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  return { code: await program.exit, text, errors };
}

/** Each pod of `-o json`, by name. */
export function recordsOf({ text }: StatusRun): Readonly<Record<string, StatusRecord>> {
  const records = JSON.parse(text) as readonly StatusRecord[];
  return Object.fromEntries(records.map((each) => [each.name, each]));
}

interface Role {
  readonly metadata: { readonly name: string };
  readonly rules: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

const rbac = '/apis/rbac.authorization.k8s.io/v1';

function statusRole(): Role {
  const file = join(import.meta.dirname, '../../examples/rbac/status.yaml');
  return parse(readFileSync(file, 'utf8')) as Role;
}

/** What examples/rbac/status.yaml grants, one by one: "get pods/proxy". */
export function statusRights(): readonly string[] {
  return statusRole().rules.flatMap(({ resources, verbs }) =>
    verbs.map((verb) => `${verb} ${resources.join()}`),
  );
}

/**
 * Somebody with the rights of examples/rbac/status.yaml, but for one that is `lost` ("get pods/proxy"), in
 * all namespaces or in one. Resolves to a token; everything is removed with the test.
 */
export async function statusOperator(
  context: TestContext,
  { api }: ControlPlane,
  { lost, namespace }: { readonly lost?: string; readonly namespace?: string },
): Promise<string> {
  const role = statusRole();
  const name = `${role.metadata.name}-${randomBytes(4).toString('hex')}`;
  const rules = role.rules
    .map((rule) => ({
      ...rule,
      verbs: rule.verbs.filter((verb) => `${verb} ${rule.resources.join()}` !== lost),
    }))
    .filter(({ verbs }) => verbs.length > 0);
  const account = `/api/v1/namespaces/default/serviceaccounts`;
  const bindings =
    namespace === undefined
      ? `${rbac}/clusterrolebindings`
      : `${rbac}/namespaces/${namespace}/rolebindings`;
  await api.must('POST', account, { metadata: { name } });
  await api.must('POST', `${rbac}/clusterroles`, { ...role, metadata: { name }, rules });
  await api.must('POST', bindings, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', namespace: 'default', name }],
  });
  context.after(async () => {
    for (const path of [account, `${rbac}/clusterroles`, bindings])
      await api.request('DELETE', `${path}/${name}`);
  });
  const review = {
    spec: {
      user: `system:serviceaccount:default:${name}`,
      // Granted to everybody who is asked for here, unless it is what is lost.
      resourceAttributes:
        lost === 'list events'
          ? { verb: 'list', resource: 'pods', namespace }
          : { verb: 'list', resource: 'events', namespace },
    },
  };
  await until('the authorizer to have heard of it', async () => {
    const answer = await api.must(
      'POST',
      '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      review,
    );
    return (answer as { status: { allowed: boolean } }).status.allowed;
  });
  const { status } = (await api.must('POST', `${account}/${name}/token`, {
    spec: { expirationSeconds: 3600 },
  })) as { status: { token: string } };
  return status.token;
}

/** A kubeconfig of somebody else, removed with the test. */
export function kubeconfigOf(
  context: TestContext,
  plane: ControlPlane,
  user: { readonly token: string; readonly namespace?: string },
): string {
  const directory = mkdtempSync(join(tmpdir(), 'podseal-status-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const caFile = join(directory, 'ca.crt');
  writeFileSync(caFile, plane.caPem);
  const path = join(directory, 'config');
  const text = kubeconfig(plane.serverUrl, caFile, { token: user.token });
  const named = user.namespace === undefined ? '' : `, namespace: ${user.namespace}`;
  writeFileSync(path, text.replace('user: podseal}', `user: podseal${named}}`), { mode: 0o600 });
  return path;
}

/**
 * An address of this machine that the API server proxies to: never loopback, which it refuses. Undefined
 * where there is none.
 */
export const ownAddress = Object.values(networkInterfaces())
  .flat()
  .find((each) => each && !each.internal && each.family === 'IPv4')?.address;

/** One that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) =>
    server.listen(0, ownAddress, () => resolve((server.address() as { port: number }).port)),
  );
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What answers in place of an agent, on `ownAddress`, until the test ends; resolves to its port. */
export function standIn(context: TestContext, answer: RequestListener): Promise<number> {
  const server = createServer(answer);
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return new Promise((resolve) =>
    server.listen(0, ownAddress, () => resolve((server.address() as { port: number }).port)),
  );
}

/** The agent as a native sidecar that runs, with these differences. */
export function sidecar(
  port: number,
  changes: {
    readonly container?: Readonly<Record<string, unknown>>;
    readonly status?: Readonly<Record<string, unknown>>;
    readonly signerName?: string;
  } = {},
): Pick<PodSpec, 'spec' | 'status' | 'podIPs'> {
  return {
    podIPs: [ownAddress ?? '10.97.0.10'],
    spec: {
      initContainers: [
        {
          name: 'podseal',
          image: 'podseal',
          args: ['watch'],
          restartPolicy: 'Always',
          readinessProbe: { httpGet: { path: '/readyz', port } },
          env: [
            { name: 'PODSEAL_LISTEN', value: `:${port}` },
            ...signerSetting(changes.signerName),
          ],
          ...changes.container,
        },
      ],
    },
    status: { initContainerStatuses: [containerStatus('podseal', changes.status)] },
  };
}

/** The init container alone, as a Job's pods have it. */
export function initOnly(
  status: Readonly<Record<string, unknown>>,
  signerName?: string,
): Pick<PodSpec, 'spec' | 'status'> {
  const env = signerSetting(signerName);
  return {
    spec: {
      initContainers: [{ name: 'podseal-init', image: 'podseal', args: ['init'], env }],
      restartPolicy: 'OnFailure',
    },
    status: { initContainerStatuses: [containerStatus('podseal-init', status)] },
  };
}

function signerSetting(value: string | undefined): readonly unknown[] {
  return value === undefined ? [] : [{ name: 'PODSEAL_SIGNER_NAME', value }];
}

function containerStatus(
  name: string,
  changes: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> {
  return {
    name,
    image: 'podseal',
    imageID: 'podseal',
    ready: false,
    restartCount: 0,
    state: { running: {} },
    ...changes,
  };
}
