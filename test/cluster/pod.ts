import { type ApiClient } from './api-client.ts';

/** A pod as the API server knows it, without a kubelet that would run it. */
export interface PodSpec {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostname?: string;
  readonly subdomain?: string;
  readonly podIPs?: readonly string[];
  /** Further fields of its spec, and of its status. */
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

export interface TestPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  readonly podIPs: readonly string[];
  /** Bound to the pod, as a kubelet would mount it. */
  readonly token: string;
}

const role = 'podseal-workload';
const nodeName = 'node-1';

/** What a workload may do: create and get its requests, nothing else. */
export async function prepareNamespace(
  api: ApiClient,
  namespace: string,
  serviceAccount = 'default',
): Promise<void> {
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  await make(api, '/api/v1/nodes', { metadata: { name: nodeName } });
  await make(api, `${rbac}/clusterroles`, {
    metadata: { name: role },
    rules: [
      {
        apiGroups: ['certificates.k8s.io'],
        resources: ['certificatesigningrequests'],
        verbs: ['create', 'get'],
      },
    ],
  });
  await make(api, '/api/v1/namespaces', { metadata: { name: namespace } });
  await make(api, `/api/v1/namespaces/${namespace}/serviceaccounts`, {
    metadata: { name: serviceAccount },
  });
  await make(api, `${rbac}/clusterrolebindings`, {
    metadata: { name: `${role}-${namespace}-${serviceAccount}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ kind: 'ServiceAccount', namespace, name: serviceAccount }],
  });
}

async function make(api: ApiClient, path: string, object: unknown): Promise<void> {
  const { status, body } = await api.request('POST', path, object);
  if (status >= 300 && status !== 409)
    throw new Error(`Cannot create in ${path}: ${status} ${JSON.stringify(body)}`);
}

/** Makes the pod, gives it addresses as a kubelet would, and asks for its bound token. Its namespace must have been prepared. */
export async function createPod(api: ApiClient, spec: PodSpec): Promise<TestPod> {
  const { namespace, name, serviceAccount = 'default', podIPs = ['10.97.0.10'] } = spec;
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const created = (await api.must('POST', pods, {
    metadata: { name, labels: spec.labels ?? {}, annotations: spec.annotations ?? {} },
    spec: {
      nodeName,
      serviceAccountName: serviceAccount,
      ...(spec.hostname === undefined ? {} : { hostname: spec.hostname }),
      ...(spec.subdomain === undefined ? {} : { subdomain: spec.subdomain }),
      containers: [{ name: 'app', image: 'app' }],
      ...spec.spec,
    },
  })) as { metadata: { uid: string } };
  const { uid } = created.metadata;
  const status = {
    phase: 'Running',
    podIP: podIPs[0],
    podIPs: podIPs.map((ip) => ({ ip })),
    ...spec.status,
  };
  await api.must('PATCH', `${pods}/${name}/status`, { status }, 'application/merge-patch+json');
  const token = await boundToken(api, { namespace, name, uid, serviceAccount });
  return { namespace, name, uid, serviceAccount, podIPs, token };
}

/** A fresh token of the pod's service account, bound to the pod. */
export async function boundToken(
  api: ApiClient,
  pod: Pick<TestPod, 'namespace' | 'name' | 'uid' | 'serviceAccount'>,
): Promise<string> {
  const path = `/api/v1/namespaces/${pod.namespace}/serviceaccounts/${pod.serviceAccount}/token`;
  const answer = (await api.must('POST', path, {
    spec: {
      expirationSeconds: 3607,
      boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: pod.name, uid: pod.uid },
    },
  })) as { status: { token: string } };
  return answer.status.token;
}
