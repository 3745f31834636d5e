import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AgentReading } from '../../src/status/agent-report.ts';
import { type SeenEvent, type SeenRequest } from '../../src/status/clues.ts';
import { type Cluster, type Scope } from '../../src/status/cluster.ts';
import { type PodFacts } from '../../src/status/pod-facts.ts';
import { readersAtOnce, survey } from '../../src/status/survey.ts';
import {
  agent,
  bareReport,
  pod,
  read,
  report,
  request,
  unread,
} from '../support/status-builders.ts';

const shop: Scope = { namespace: 'shop', names: [], selector: undefined };

interface Content {
  readonly pods: readonly PodFacts[];
  readonly optedIn?: ReadonlySet<string>;
  readonly reading?: (pod: PodFacts) => AgentReading;
  readonly events?: readonly SeenEvent[];
  readonly requests?: readonly SeenRequest[];
}

/** A cluster in memory, and what was asked of it. */
function clusterOf(content: Content, changes: Partial<Cluster> = {}) {
  const asked: string[] = [];
  const cluster: Cluster = {
    pods: () => Promise.resolve(content.pods),
    optedIn: () => Promise.resolve(content.optedIn ?? new Set()),
    ask(each, port) {
      asked.push(`${each.name}:${port}`);
      return Promise.resolve(content.reading?.(each) ?? read(report()));
    },
    events() {
      asked.push('events');
      return Promise.resolve(content.events ?? []);
    },
    requests(signerName) {
      asked.push(`requests of ${signerName}`);
      return Promise.resolve(content.requests ?? []);
    },
    ...changes,
  };
  return { cluster, asked };
}

const named = (name: string, changes: Partial<PodFacts> = {}): PodFacts =>
  pod({ name, uid: name, ...changes });
const bare = { agents: [], isMarked: false };
const silent = (): void => undefined;

async function statesOf(content: Content, scope = shop): Promise<Readonly<Record<string, string>>> {
  const { statuses } = await survey(scope, clusterOf(content).cluster, silent);
  return Object.fromEntries(statuses.map((each) => [each.pod.name, each.state]));
}

describe('survey()', () => {
  test('shows pods with an agent, and those that should have one', async () => {
    const pods = [
      named('b-agent'),
      named('marked', { agents: [] }),
      named('a-bare', bare),
      named('labelled', { ...bare, inject: 'true' }),
      named('out', { ...bare, inject: 'false' }),
    ];
    deepEqual(await statesOf({ pods }), {
      'b-agent': 'ready',
      labelled: 'not injected',
      marked: 'no agent',
    });
    deepEqual(Object.keys(await statesOf({ pods, optedIn: new Set(['shop']) })), [
      'a-bare',
      'b-agent',
      'labelled',
      'marked',
    ]);
  });

  test('by namespace, then by name', async () => {
    const pods = [
      named('b', { namespace: 'shop' }),
      named('a', { namespace: 'shop' }),
      named('c', { namespace: 'db' }),
    ];
    deepEqual(Object.keys(await statesOf({ pods })), ['c', 'a', 'b']);
  });

  test('a pod that is named is shown whatever it is, and missed when it is not there', async () => {
    const pods = [named('plain', bare)];
    deepEqual(await statesOf({ pods }, { ...shop, names: ['plain'] }), { plain: 'no agent' });
    await rejects(statesOf({ pods }, { ...shop, names: ['plain', 'wbe'] }), {
      code: 'USAGE',
      message: 'Cannot find pod "wbe" in namespace "shop"',
    });
  });

  test('asks only agents that run, on their port, and nobody else when all is well', async () => {
    const pods = [
      named('a', { agents: [agent({ listen: ':8000' })] }),
      named('off', { agents: [agent({ listen: 'off' })] }),
      named('done', { phase: 'Succeeded' }),
    ];
    const { cluster, asked } = clusterOf({ pods });
    const { statuses, notes } = await survey(shop, cluster, silent);
    deepEqual(asked.slice(0, 1), ['a:8000']);
    deepEqual(
      statuses.map(({ reading }) => reading.kind),
      ['read', 'unasked', 'unread'],
    );
    match(notes[0] ?? '', /^one agent could not be read, .*: PODSEAL_LISTEN is "off"$/);
    const well = clusterOf({ pods: [named('a')] });
    await survey(shop, well.cluster, silent);
    deepEqual(well.asked, ['a:9809']);
  });

  test('one list for each signer of pods that are not well, whatever their agents say of it', async () => {
    const reading = (): AgentReading => read(bareReport({ signerName: 'evil.example/x' }));
    const pods = ['a', 'b', 'c'].map((name) => named(name));
    const other = named('d', { agents: [agent({ signerName: 'example.com/mine' })] });
    const requests = [request({ podUid: 'b', standing: 'denied' })];
    const { cluster, asked } = clusterOf({ pods: [...pods, other], reading, requests });
    const { statuses } = await survey(shop, cluster, silent);
    deepEqual(asked.slice(4).sort(), [
      'events',
      'requests of example.com/mine',
      'requests of podseal.dev/serving',
    ]);
    deepEqual(
      statuses.map(({ clues }) => clues.request?.standing),
      [undefined, 'denied', undefined, undefined],
    );
  });

  test('the newest request of a pod counts', async () => {
    const requests = [
      request({ podUid: 'a', name: 'old', standing: 'denied', createdAt: new Date(1) }),
      request({ podUid: 'a', name: 'new', createdAt: new Date(3) }),
      request({ podUid: 'a', name: 'middle', standing: 'failed', createdAt: new Date(2) }),
    ];
    const content = { pods: [named('a')], reading: () => read(bareReport()), requests };
    const { statuses } = await survey(shop, clusterOf(content).cluster, silent);
    equal(statuses[0]?.clues.request?.name, 'new');
  });

  test('what may not be read is said, and the rest is told', async () => {
    const withheld = (what: string) => () => Promise.resolve({ withheld: `may not ${what}` });
    const { cluster } = clusterOf(
      { pods: [named('a')], reading: () => unread },
      {
        optedIn: withheld('namespaces'),
        events: withheld('events'),
        requests: withheld('requests'),
      },
    );
    const { statuses, notes } = await survey(shop, cluster, silent);
    equal(statuses[0]?.state, 'ready');
    deepEqual(
      notes.map((note) => note.split(';')[0]?.split(',')[0]),
      ['may not namespaces', 'may not events', 'may not requests', 'one agent could not be read'],
    );
  });

  test(`at most ${readersAtOnce} agents at once, and progress is told`, async () => {
    let underWay = 0;
    let most = 0;
    const pods = Array.from({ length: 50 }, (_, i) => named(`p-${String(i).padStart(2, '0')}`));
    const { cluster } = clusterOf(
      { pods },
      {
        pods: (_, onPage) => {
          onPage(50);
          return Promise.resolve(pods);
        },
        async ask() {
          most = Math.max(most, ++underWay);
          await new Promise((resolve) => setImmediate(resolve));
          underWay--;
          return read(report());
        },
      },
    );
    const said: string[] = [];
    const { statuses } = await survey(shop, cluster, (text) => said.push(text));
    equal(most, readersAtOnce);
    equal(statuses.length, 50);
    deepEqual(
      statuses.map((each) => each.pod.name),
      pods.map(({ name }) => name),
    );
    equal(said[0], '50 pods listed');
    equal(said.at(-1), '50 of 50 agents asked');
    ok(said.length === 51);
  });

  test('does not wait for hundreds of agents that are walled off', async () => {
    const pods = Array.from({ length: 200 }, (_, i) => named(`p-${i}`));
    const timeout = { kind: 'unread', why: 'no answer', isTimeout: true } as const;
    const asks = async (reading: (pod: PodFacts) => AgentReading): Promise<number> => {
      const { cluster, asked } = clusterOf({ pods, reading });
      const { statuses } = await survey(shop, cluster, silent);
      const why = statuses.map((each) => (each.reading.kind === 'unread' ? each.reading.why : ''));
      const asks = asked.filter((each) => each.startsWith('p-')).length;
      equal(why.filter((each) => each.startsWith('not asked')).length, 200 - asks);
      return asks;
    };
    const ofWalled = await asks(() => timeout);
    ok(ofWalled >= 48 && ofWalled < 48 + readersAtOnce, String(ofWalled));
    equal(await asks(({ name }) => (name === 'p-10' ? read(report()) : timeout)), 200);
    equal(await asks(({ name }) => (name === 'p-10' ? unread : timeout)), 200);
  });
});
