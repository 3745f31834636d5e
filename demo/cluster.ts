import {
  existingCluster,
  startControlPlane,
  type ControlPlane,
} from '../test/cluster/control-plane.ts';
import { boundToken } from '../test/cluster/pod.ts';
import { until } from '../test/support/until.ts';
import { namespaces, nodeName, podObject, type DemoApi } from './api.ts';
import { trustBundlePath } from './controllers.ts';

/** The test control plane: a real etcd, kube-apiserver and kube-controller-manager. */
export async function clusterDemoApi(say: (line: string) => void): Promise<DemoApi> {
  const plane = await startControlPlane({ say });
  const description = `a real kube-apiserver at ${plane.serverUrl}, started for this demo`;
  return realApi(plane, description, { remove: () => plane.down() });
}

/** The cluster of KUBECONFIG; what the demo makes there is removed at the end. */
export function existingDemoApi(signerName: string): DemoApi {
  if (!process.env['KUBECONFIG'])
    throw new Error('Cannot use an existing cluster: set KUBECONFIG to its kubeconfig file');
  process.env['USE_EXISTING_CLUSTER'] = 'true';
  const plane = existingCluster();
  const made = Object.values(namespaces).join(', ');
  const description = `YOUR cluster at ${plane.serverUrl} (${plane.kubeconfig}): makes and removes the namespaces ${made}`;
  return realApi(plane, description, {
    async remove(paths) {
      const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
      const query = `?fieldSelector=${encodeURIComponent(`spec.signerName=${signerName}`)}`;
      const { items } = (await plane.api.must('GET', requests + query)) as {
        items: { metadata: { name: string } }[];
      };
      const own = items.map(({ metadata }) => `${requests}/${metadata.name}`);
      for (const path of [...own, trustBundlePath(signerName), ...paths])
        await plane.api.request('DELETE', path);
      plane.api.close();
    },
  });
}

const rbac = '/apis/rbac.authorization.k8s.io/v1';
const workload = 'podseal-demo-workload';

function realApi(
  plane: ControlPlane,
  description: string,
  { remove }: { readonly remove: (paths: readonly string[]) => Promise<void> },
): DemoApi {
  const { api } = plane;
  /** Paths, the last first. */
  const made: string[] = [];
  let isClosing = false;
  const make = async (collection: string, object: { readonly metadata: { name: string } }) => {
    // Told to stop in the middle: what is made now would stay.
    if (isClosing) throw new Error('Cannot make anything: the demo is ending');
    const { status, body } = await api.request('POST', collection, object);
    // What an earlier demo left behind when it was killed, or Kubernetes made meanwhile.
    if (status >= 300 && status !== 409)
      throw new Error(`Cannot create in ${collection}: ${status} ${JSON.stringify(body)}`);
    made.unshift(`${collection}/${object.metadata.name}`);
  };
  const inNamespace = (namespace: string, plural: string): string =>
    `/api/v1/namespaces/${namespace}/${plural}`;
  return {
    description,
    serverUrl: plane.serverUrl,
    caPem: plane.caPem,
    kubeconfig: plane.kubeconfig,
    client: api,
    async prepare() {
      for (const name of Object.values(namespaces)) await isFree(plane, name);
      for (const name of Object.values(namespaces)) {
        await make('/api/v1/namespaces', { metadata: { name } });
        await make(inNamespace(name, 'serviceaccounts'), { metadata: { name: 'default' } });
      }
      await make('/api/v1/nodes', { metadata: { name: nodeName } });
      const rule = {
        apiGroups: ['certificates.k8s.io'],
        resources: ['certificatesigningrequests'],
        verbs: ['create', 'get'],
      };
      const role = { metadata: { name: workload }, rules: [rule] };
      await make(`${rbac}/clusterroles`, role);
      const binding = {
        metadata: { name: workload },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: workload },
        subjects: [namespaces.application, namespaces.evil].map((namespace) => ({
          kind: 'ServiceAccount',
          namespace,
          name: 'default',
        })),
      };
      await make(`${rbac}/clusterrolebindings`, binding);
    },
    async makePod(pod) {
      const { namespace, name } = pod;
      const { status, ...object } = podObject(pod);
      const path = inNamespace(namespace, 'pods');
      const { metadata } = (await api.must('POST', path, object)) as { metadata: { uid: string } };
      const merge = 'application/merge-patch+json';
      await api.must('PATCH', `${path}/${name}/status`, { status }, merge);
      const { uid } = metadata;
      const token = await boundToken(api, { namespace, name, uid, serviceAccount: 'default' });
      return { ...pod, uid, token };
    },
    async makeService(name, selector) {
      const { spec } = (await api.must('POST', inNamespace(namespaces.application, 'services'), {
        metadata: { name },
        spec: { selector, ports: [{ port: 443 }] },
      })) as { spec: { clusterIPs: string[] } };
      return { name, selector, clusterIPs: spec.clusterIPs, headless: false };
    },
    close() {
      isClosing = true;
      return remove(made);
    },
  };
}

/** One that an earlier demo is still leaving is waited for; anybody else's is not touched. */
async function isFree({ api }: ControlPlane, namespace: string): Promise<void> {
  await until(
    `namespace ${namespace} of an earlier demo to be gone`,
    async () => {
      const { status, body } = await api.request('GET', `/api/v1/namespaces/${namespace}`);
      if (status === 404) return true;
      const { status: found } = body as { status?: { phase?: string } };
      if (status === 200 && found?.phase !== 'Terminating')
        throw new Error(
          `Cannot make namespace ${namespace}: it exists. Is another demo running? Else remove it: kubectl delete namespace ${namespace}`,
        );
      return false;
    },
    60,
  );
}
