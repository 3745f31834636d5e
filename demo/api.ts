import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { apiClient, type ApiClient } from '../test/cluster/api-client.ts';
import {
  existingCluster,
  startControlPlane,
  type ControlPlane,
} from '../test/cluster/control-plane.ts';
import { kubeconfig } from '../test/cluster/credentials.ts';
import { createPod, prepareNamespace } from '../test/cluster/pod.ts';
import { startEmbeddedApi } from '../test/embedded-api/server.ts';

/** The pod of the demo, as the API knows it. */
export interface DemoPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly address: string;
  /** Bound to the pod, as the kubelet would mount it. */
  readonly token: string;
}

/** Where the demo's requests go. */
export interface DemoApi {
  /** Said to the viewer before anything else. */
  readonly description: string;
  readonly serverUrl: string;
  readonly caPem: string;
  /** As administrator. */
  readonly client: ApiClient;
  makePod(
    namespace: string,
    name: string,
    labels: Readonly<Record<string, string>>,
  ): Promise<DemoPod>;
  close(): Promise<void>;
}

const address = '10.97.0.10';

/** A small certificates API inside this process: no cluster is needed. */
export async function embeddedDemoApi(): Promise<DemoApi> {
  const api = await startEmbeddedApi();
  const directory = mkdtempSync(join(tmpdir(), 'podseal-demo-api-'));
  const caFile = join(directory, 'ca.crt');
  const config = join(directory, 'kubeconfig');
  writeFileSync(caFile, api.caPem);
  writeFileSync(config, kubeconfig(api.serverUrl, caFile, { token: api.addAdministrator() }), {
    mode: 0o600,
  });
  const client = apiClient(config);
  return {
    description: `the embedded certificates API at ${api.serverUrl} (no cluster; --cluster runs a real one)`,
    serverUrl: api.serverUrl,
    caPem: api.caPem,
    client,
    makePod(namespace, name) {
      const uid = randomUUID();
      const token = api.addPod({
        namespace,
        name,
        uid,
        serviceAccount: 'default',
        nodeName: 'node-1',
      });
      return Promise.resolve({ namespace, name, uid, address, token });
    },
    async close() {
      client.close();
      await api.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The test control plane: a real etcd, kube-apiserver and kube-controller-manager. */
export async function clusterDemoApi(say: (line: string) => void): Promise<DemoApi> {
  const plane = await startControlPlane({ say });
  return realApi(plane, `a real kube-apiserver at ${plane.serverUrl}, started for this demo`, () =>
    plane.down(),
  );
}

/** The cluster of KUBECONFIG; what the demo makes there is removed at the end. */
export function existingDemoApi(namespace: string): Promise<DemoApi> {
  if (!process.env['KUBECONFIG'])
    throw new Error('Cannot use an existing cluster: set KUBECONFIG to its kubeconfig file');
  process.env['USE_EXISTING_CLUSTER'] = 'true';
  const plane = existingCluster();
  const description = `YOUR cluster at ${plane.serverUrl} (${plane.kubeconfig}): makes and removes namespace ${namespace}`;
  return Promise.resolve(
    realApi(plane, description, async () => {
      await plane.api.request('DELETE', `/api/v1/namespaces/${namespace}`);
      const binding = `podseal-workload-${namespace}-default`;
      await plane.api.request(
        'DELETE',
        `/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/${binding}`,
      );
      plane.api.close();
    }),
  );
}

function realApi(plane: ControlPlane, description: string, close: () => Promise<void>): DemoApi {
  return {
    description,
    serverUrl: plane.serverUrl,
    caPem: plane.caPem,
    client: plane.api,
    async makePod(namespace, name, labels) {
      await prepareNamespace(plane.api, namespace);
      const pod = await createPod(plane.api, { namespace, name, labels, podIPs: [address] });
      return { namespace, name, uid: pod.uid, address, token: pod.token };
    },
    close,
  };
}
