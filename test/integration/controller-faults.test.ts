import { deepEqual, equal, ok } from 'node:assert/strict';
import { X509Certificate, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseCertificationRequest } from '../../src/pki/certification-request.ts';
import { decodePem } from '../../src/pki/pem.ts';
import { makeCredentials } from '../cluster/credentials.ts';
import { type FaultProxy, type FaultRule, startFaultProxy } from '../cluster/fault-proxy.ts';
import { createPod, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { namesOf, requestFor, sendRequest } from '../support/asking.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import {
  controllerSystem,
  type ControllerName,
  type ControllerSystem,
  removeNamespace,
  type RunningController,
} from '../support/controllers.ts';
import { openSockets, privateMB } from '../support/process-figures.ts';
import { type RequestHistory, requestHistory } from '../support/request-history.ts';
import { requester } from '../support/requester.ts';
import { until } from '../support/until.ts';

/**
 * Approver and signer behind a proxy that makes faults, while 200 honest requests are under way. Whatever
 * breaks: each is issued, and nothing is ever decided or issued twice.
 */

const plane = sharedControlPlane();
const { api } = plane;
const users = requester(plane.serverUrl, plane.caPem, '');
const id = randomBytes(4).toString('hex');
const shop = `shop-faults-${id}`;
const signerName = `test.podseal.dev/faults-${id}`;
const root = mkdtempSync(join(tmpdir(), 'podseal-faults-'));
const names = ['approver', 'signer'] as const;
const podCount = 40;
const perPod = 5;

let proxy: FaultProxy;
let system: ControllerSystem;
let history: RequestHistory;
let controllers: Readonly<Record<ControllerName, RunningController>>;
let pods: readonly TestPod[] = [];
let sent = 0;
/** When everything has been used once. */
let settledMB: readonly number[] = [];

const isWatch = /watch=true/;
const isList = /limit=/;
const isWrite = /^(PATCH|PUT) .*\/(approval|status)/;

/** As a kubelet does it: never half. */
function replaceFile(of: ControllerName, name: 'token' | 'ca.crt', text: string): void {
  const path = join(root, of, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

/** Sends 200 requests, each as its pod, past the proxy. */
async function ask(): Promise<void> {
  sent += podCount * perPod;
  await Promise.all(
    Array.from({ length: podCount * perPod }, async (_, i) => {
      const pod = pods[i % podCount];
      ok(pod);
      const names = namesOf(pod, 'web');
      const request = requestFor({ ...names, ipAddresses: pod.podIPs });
      await sendRequest(users, { token: pod.token }, { signerName }, { request });
    }),
  );
}

/** Each certificate is one for its own request's key and names. */
function checkCertificates(): void {
  for (const { metadata, spec, status } of history.requests.values()) {
    const issued = new X509Certificate(Buffer.from(status.certificate ?? '', 'base64'));
    const [block] = decodePem(Buffer.from(spec.request, 'base64').toString());
    const asked = parseCertificationRequest(block?.der ?? Buffer.of());
    const key = issued.publicKey.export({ type: 'spki', format: 'der' });
    ok(key.equals(asked.publicKeyDer), metadata.name);
    for (const name of asked.names.dnsNames) equal(issued.checkHost(name), name, metadata.name);
    for (const address of asked.names.ipAddresses) equal(issued.checkIP(address), address);
  }
}

/** Tokens of both programs that are worth nothing once the Secret of this name is gone. */
async function useTokensBoundTo(anchor: string): Promise<void> {
  const core = `/api/v1/namespaces/${system.namespace}`;
  const secret = (await api.must('POST', `${core}/secrets`, { metadata: { name: anchor } })) as {
    metadata: { uid: string };
  };
  const { uid } = secret.metadata;
  for (const of of names) {
    const path = `${core}/serviceaccounts/podseal-${of}/token`;
    const boundObjectRef = { kind: 'Secret', apiVersion: 'v1', name: anchor, uid };
    const answer = (await api.must('POST', path, { spec: { boundObjectRef } })) as {
      status: { token: string };
    };
    replaceFile(of, 'token', answer.status.token);
  }
}

interface Storm {
  readonly rules?: readonly FaultRule[];
  /** The rules end after so long; by default when everything is issued. */
  readonly endsAfterMs?: number;
  /** Done while the requests are under way. */
  act?(): Promise<void>;
  /** Calls that the proxy must have seen, of those that went wrong. */
  readonly seen: RegExp;
}

async function weather(context: TestContext, storm: Storm): Promise<void> {
  const startedAt = Date.now();
  const callsBefore = proxy.calls.length;
  proxy.set(storm.rules ?? []);
  const asking = ask();
  // Watches too meet the fault, and nothing that is under way goes on in peace.
  proxy.disconnect();
  const acting = storm.act?.();
  if (storm.endsAfterMs !== undefined) await sleep(storm.endsAfterMs);
  if (storm.endsAfterMs !== undefined) proxy.set([]);
  await Promise.all([asking, acting]);
  await until('every request to be issued', () => history.issued() >= sent, 60);
  proxy.set([]);
  deepEqual(history.violations, []);
  equal(history.requests.size, sent);
  const calls = proxy.calls.slice(callsBefore);
  const wrong = calls.filter((call) => storm.seen.test(call)).length;
  ok(wrong > 0, 'the fault was met');
  context.diagnostic(
    `${((Date.now() - startedAt) / 1000).toFixed(1)} s, ${calls.length} calls, ${wrong} of them hit; ` +
      `${proxy.openConnections()} connections open; ${memory().join(' and ')} MB private`,
  );
}

/** Private, of approver and signer. */
function memory(): readonly number[] {
  return names.map((name) => privateMB(controllers[name].child.pid));
}

describe('approver and signer under faults', { timeout: 240_000 }, () => {
  before(async () => {
    proxy = await startFaultProxy({
      serverUrl: plane.serverUrl,
      caPem: plane.caPem,
      servingPair: plane.faults.servingPair,
    });
    system = await controllerSystem(plane, { signerNames: [signerName] });
    history = await requestHistory(plane, signerName);
    for (const name of names) {
      mkdirSync(join(root, name));
      replaceFile(name, 'ca.crt', plane.caPem);
    }
    await useTokensBoundTo('first-tokens');
    const start = (name: ControllerName): Promise<RunningController> =>
      system.start(name, {
        KUBERNETES_SERVICE_HOST: proxy.host,
        KUBERNETES_SERVICE_PORT: String(proxy.port),
        PODSEAL_SERVICE_ACCOUNT_DIR: join(root, name),
        PODSEAL_WATCH_IDLE: '2s',
        ...(name === 'signer' ? { PODSEAL_MAX_OPEN_REQUESTS: '1000' } : {}),
      });
    controllers = { approver: await start('approver'), signer: await start('signer') };
    await prepareNamespace(api, shop);
    await api.must('POST', `/api/v1/namespaces/${shop}/services`, {
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
    });
    pods = await Promise.all(
      Array.from({ length: podCount }, (_, i) =>
        createPod(api, { namespace: shop, name: `web-${i}`, labels: { app: 'web' } }),
      ),
    );
    await system.bundle();
    await ask();
    await until('the first requests to be issued', () => history.issued() >= sent, 60);
    settledMB = memory();
  });
  after(async () => {
    history.close();
    await system.close();
    await proxy.close();
    users.close();
    await removeNamespace(api, shop);
    api.close();
    rmSync(root, { recursive: true, force: true });
  });

  test('watches that are cut', async (context) => {
    const fault = { kind: 'cut', afterMs: 100 } as const;
    await weather(context, { rules: [{ fault, when: isWatch }], seen: isWatch });
  });

  test('watches that say nothing', async (context) => {
    const fault = { kind: 'silence', afterMs: 0 } as const;
    await weather(context, { rules: [{ fault, when: isWatch }], seen: isWatch });
  });

  test('token and CA are rotated', async (context) => {
    const directory = join(root, 'pki');
    await makeCredentials(directory, { ipAddresses: [] });
    const pem = (name: string): string => readFileSync(join(directory, name), 'utf8');
    await weather(context, {
      rules: [{ fault: { kind: 'status', status: 401 }, times: 20 }],
      async act() {
        await useTokensBoundTo('second-tokens');
        for (const name of names) replaceFile(name, 'ca.crt', `${plane.caPem}\n${pem('ca.crt')}`);
        // As long as it may take until the files are read again.
        await sleep(1_200);
        proxy.present({ cert: pem('apiserver.crt'), key: pem('apiserver.key') });
        proxy.disconnect();
        await sleep(500);
        for (const name of names) replaceFile(name, 'ca.crt', pem('ca.crt'));
        // The first tokens are refused from now on, or ten seconds later: the API server has a memory.
        await api.must('DELETE', `/api/v1/namespaces/${system.namespace}/secrets/first-tokens`);
      },
      seen: / 401$/,
    });
  });

  test('410, as an answer and as an event, while lists break off between their pages', async (context) => {
    const code = { kind: 'Status', status: 'Failure', reason: 'Expired', code: 410 };
    const body = `${JSON.stringify({ type: 'ERROR', object: code })}\n`;
    await weather(context, {
      rules: [
        { fault: { kind: 'status', status: 410 }, when: isWatch, times: 8 },
        { fault: { kind: 'say', body }, when: isWatch, times: 8 },
        { fault: { kind: 'cut-after-bytes', bytes: 5_000 }, when: isList, times: 8 },
        { fault: { kind: 'status', status: 410 }, when: /continue=/, times: 2 },
        { fault: { kind: 'cut', afterMs: 50 }, when: isWatch, times: 20 },
      ],
      seen: /watch=true.* 410$/,
    });
  });

  test('429 with Retry-After, to watches too', async (context) => {
    const fault = { kind: 'status', status: 429, retryAfterSeconds: 1 } as const;
    const cut = { kind: 'cut', afterMs: 50 } as const;
    await weather(context, {
      rules: [{ fault: cut, when: isWatch, times: 8 }, { fault }],
      endsAfterMs: 3_000,
      seen: / 429$/,
    });
  });

  test("500, 503 and a proxy's page to every call for seconds", async (context) => {
    await weather(context, {
      rules: [
        { fault: { kind: 'say', body: '<html>Please log in</html>' }, times: 6 },
        { fault: { kind: 'status', status: 500 }, when: isWrite },
        { fault: { kind: 'status', status: 503 } },
      ],
      endsAfterMs: 3_000,
      seen: / 50[03]$/,
    });
  });

  test('300 ms for every call', async (context) => {
    const fault = { kind: 'latency', ms: 300 } as const;
    await weather(context, { rules: [{ fault }], seen: isWrite });
  });

  test('connections that are reset, and answers of writes that are lost', async (context) => {
    await weather(context, {
      rules: [
        { fault: { kind: 'lose-answer' }, when: isWrite, times: 100 },
        { fault: { kind: 'reset' }, when: /GET/, times: 20 },
      ],
      endsAfterMs: 3_000,
      seen: / 0$/,
    });
  });

  test('calls that hang', async (context) => {
    // Each of them for the ten seconds that a call may take: the lease is lost too.
    await weather(context, {
      rules: [{ fault: { kind: 'hang' } }],
      endsAfterMs: 2_000,
      seen: / 0$/,
    });
  });

  test('afterwards: every certificate is right, and nothing has leaked', async (context) => {
    checkCertificates();
    await weather(context, { seen: isWrite });
    const sockets = names.map((name) => openSockets(controllers[name].child.pid));
    context.diagnostic(`${sockets.join(' and ')} sockets`);
    // As many calls as there are workers and a few, and the watches.
    for (const count of sockets) ok(count <= 60, `${count} sockets`);
    ok(proxy.openConnections() <= 110);
    memory().forEach((now, i) => {
      const before = settledMB[i] ?? 0;
      ok(now <= before + 60, `${now} MB private, ${before} MB after the first requests`);
    });
    const vain = await controllers.signer.metric('podseal_signer_in_vain_total');
    context.diagnostic(`${sent} certificates, ${vain} signed in vain`);
    ok(vain <= 100, 'no more than answers were lost');
    for (const name of names) equal(controllers[name].child.exitCode, null);
  });
});
