import { deepEqual, equal, ok } from 'node:assert/strict';
import { X509Certificate, randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
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

const isWatch = /watch=true/;
const isList = /limit=/;
const isWrite = /^PATCH .*\/(approval|status)/;

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
      const request = requestFor(namesOf(pod, 'web'));
      await sendRequest(users, { token: pod.token }, { signerName }, { request });
    }),
  );
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
  const acting = storm.act?.();
  if (storm.endsAfterMs !== undefined) await sleep(storm.endsAfterMs);
  if (storm.endsAfterMs !== undefined) proxy.set([]);
  await Promise.all([asking, acting]);
  await until('every request to be issued', () => history.issued() >= sent, 60);
  proxy.set([]);
  deepEqual(history.violations, []);
  equal(history.issued(), sent);
  const calls = proxy.calls.slice(callsBefore);
  const wrong = calls.filter((call) => storm.seen.test(call)).length;
  ok(wrong > 0, 'the fault was met');
  const [approver, signer] = names.map((name) => privateMB(controllers[name]));
  context.diagnostic(
    `${((Date.now() - startedAt) / 1000).toFixed(1)} s, ${calls.length} calls, ${wrong} of them hit; ` +
      `${proxy.openConnections()} connections open; approver ${approver ?? 0} MB, signer ${signer ?? 0} MB private`,
  );
}

function privateMB({ child }: RunningController): number {
  const text = readFileSync(`/proc/${child.pid ?? 0}/smaps_rollup`, 'utf8');
  const kB = [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].map(Number);
  return (
    Math.round(
      [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce(
        (sum, [, each]) => sum + Number(each),
        0,
      ) / 1024,
    ) +
    0 * kB.length
  );
}

function openSockets({ child }: RunningController): number {
  const directory = `/proc/${child.pid ?? 0}/fd`;
  return readdirSync(directory).filter((fd) => {
    try {
      return readlinkSync(join(directory, fd)).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
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
      replaceFile(name, 'token', system.tokens[name]);
      replaceFile(name, 'ca.crt', plane.caPem);
    }
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
    const cut = { kind: 'cut', afterMs: 100 } as const;
    await weather(context, { rules: [{ fault: cut, when: isWatch }], seen: isWatch });
  });

  test('watches that say nothing', async (context) => {
    const silence = { kind: 'silence', afterMs: 0 } as const;
    await weather(context, { rules: [{ fault: silence, when: isWatch }], seen: isWatch });
  });
});
