import { randomUUID } from 'node:crypto';
import { type AgentWorld } from '../src/agent/world.ts';
import { obtain } from '../src/agent/obtain.ts';
import { type SigningRequests } from '../src/certificates/signing-request.ts';
import { apiSigningRequests } from '../src/kubernetes/signing-requests.ts';
import { generateKey } from '../src/node/key-generator.ts';
import { metricsRegistry } from '../src/node/prometheus-text.ts';
import { retryWith } from '../src/node/retry.ts';
import { systemClock } from '../src/node/system-clock.ts';
import { systemRandom } from '../src/node/system-random.ts';
import { type PendingRequest } from '../src/volume/volume.ts';
import { type ControlPlane } from '../test/cluster/control-plane.ts';
import { createPod, prepareNamespace } from '../test/cluster/pod.ts';
import { testAuthority, type ApiRequest } from '../test/support/administrator.ts';
import { approveAndSign } from './quick-administrator.ts';
import { median } from './agent.ts';

/**
 * How long and how many reads it takes to get a certificate when 1, 100 or 1,000 agents ask at once.
 * Each agent is the product's own code with its own connection and token; all run in this process,
 * so their CPU is shared with the API server, as pods of one busy node would.
 */
export async function benchReads(
  plane: ControlPlane,
  say: (line: string) => void,
): Promise<object[]> {
  const namespace = 'bench-reads';
  await prepareNamespace(plane.api, namespace);
  const sizes = (process.env['BENCH_AGENTS'] ?? '1,100,1000').split(',').map(Number);
  const results: object[] = [];
  for (const count of sizes) {
    const result = await burst(plane, namespace, count, say);
    say(JSON.stringify(result));
    results.push(result);
  }
  return results;
}

async function burst(
  plane: ControlPlane,
  namespace: string,
  count: number,
  say: (line: string) => void,
): Promise<object> {
  const ca = await testAuthority();
  const pods = [];
  const id = randomUUID().slice(0, 8);
  for (let i = 0; i < count; i += 20) {
    const batch = Array.from({ length: Math.min(20, count - i) }, (_, j) =>
      createPod(plane.api, {
        namespace,
        name: `pod-${id}-${i + j}`,
        podIPs: [`10.97.${(i + j) >> 8}.${(i + j) & 255}`],
      }),
    );
    pods.push(...(await Promise.all(batch)));
  }
  say(`${count} pods made`);
  const stop = new AbortController();
  let calls = 0;
  let refused = 0;
  const queue: ApiRequest[] = [];
  const startedAt = Date.now();
  const agents = pods.map(async (pod) => {
    const endpoint = {
      serverUrl: plane.serverUrl,
      source: 'bench',
      tls: () => Promise.resolve({ key: 'bench', material: { ca: plane.caPem } }),
      headers: () => Promise.resolve({ authorization: `Bearer ${pod.token}` }),
    };
    const requests = apiSigningRequests(endpoint, stop.signal, (method, status) => {
      if (method === 'GET') calls++;
      if (status === 429) refused++;
    });
    await obtain(
      {
        names: { dnsNames: [`web.${namespace}.svc`], ipAddresses: [...pod.podIPs], uris: [] },
        giveUpAt: new Date(Date.now() + 300_000),
        stop: stop.signal,
      },
      {
        podUid: pod.uid,
        signerName: 'bench.podseal.dev/serving',
        keyAlgorithm: 'ECDSAP256',
        lifetimeMs: 86_400_000,
        timeoutMs: 300_000,
        withCommonName: false,
        payload: { keyMode: 0o400, formats: [], storePassword: '' },
      },
      world(announcing(requests, queue), ca.rootPem),
    );
    return Date.now() - startedAt;
  });
  const serve = async (): Promise<void> => {
    for (let served = 0; served < Infinity && !stop.signal.aborted;) {
      const request = queue.shift();
      if (request) await approveAndSign(plane.api, request, ca);
      else await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const servers = Array.from({ length: 16 }, serve);
  const times = await Promise.all(agents);
  stop.abort();
  await Promise.all(servers);
  return {
    agents: count,
    secondsToLast: Number((Math.max(...times) / 1000).toFixed(2)),
    p50Ms: median(times),
    p99Ms: [...times].sort((a, b) => a - b)[Math.floor(times.length * 0.99)],
    readsPerCertificate: Number((calls / count).toFixed(2)),
    refusedWith429: refused,
  };
}

/** Tells the administrator at once about each request that was created. */
function announcing(requests: SigningRequests, queue: ApiRequest[]): SigningRequests {
  return {
    get: (name) => requests.get(name),
    async create(request) {
      const created = await requests.create(request);
      queue.push({
        metadata: { name: created.name, uid: created.uid },
        spec: {
          request: Buffer.from(created.request).toString('base64'),
          signerName: created.signerName,
          username: '',
          usages: [...request.usages] as ApiRequest['spec']['usages'],
          expirationSeconds: request.expirationSeconds,
        },
        status: {},
      });
      return created;
    },
  };
}

/** The agent's world with a volume in memory: a thousand of them must not measure this disk. */
function world(requests: SigningRequests, rootPem: string): AgentWorld {
  let pending: PendingRequest | undefined;
  return {
    clock: systemClock,
    random: systemRandom,
    retry: retryWith(systemClock),
    generateKey,
    requests,
    sources: {
      names: () => ({ kind: 'unknown', why: 'bench', unconfigured: false }),
      trust: () => [{ path: 'bench', kind: 'read', pem: rootPem }],
      renewAnnotation: () => undefined,
    },
    volume: {
      read: () => undefined,
      publish: () => undefined,
      readPending: () => pending,
      writePending: (next) => (pending = next),
      clearPending: () => (pending = undefined),
      readTold: () => undefined,
      writeTold: () => undefined,
    },
    log: () => undefined,
    metrics: metricsRegistry(),
    freeMemory: () => undefined,
  };
}
