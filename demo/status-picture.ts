import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AgentReport } from '../src/status/agent-report.ts';
import { type Cluster } from '../src/status/cluster.ts';
import { type Agent, type PodFacts } from '../src/status/pod-facts.ts';
import { statusBlocks } from '../src/status/status-blocks.ts';
import { statusTable } from '../src/status/status-table.ts';
import { survey } from '../src/status/survey.ts';
import { terminalPicture } from './terminal-picture.ts';

/**
 * `npm run picture` writes images/status.svg: what `podseal status` says about a small shop, which is made
 * up; the table and the words below it are the program's own. A test compares the two.
 */

const now = new Date('2026-06-01T12:00:00Z');
const minutes = (count: number): Date => new Date(now.getTime() + count * 60_000);
const webUid = '5e0d5b9f-8a4c-4f0e-9c1d-3b7a2f6e1c84';
const requestName = `podseal-${webUid}-9f86d081884c7d659a2feaa0c55ad015`;

const agent: Agent = {
  container: 'podseal',
  kind: 'watch',
  listen: ':9809',
  signerName: 'podseal.dev/serving',
  isProbed: true,
  isReady: true,
  state: { kind: 'running' },
  lastEnd: undefined,
};

function pod(name: string, changes: Partial<PodFacts> = {}): PodFacts {
  return {
    namespace: 'shop',
    name,
    uid: name,
    phase: 'Running',
    isTerminating: false,
    isMirror: false,
    isWindows: false,
    inject: undefined,
    isMarked: true,
    controller: { kind: 'Deployment', name: name.split('-')[0] ?? '' },
    agents: [agent],
    unscheduled: undefined,
    ...changes,
  };
}

const creating = { kind: 'waiting', reason: 'PodInitializing', message: '' } as const;
const worker = pod('worker-6b8f7d5c4-pd2vn', { agents: [{ ...agent, state: creating }] });
const denied = pod('web-7c9d8b6f5-x4k2j', { uid: webUid });
const pods: readonly PodFacts[] = [
  pod('db-0'),
  pod('db-1'),
  denied,
  pod('cart-5f6c7d8b9-q8zwt', { agents: [], isMarked: false }),
  worker,
];

function report(names: readonly string[], minutesLeft: number): AgentReport {
  return {
    ready: true,
    reasons: [],
    expired: false,
    certificate: {
      names,
      issuer: 'CN=Podseal issuing CA',
      serial: '4f1c',
      fingerprint: '9f86',
      notBefore: minutes(minutesLeft - 1440),
      notAfter: minutes(minutesLeft),
      renewalAt: minutes(minutesLeft - 700),
    },
    pending: undefined,
    lastError: undefined,
    signerName: 'podseal.dev/serving',
    hooks: [],
    application: 'unknown',
    version: '0.1.0',
  };
}

const database = ['db.shop.svc', 'db-0.db.shop.svc', 'db.shop.svc.cluster.local', '10.97.0.10'];
const reports: Readonly<Record<string, AgentReport>> = {
  'db-0': report(database, 1262),
  'db-1': report(database, 817),
  [denied.name]: {
    ...report([], 0),
    ready: false,
    certificate: undefined,
    lastError: {
      code: 'SIGNING_REQUEST_DENIED',
      message: '',
      hint: '',
      at: minutes(-2),
      again: minutes(4),
    },
  },
};

const cluster: Cluster = {
  pods: () => Promise.resolve(pods),
  optedIn: () => Promise.resolve(new Set(['shop'])),
  ask({ name }) {
    const told = reports[name];
    return Promise.resolve(told ? { kind: 'read', report: told } : { kind: 'unasked' });
  },
  events: () =>
    Promise.resolve([
      {
        podUid: worker.uid,
        reason: 'FailedMount',
        message:
          'MountVolume.SetUp failed for volume "podseal-agent": configmap "podseal-trust" not found',
        lastAt: minutes(-1),
      },
    ]),
  requests: () =>
    Promise.resolve([
      {
        podUid: webUid,
        name: requestName,
        signerName: 'podseal.dev/serving',
        createdAt: minutes(-2),
        standing: 'denied',
        reason: 'PodsealDenied',
        message:
          '- dns-names "www.example.com": it follows from no Service of the pod, and policy does not allow it\n' +
          'allowed dns-names: "web.shop.svc", "web.shop.svc.cluster.local"',
      },
    ]),
};

/** The picture as images/status.svg holds it. */
export async function statusPicture(): Promise<string> {
  const scope = { namespace: 'shop', names: [], selector: undefined };
  const { statuses } = await survey(scope, cluster, () => undefined);
  const table = statusTable(statuses, { withNamespace: false, isWide: false }, now);
  const text = `$ podseal status -n shop\n${table}${statusBlocks(statuses, now)}`;
  return terminalPicture(
    'podseal status: a row for each pod, why one is not fine, and what to do',
    text,
  );
}

if (import.meta.main)
  writeFileSync(join(import.meta.dirname, '../images/status.svg'), await statusPicture());
