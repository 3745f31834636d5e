import { randomBytes } from 'node:crypto';
import { type ApiClient } from '../cluster/api-client.ts';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { boundToken, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { removeNamespace } from './controllers.ts';
import { requester, type ApiUser, type ImpersonatedUser, type Requester } from './requester.ts';
import { until } from './until.ts';

/** Two tenants of one cluster, what stands in their namespaces, and everybody who may send requests. */
export interface AttackStage {
  /** The namespaces, by the word for them in names: `{shop}`, `{evil}`. */
  readonly namespaces: Readonly<Record<Tenant, string>>;
  /** As the cluster's administrator. */
  readonly api: ApiClient;
  readonly users: Requester;
  /** Text with `{shop}`, `{evil}`, and the addresses `{web-ip}`, `{api-ip}`, `{bank-ip}`, `{dual-ip}`, `{dual-ip-2}`, `{node-ip}` filled in. */
  fill(text: string): string;
  pod(tenant: Tenant, changes?: PodChanges): Promise<TestPod>;
  /** A token of the tenant's service account that is bound to what `bound` says, or to nothing. */
  token(tenant: Tenant, bound?: BoundObject): Promise<string>;
  /** As a user with the ClusterRole `edit` in both namespaces, who may write EndpointSlices too. */
  edit(path: string, object: unknown): Promise<void>;
  close(): Promise<void>;
}

export type Tenant = 'shop' | 'evil';

export interface BoundObject {
  readonly kind: 'Node' | 'Pod';
  readonly name: string;
  readonly uid: string;
}

export interface PodChanges {
  /** Instead of one of its own. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly podIPs?: readonly string[];
  /** Of its spec; without other words it runs on node-1. */
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly phase?: string;
}

const merge = 'application/merge-patch+json';
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const claims = 'authentication.kubernetes.io';

export async function attackStage(plane: ControlPlane): Promise<AttackStage> {
  const { api } = plane;
  const id = randomBytes(4).toString('hex');
  const namespaces = { shop: `shop-${id}`, evil: `evil-${id}` };
  const nodeIp = `10.98.${randomBytes(2).join('.')}`;
  const clusterScoped: string[] = [];
  const make = async (collection: string, object: { metadata: { name: string } }) => {
    await api.must('POST', collection, object);
    clusterScoped.push(`${collection}/${object.metadata.name}`);
  };
  for (const namespace of Object.values(namespaces)) await prepareNamespace(api, namespace);
  await make('/api/v1/nodes', {
    metadata: { name: `node-${id}` },
    ...{ status: { addresses: [{ type: 'InternalIP', address: nodeIp }] } },
  });
  const administrator = `administrator-${id}`;
  const accounts = `/api/v1/namespaces/${namespaces.evil}/serviceaccounts`;
  await api.must('POST', accounts, { metadata: { name: administrator } });
  await make(`${rbac}/clusterrolebindings`, {
    metadata: { name: administrator },
    ...binding('cluster-admin', {
      kind: 'ServiceAccount',
      namespace: namespaces.evil,
      name: administrator,
    }),
  });
  const tokenOf = async (path: string, bound?: BoundObject): Promise<string> => {
    const spec = { ...(bound && { boundObjectRef: { apiVersion: 'v1', ...bound } }) };
    const answer = await api.must('POST', `${path}/token`, { spec });
    return (answer as { status: { token: string } }).status.token;
  };
  const users = requester(
    plane.serverUrl,
    plane.caPem,
    await tokenOf(`${accounts}/${administrator}`),
  );
  const editor: ImpersonatedUser = { user: `editor-${id}`, groups: [], extra: {} };
  for (const namespace of Object.values(namespaces)) {
    const roles = `${rbac}/namespaces/${namespace}`;
    const subject = { kind: 'User', name: editor.user };
    await api.must('POST', `${roles}/roles`, {
      metadata: { name: 'endpoints' },
      rules: [
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['create'] },
      ],
    });
    await api.must('POST', `${roles}/rolebindings`, {
      metadata: { name: 'edit' },
      ...binding('edit', subject),
    });
    await api.must('POST', `${roles}/rolebindings`, {
      metadata: { name: 'endpoints' },
      ...binding('endpoints', subject, 'Role'),
    });
  }
  const edit: AttackStage['edit'] = async (path, object) => {
    await until(`the right to write ${path}`, async () => {
      const { status, body } = await users.post(editor, path, object);
      if (status !== 403 && status >= 300)
        throw new Error(`Cannot write ${path}: ${status} ${JSON.stringify(body)}`);
      return status < 300;
    });
  };
  const addresses = await makeServices(plane, namespaces, edit);
  let pods = 0;
  const fill = (text: string): string =>
    Object.entries({ ...namespaces, ...addresses, 'node-ip': nodeIp }).reduce(
      (filled, [word, value]) => filled.replaceAll(`{${word}}`, value),
      text,
    );
  return {
    namespaces,
    api,
    users,
    fill,
    pod: (tenant, changes = {}) =>
      makePod(plane, {
        name: `pod-${pods++}`,
        namespace: namespaces[tenant],
        ...changes,
        podIPs: (changes.podIPs ?? ['10.97.0.10']).map(fill),
      }),
    token: (tenant, bound) =>
      tokenOf(`/api/v1/namespaces/${namespaces[tenant]}/serviceaccounts/default`, bound),
    edit,
    async close() {
      users.close();
      for (const path of clusterScoped) await api.request('DELETE', path);
      const leaving = `/api/v1/namespaces/${namespaces.shop}/services/leaving`;
      await api.request('PATCH', leaving, { metadata: { finalizers: null } }, merge);
      for (const namespace of Object.values(namespaces)) await removeNamespace(api, namespace);
    },
  };
}

function binding(role: string, subject: Readonly<Record<string, string>>, kind = 'ClusterRole') {
  return {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: role },
    subjects: [subject],
  };
}

/** What both tenants have, each written by an `edit` user; resolves to the cluster IPs that names speak of. */
async function makeServices(
  { api }: ControlPlane,
  namespaces: AttackStage['namespaces'],
  edit: AttackStage['edit'],
): Promise<Readonly<Record<string, string>>> {
  const ports = [{ port: 443 }];
  const selector = { app: 'web' };
  const services: Readonly<Record<Tenant, Readonly<Record<string, object>>>> = {
    shop: {
      web: { selector, ports },
      api: { selector: { app: 'api' }, ports },
      db: { selector, ports, clusterIP: 'None' },
      made: { ports },
      empty: { selector: {}, ports },
      away: { selector, type: 'ExternalName', externalName: 'example.com', ports },
      leaving: { selector, ports },
      dual: { selector, ports, ipFamilyPolicy: 'RequireDualStack' },
      // Of nobody yet.
      leader: { selector: { role: 'nobody' }, ports },
      promoted: { selector: { role: 'promoted' }, ports },
    },
    // `web` as in the other namespace; `prod` makes `payments.prod` with a hostname.
    evil: {
      web: { selector, ports },
      bank: { selector, ports },
      prod: { selector, ports, clusterIP: 'None' },
    },
  };
  for (const tenant of ['shop', 'evil'] as const)
    for (const [name, spec] of Object.entries(services[tenant])) {
      const finalizers = name === 'leaving' ? ['test.podseal.dev/keep'] : [];
      const path = `/api/v1/namespaces/${namespaces[tenant]}/services`;
      await edit(path, { metadata: { name, finalizers }, spec });
      if (name === 'leaving') await api.must('DELETE', `${path}/${name}`);
    }
  const addressOf = async (tenant: Tenant, name: string, index = 0): Promise<string> => {
    const path = `/api/v1/namespaces/${namespaces[tenant]}/services/${name}`;
    const { spec } = (await api.must('GET', path)) as { spec: { clusterIPs: string[] } };
    return spec.clusterIPs[index] ?? '';
  };
  return {
    'web-ip': await addressOf('shop', 'web'),
    'api-ip': await addressOf('shop', 'api'),
    'bank-ip': await addressOf('evil', 'bank'),
    'dual-ip': await addressOf('shop', 'dual'),
    'dual-ip-2': await addressOf('shop', 'dual', 1),
  };
}

async function makePod(
  { api }: ControlPlane,
  changes: PodChanges & Pick<TestPod, 'name' | 'namespace' | 'podIPs'>,
): Promise<TestPod> {
  const { name, namespace, annotations, phase = 'Running', labels = { app: 'web' } } = changes;
  const { podIPs } = changes;
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const made = (await api.must('POST', path, {
    metadata: { name, labels, annotations },
    spec: { nodeName: 'node-1', containers: [{ name: 'app', image: 'app' }], ...changes.spec },
  })) as { metadata: { uid: string }; spec: { serviceAccountName?: string } };
  const addresses = { podIP: podIPs[0], podIPs: podIPs.map((ip) => ({ ip })) };
  const status = { phase, ...(podIPs.length > 0 && addresses) };
  await api.must('PATCH', `${path}/${name}/status`, { status }, merge);
  const pod = { namespace, name, uid: made.metadata.uid, serviceAccount: 'default', podIPs };
  // A mirror pod has no service account.
  const hasAccount = made.spec.serviceAccountName !== undefined;
  return { ...pod, token: hasAccount ? await boundToken(api, pod) : '' };
}

/** A service account with claims about a pod, as only an administrator who impersonates can make them up. */
export function impersonated(
  pod: TestPod,
  changes: {
    readonly user?: string;
    /** Of the administrator's choice: they may create requests. */
    readonly groups?: readonly string[];
    readonly claims?: Readonly<Record<string, readonly string[]>>;
  } = {},
): ApiUser {
  const all = {
    'pod-name': [pod.name],
    'pod-uid': [pod.uid],
    'node-name': ['node-1'],
    ...changes.claims,
  };
  return {
    user: changes.user ?? `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}`,
    groups: changes.groups ?? ['system:masters'],
    extra: Object.fromEntries(
      Object.entries(all).map(([claim, values]) => [`${claims}/${claim}`, values]),
    ),
  };
}
