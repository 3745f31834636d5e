import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { podFactsOf } from '../../src/kubernetes/agent-pods.ts';
import { type PodFacts } from '../../src/status/pod-facts.ts';

const defaults = { PODSEAL_LISTEN: ':9809', PODSEAL_SIGNER_NAME: 'podseal.dev/serving' };

interface Parts {
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

function facts({ metadata = {}, spec = {}, status = {} }: Parts = {}): PodFacts {
  const own = { namespace: 'shop', name: 'web-0', uid: 'u' };
  return podFactsOf({ metadata: { ...own, ...metadata }, spec, status }, defaults);
}

describe('podFactsOf()', () => {
  test('a pod of which next to nothing is known', () =>
    deepEqual(facts(), {
      namespace: 'shop',
      name: 'web-0',
      uid: 'u',
      phase: 'Pending',
      isTerminating: false,
      isMirror: false,
      isWindows: false,
      inject: undefined,
      isMarked: false,
      controller: undefined,
      agents: [],
      unscheduled: undefined,
    }));

  test('labels, annotations, deletion', () => {
    const labels = { 'podseal.dev/inject': 'true', 'podseal.dev/agent': 'injected' };
    const annotations = { 'kubernetes.io/config.mirror': 'x' };
    const metadata = { labels, annotations, deletionTimestamp: '2026-06-01T12:00:00Z' };
    const { inject, isMarked, isMirror, isTerminating } = facts({ metadata });
    deepEqual([inject, isMarked, isMirror, isTerminating], ['true', true, true, true]);
    equal(facts({ metadata: { labels: { 'podseal.dev/agent': 'x' } } }).isMarked, false);
  });

  test('Windows, by its field or its node selector', () => {
    equal(facts({ spec: { os: { name: 'windows' } } }).isWindows, true);
    equal(facts({ spec: { nodeSelector: { 'kubernetes.io/os': 'windows' } } }).isWindows, true);
    equal(facts({ spec: { os: { name: 'linux' } } }).isWindows, false);
  });

  test('who makes it anew', () => {
    const of = (owner: object, labels: object = {}) =>
      facts({ metadata: { ownerReferences: [{ kind: 'Node', name: 'n' }, owner], labels } })
        .controller;
    const set = { kind: 'ReplicaSet', name: 'web-5d4f', controller: true };
    const hash = { 'pod-template-hash': '5d4f' };
    deepEqual(of(set, hash), { kind: 'Deployment', name: 'web' });
    deepEqual(of(set), { kind: 'ReplicaSet', name: 'web-5d4f' });
    deepEqual(of({ ...set, kind: 'StatefulSet' }, hash), { kind: 'StatefulSet', name: 'web-5d4f' });
    equal(of({ ...set, controller: false }), undefined);
    for (const name of ['x; rm -rf ~', '$(id)', 'a b', '', '-x', 'a\nb'])
      equal(of({ ...set, name }), undefined, name);
  });

  test('agents among init containers and containers, in the order of their start', () => {
    const env = [
      { name: 'PODSEAL_LISTEN', value: ':8000' },
      { name: 'PODSEAL_SIGNER_NAME', value: 'example.com/x' },
    ];
    const { agents } = facts({
      spec: {
        initContainers: [
          { name: 'migrate' },
          { name: 'podseal-init', env },
          { name: 'podseal', restartPolicy: 'Always', readinessProbe: {} },
        ],
        containers: [{ name: 'web' }, { name: 'podseal', env: [{ name: 'PODSEAL_LISTEN' }] }],
      },
      status: {
        initContainerStatuses: [
          { name: 'podseal', ready: true, state: { running: {} } },
          { name: 'podseal-init', state: { waiting: { reason: 'PodInitializing' } } },
        ],
      },
    });
    deepEqual(
      agents.map(({ container, kind, listen, signerName, isProbed, isReady, state }) => [
        container,
        kind,
        listen,
        signerName,
        isProbed,
        isReady,
        state.kind,
      ]),
      [
        ['podseal-init', 'init', ':8000', 'example.com/x', false, false, 'waiting'],
        ['podseal', 'watch', ':9809', 'podseal.dev/serving', true, true, 'running'],
        ['podseal', 'watch', ':9809', 'podseal.dev/serving', false, false, 'unseen'],
      ],
    );
  });

  test('how a container ended, and how it did before', () => {
    const end = (exitCode: number) => ({
      terminated: {
        exitCode,
        reason: 'Error',
        message: 'error: x',
        finishedAt: '2026-06-01T12:00:00Z',
      },
    });
    const [agent] = facts({
      spec: { initContainers: [{ name: 'podseal' }] },
      status: {
        initContainerStatuses: [{ name: 'podseal', state: end(77), lastState: end(75) }],
      },
    }).agents;
    const at = new Date('2026-06-01T12:00:00Z');
    const common = { reason: 'Error', message: 'error: x', at };
    deepEqual(agent?.state, { kind: 'ended', exitCode: 77, ...common });
    deepEqual(agent.lastEnd, { exitCode: 75, ...common });
  });

  test('why no node takes it', () => {
    const of = (condition: object) => facts({ status: { conditions: [condition] } }).unscheduled;
    const scheduled = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable' };
    equal(of({ ...scheduled, message: '0/3 nodes' }), '0/3 nodes');
    equal(of(scheduled), 'Unschedulable');
    equal(of({ ...scheduled, status: 'True' }), undefined);
  });
});
