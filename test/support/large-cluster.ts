import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { makeCredentials } from '../cluster/credentials.ts';
import { requestFor } from './asking.ts';

/** How much there is. */
export interface LargeClusterSize {
  readonly services: number;
  readonly issued: number;
  readonly denied: number;
  /** They wait for a Service that never comes. */
  readonly pending: number;
}

/**
 * An API server of which only the size is real: it lists Services and signing requests by the thousand, as
 * large as they are with everything that a cluster adds to them, and holds watches open. What is written is
 * kept where a program reads it again; nothing is checked. For memory: a real API server takes minutes to be filled.
 */
export interface LargeCluster {
  readonly signerName: string;
  /** Of a program that runs in it. */
  readonly environment: Readonly<Record<string, string>>;
  /** How often a whole list of signing requests was made. */
  readonly lists: () => number;
  close(): void;
}

type Stored = Readonly<Record<string, unknown>>;

const signerName = 'test.podseal.dev/large';
const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const namespaces = 50;
const namespaceOf = (index: number): string => `team-${index % namespaces}`;
const uidOf = (kind: number, index: number): string =>
  `${String(kind).padStart(8, '0')}-0000-4000-8000-${String(index).padStart(12, '0')}`;

export async function largeCluster(
  directory: string,
  size: LargeClusterSize,
): Promise<LargeCluster> {
  await makeCredentials(join(directory, 'pki'), { ipAddresses: [] });
  const pem = (name: string): string => readFileSync(join(directory, 'pki', name), 'utf8');
  const account = join(directory, 'account');
  mkdirSync(account);
  writeFileSync(join(account, 'ca.crt'), pem('ca.crt'));
  writeFileSync(join(account, 'token'), 'of-the-test');
  const asked = Array.from({ length: namespaces }, (_, index) =>
    requestFor({ dnsNames: [`later.${namespaceOf(index)}.svc`] }),
  );
  const signingRequest = (index: number): Stored => signingRequestOf(index, size, asked);
  const requestCount = size.issued + size.denied + size.pending;
  const stored = new Map<string, Stored>();
  let lists = 0;
  const collections: Readonly<Record<string, (query: URLSearchParams) => Stored>> = {
    '/api/v1/services': (query) => page(query, size.services, serviceOf),
    [requests](query) {
      if (!query.has('continue')) lists++;
      return page(query, requestCount, signingRequest);
    },
  };
  const answer = (method: string, url: URL, body: Stored): Stored | undefined => {
    const { pathname, searchParams } = url;
    const pod = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/web-(\d+)$/.exec(pathname);
    if (pod) return podOf(Number(pod[2]));
    if (method === 'POST') return write(stored, `${pathname}/${nameOf(body)}`, body);
    if (method === 'PUT' || method === 'PATCH') return write(stored, pathname, body);
    const collection = collections[pathname];
    if (collection) return collection(searchParams);
    if (!searchParams.has('limit')) return stored.get(pathname);
    const items = [...stored].filter(([path]) => path.startsWith(`${pathname}/`));
    return { metadata: { resourceVersion: '1' }, items: items.map(([, each]) => each) };
  };
  const server = createServer({ cert: pem('apiserver.crt'), key: pem('apiserver.key') });
  server.on('request', (incoming: IncomingMessage, reply: ServerResponse) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const { method = '', url = '' } = incoming;
      const at = new URL(url, 'https://large');
      if (at.searchParams.has('watch')) {
        reply.flushHeaders();
        return;
      }
      const text = Buffer.concat(chunks).toString();
      const found = answer(method, at, JSON.parse(text === '' ? '{}' : text) as Stored);
      reply.statusCode = found ? 200 : 404;
      reply.end(JSON.stringify(found ?? { kind: 'Status', reason: 'NotFound', code: 404 }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    signerName,
    environment: {
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String((server.address() as AddressInfo).port),
      PODSEAL_SERVICE_ACCOUNT_DIR: account,
      POD_NAMESPACE: 'podseal-system',
      PODSEAL_SIGNER_NAMES: signerName,
      PODSEAL_LISTEN: '127.0.0.1:0',
    },
    lists: () => lists,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function page(query: URLSearchParams, count: number, item: (index: number) => Stored): Stored {
  const start = Number(query.get('continue') ?? 0);
  const end = Math.min(count, start + Number(query.get('limit')));
  return {
    metadata: { resourceVersion: '1', ...(end < count ? { continue: String(end) } : {}) },
    items: Array.from({ length: end - start }, (_, index) => item(start + index)),
  };
}

let version = 1;

function write(stored: Map<string, Stored>, path: string, body: Stored): Stored {
  const metadata = {
    ...(body['metadata'] as Stored | undefined),
    uid: uidOf(0, 0),
    resourceVersion: String(++version),
  };
  const object = { ...stored.get(path), ...body, metadata };
  // Events are many, and nobody reads them.
  if (!path.includes('/events/')) stored.set(path, object);
  return object;
}

function nameOf(body: Stored): string {
  return String((body['metadata'] as { name?: string } | undefined)?.name);
}

/** As `kubectl get --show-managed-fields` shows them: a third of what an object weighs. */
function managedFields(managers: readonly string[], fields: readonly string[]): readonly Stored[] {
  const fieldsV1 = Object.fromEntries(
    fields.map((field) => [`f:${field}`, { '.': {}, 'f:name': {} }]),
  );
  return managers.map((manager) => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    time: '2026-03-01T00:00:00Z',
    fieldsType: 'FieldsV1',
    fieldsV1: { 'f:metadata': { 'f:labels': fieldsV1 }, 'f:spec': fieldsV1 },
  }));
}

function serviceOf(index: number): Stored {
  const name = `service-${index}`;
  const address = `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
  return {
    metadata: {
      name,
      namespace: namespaceOf(index),
      uid: uidOf(1, index),
      resourceVersion: '1',
      labels: { app: name, 'app.kubernetes.io/part-of': 'shop', 'helm.sh/chart': 'shop-1.2.3' },
      annotations: { note: 'x'.repeat(400) },
      managedFields: managedFields(['helm'], ['ports', 'selector', 'type', 'clusterIP']),
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: address,
      clusterIPs: [address],
      selector: { app: name, tier: 'backend' },
      ports: [{ name: 'https', protocol: 'TCP', port: 443, targetPort: 8443 }],
    },
    status: { loadBalancer: {} },
  };
}

function podOf(index: number): Stored {
  return {
    metadata: {
      name: `web-${index}`,
      namespace: namespaceOf(index),
      uid: uidOf(2, index),
      labels: { app: 'web' },
    },
    spec: { serviceAccountName: 'web', nodeName: 'node-1' },
    status: { phase: 'Running', podIPs: [{ ip: '10.244.0.7' }] },
  };
}

function signingRequestOf(index: number, size: LargeClusterSize, asked: readonly string[]): Stored {
  const condition = (type: string) => ({
    type,
    status: 'True',
    reason: 'Podseal',
    message: 'x'.repeat(type === 'Denied' ? 1_500 : 120),
    lastUpdateTime: '2026-03-01T00:00:00Z',
    lastTransitionTime: '2026-03-01T00:00:00Z',
  });
  const claim = (name: string): string => `authentication.kubernetes.io/${name}`;
  const issued = { conditions: [condition('Approved')], certificate: 'TFMw'.repeat(600) };
  const denied = { conditions: [condition('Denied')] };
  const status = index < size.issued ? issued : index < size.issued + size.denied ? denied : {};
  return {
    metadata: {
      name: `podseal-${uidOf(2, index)}-0123456789abcdef`,
      uid: uidOf(3, index),
      resourceVersion: '1',
      creationTimestamp: '2026-03-01T00:00:00Z',
      managedFields: managedFields(['podseal', 'approver', 'signer'], ['request', 'usages']),
    },
    spec: {
      request: Buffer.from(asked[index % namespaces] ?? '').toString('base64'),
      signerName,
      expirationSeconds: 86_400,
      usages: ['digital signature', 'server auth', 'client auth'],
      username: `system:serviceaccount:${namespaceOf(index)}:web`,
      groups: ['system:serviceaccounts', 'system:authenticated'],
      uid: uidOf(4, index),
      extra: {
        [claim('credential-id')]: [`JTI=${uidOf(5, index)}`],
        [claim('node-name')]: ['node-1'],
        [claim('pod-name')]: [`web-${index}`],
        [claim('pod-uid')]: [uidOf(2, index)],
      },
    },
    status,
  };
}
