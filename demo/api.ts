import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Service } from '../src/identity/service.ts';
import { apiClient, type ApiClient } from '../test/cluster/api-client.ts';
import { kubeconfig } from '../test/cluster/credentials.ts';
import { startEmbeddedApi } from '../test/embedded-api/server.ts';

export const namespaces = {
  application: 'podseal-demo',
  /** Of approver and signer. */
  system: 'podseal-demo-system',
  /** Of somebody else on the same cluster. */
  evil: 'podseal-demo-evil',
} as const;

export const nodeName = 'podseal-demo-node';

export interface NewPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly address: string;
}

/** A pod of the demo, as the API knows it. */
export interface DemoPod extends NewPod {
  readonly uid: string;
  /** Bound to the pod, as the kubelet would mount it. */
  readonly token: string;
}

/** Where the demo's requests go. */
export interface DemoApi {
  /** Said to the viewer before anything else. */
  readonly description: string;
  readonly serverUrl: string;
  readonly caPem: string;
  /** Path, administrator. */
  readonly kubeconfig: string;
  /** As administrator. */
  readonly client: ApiClient;
  /** Makes what everything else stands on: namespaces, node, rights. */
  prepare(): Promise<void>;
  makePod(pod: NewPod): Promise<DemoPod>;
  /** In the application's namespace. */
  makeService(name: string, selector: Readonly<Record<string, string>>): Promise<Service>;
  /** Removes all that was made. */
  close(): Promise<void>;
}

interface PodObject {
  readonly metadata: object;
  readonly spec: object;
  readonly status: object;
}

/** As the API keeps it, and as the kubelet of its node would tell. */
export function podObject({ name, labels, address }: NewPod): PodObject {
  return {
    metadata: { name, labels },
    spec: {
      nodeName,
      serviceAccountName: 'default',
      containers: [{ name: 'app', image: 'app' }],
    },
    status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }] },
  };
}

/** A small API inside this process: no cluster is needed. */
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
  let services = 0;
  return {
    description: `the embedded API at ${api.serverUrl} (no cluster; --cluster runs a real one)`,
    serverUrl: api.serverUrl,
    caPem: api.caPem,
    kubeconfig: config,
    client,
    async prepare() {
      const status = { addresses: [{ type: 'InternalIP', address: '192.168.0.10' }] };
      await client.must('POST', '/api/v1/nodes', { metadata: { name: nodeName }, status });
    },
    async makePod(pod) {
      const { namespace, name } = pod;
      const path = `/api/v1/namespaces/${namespace}/pods`;
      const { metadata } = (await client.must('POST', path, podObject(pod))) as {
        metadata: { uid: string };
      };
      const { uid } = metadata;
      const token = api.addPod({ namespace, name, uid, serviceAccount: 'default', nodeName });
      return { ...pod, uid, token };
    },
    async makeService(name, selector) {
      services += 1;
      const clusterIP = `10.96.0.${10 * (services + 1)}`;
      const spec = { selector, clusterIP, clusterIPs: [clusterIP], ports: [{ port: 443 }] };
      const path = `/api/v1/namespaces/${namespaces.application}/services`;
      await client.must('POST', path, { metadata: { name }, spec });
      return { name, selector, clusterIPs: [clusterIP], headless: false };
    },
    async close() {
      client.close();
      await api.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
