import { equal, ok, rejects } from 'node:assert/strict';
import { Agent, request } from 'node:https';
import { after, describe, test } from 'node:test';
import { startFaultProxy } from '../cluster/fault-proxy.ts';
import { createPod, prepareNamespace } from '../cluster/pod.ts';
import { sharedControlPlane } from '../support/control-plane.ts';

const plane = sharedControlPlane();
after(() => plane.api.close());

await prepareNamespace(plane.api, 'fault-proxy');
const pod = await createPod(plane.api, { namespace: 'fault-proxy', name: `pod-${process.pid}` });
const proxy = await startFaultProxy({
  serverUrl: plane.serverUrl,
  caPem: plane.caPem,
  servingPair: plane.faults.servingPair,
});
after(() => proxy.close());

interface Seen {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
  /** How the answer ended: whole, cut off, or still open when we stopped listening. */
  readonly end: 'whole' | 'cut' | 'open';
}

/** One call through the proxy; rejects when there is no answer within `patienceMs`. */
function call(method: string, path: string, patienceMs = 4_000): Promise<Seen> {
  const agent = new Agent({ ca: plane.caPem });
  return new Promise<Seen>((resolve, reject) => {
    const outgoing = request(
      `https://${proxy.host}:${proxy.port}${path}`,
      { method, agent, headers: { authorization: `Bearer ${pod.token}` } },
      (incoming) => {
        let text = '';
        const done = (end: Seen['end']): void => {
          clearTimeout(timer);
          const retryAfter = incoming.headers['retry-after'];
          resolve({ status: incoming.statusCode ?? 0, retryAfter, text, end });
        };
        incoming.on('data', (chunk: Buffer) => (text += chunk.toString()));
        incoming.on('end', () => done('whole'));
        incoming.on('error', () => done('cut'));
        clearTimeout(timer);
        timer = setTimeout(() => done('open'), patienceMs);
      },
    );
    let timer = setTimeout(() => outgoing.destroy(new Error('no answer')), patienceMs);
    outgoing.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    outgoing.end();
  }).finally(() => agent.destroy());
}

// Service accounts may read these of everybody, by the API server's own defaults.
const trustBundles = '/apis/certificates.k8s.io/v1/clustertrustbundles';

describe('the proxy that makes faults, in front of a real API server', { timeout: 60_000 }, () => {
  test('passes everything through without rules', async () => {
    proxy.set([]);
    equal((await call('GET', '/version')).status, 200);
    ok(proxy.calls.includes('GET /version 200'));
  });

  test('status with Retry-After, as often as told, for what matches alone', async () => {
    proxy.set([
      { when: /version/, fault: { kind: 'status', status: 429, retryAfterSeconds: 7 }, times: 1 },
    ]);
    equal((await call('GET', '/livez')).status, 200);
    const refused = await call('GET', '/version');
    equal(refused.status, 429);
    equal(refused.retryAfter, '7');
    equal((await call('GET', '/version')).status, 200);
  });

  test('reset, hang, latency', async () => {
    proxy.set([{ fault: { kind: 'reset' } }]);
    await rejects(call('GET', '/version'), /ECONNRESET|hang up/);
    proxy.set([{ fault: { kind: 'hang' } }]);
    await rejects(call('GET', '/version', 500), /no answer/);
    proxy.set([{ fault: { kind: 'latency', ms: 300 } }]);
    const startedAt = Date.now();
    equal((await call('GET', '/version')).status, 200);
    ok(Date.now() - startedAt >= 300);
  });

  test('lose-answer does the call', async () => {
    proxy.set([{ fault: { kind: 'lose-answer' }, times: 1 }]);
    const path = `/api/v1/namespaces/fault-proxy/serviceaccounts/default/token`;
    await rejects(call('POST', path), /ECONNRESET|hang up/);
    equal((await call('GET', '/version')).status, 200);
  });

  test('a watch is cut in the middle, or falls silent and stays open', async () => {
    proxy.set([{ when: /watch=1/, fault: { kind: 'cut', afterMs: 300 } }]);
    const cut = await call('GET', `${trustBundles}?watch=1`);
    equal(cut.status, 200);
    equal(cut.end, 'cut');
    proxy.set([{ when: /watch=1/, fault: { kind: 'silence', afterMs: 0 } }]);
    const silent = await call('GET', `${trustBundles}?watch=1&timeoutSeconds=1`, 3_000);
    equal(silent.end, 'open', 'the API server ended it after a second, and we were not told');
  });
});
