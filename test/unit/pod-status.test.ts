import { equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasFailed, statusPort } from '../../src/status/pod-facts.ts';
import { type PodCase, type State } from '../../src/status/pod-status.ts';
import { wantsAgent } from '../../src/status/wants-agent.ts';
import {
  agent,
  bareReport,
  clues,
  ended,
  errorReported,
  event,
  initAgent,
  noon,
  pod,
  read,
  report,
  request,
  statusOf,
  unasked,
  unread,
} from '../support/status-builders.ts';

const waits = (reason: string) => ({ kind: 'waiting', reason, message: '' }) as const;
const notReady = pod({ agents: [agent({ isReady: false })] });
const denied = clues({ request: request({ standing: 'denied' }) });
const starts = (changes: Parameters<typeof agent>[0]) => ({
  pod: pod({ agents: [agent({ isReady: false, ...changes })] }),
  reading: unasked,
});
const init = (state: ReturnType<typeof agent>['state']) => ({
  pod: pod({ agents: [initAgent({ state })] }),
  reading: unasked,
});

const cases: Readonly<Record<string, readonly [State, Partial<PodCase>]>> = {
  'its agent has nothing to complain of': ['ready', {}],
  'renewal fails, and the certificate is good': [
    'degraded',
    { reading: read(report({ lastError: errorReported('API_UNREACHABLE') })) },
  ],
  'a name is missing': ['degraded', { reading: read(report({ reasons: ['names missing'] })) }],
  'the application serves another certificate': [
    'degraded',
    { reading: read(report({ application: 'other' })) },
  ],
  'the application is not there': [
    'degraded',
    { reading: read(report({ application: 'unreachable' })) },
  ],
  'a hook failed': [
    'degraded',
    { reading: read(report({ hooks: [{ hook: 'http', outcome: 'failed', why: '500' }] })) },
  ],
  'its hook has not run': [
    'ready',
    { reading: read(report({ hooks: [{ hook: 'http', outcome: 'none', why: '' }] })) },
  ],
  'a certificate, and not ready': ['degraded', { reading: read(report({ ready: false })) }],
  'a renewal is under way': [
    'ready',
    { reading: read(report({ pending: { request: 'podseal-1', since: noon } })) },
  ],
  'it has expired': ['expired', { reading: read(report({ expired: true, ready: false })) }],
  'no certificate, and nothing went wrong': ['waiting', { reading: read(bareReport()) }],
  'names are unknown': [
    'waiting',
    { reading: read(bareReport({ lastError: errorReported('NAMES_UNKNOWN') })) },
  ],
  'it was denied': [
    'denied',
    { reading: read(bareReport({ lastError: errorReported('SIGNING_REQUEST_DENIED') })) },
  ],
  'it was denied, and asks anew': [
    'waiting',
    {
      reading: read(
        bareReport({
          lastError: errorReported('SIGNING_REQUEST_DENIED'),
          pending: { request: 'podseal-2', since: noon },
        }),
      ),
    },
  ],
  'it was denied after it had begun to ask': [
    'denied',
    {
      reading: read(
        bareReport({
          lastError: errorReported('SIGNING_REQUEST_DENIED'),
          pending: { request: 'podseal-1', since: new Date(0) },
        }),
      ),
    },
  ],
  'no certificate, and an error': [
    'failed',
    { reading: read(bareReport({ lastError: errorReported('CERTIFICATE_MISMATCH') })) },
  ],

  'unread, and the kubelet says ready': ['ready', { reading: unread }],
  'unread, the kubelet says ready, and the newest request is denied': [
    'degraded',
    { reading: unread, clues: denied },
  ],
  'unread and not ready': ['waiting', { pod: notReady, reading: unread }],
  'unread, not ready, denied': ['denied', { pod: notReady, reading: unread, clues: denied }],
  'unread, not ready, denied by an Event': [
    'denied',
    { pod: notReady, reading: unread, clues: clues({ said: event('CertificateDenied') }) },
  ],
  'unread, not ready, an Event of a failure': [
    'failed',
    { pod: notReady, reading: unread, clues: clues({ said: event('CertificateFailed') }) },
  ],
  'unread, not ready, and the denial is older than the request': [
    'waiting',
    {
      pod: notReady,
      reading: unread,
      clues: clues({ said: event('CertificateDenied'), request: request() }),
    },
  ],
  'unread, and no probe': [
    'unknown',
    { pod: pod({ agents: [agent({ isProbed: false })] }), reading: unread, clues: denied },
  ],

  'its image is pulled': ['starting', starts({ state: waits('ContainerCreating') })],
  'nothing is known of it': ['starting', starts({ state: { kind: 'unseen' } })],
  'it crashes again and again': [
    'crashed',
    starts({ state: waits('CrashLoopBackOff'), lastEnd: ended(78) }),
  ],
  'it is started again after somebody ended it': [
    'starting',
    starts({ state: waits('ContainerCreating'), lastEnd: ended(137) }),
  ],
  'it has just ended with an error': [
    'crashed',
    starts({ state: { kind: 'ended', ...ended(76) } }),
  ],
  'it ends because it is denied': [
    'denied',
    {
      ...starts({ state: waits('CrashLoopBackOff'), lastEnd: ended(77) }),
      clues: denied,
    },
  ],
  'it was told to stop and starts anew': [
    'starting',
    starts({ state: { kind: 'ended', ...ended(0) } }),
  ],

  'init is at work': ['waiting', init({ kind: 'running' })],
  'init got its certificate': ['issued', init({ kind: 'ended', ...ended(0) })],
  'init gave up': ['crashed', init({ kind: 'ended', ...ended(75) })],
  'init is done, the sidecar is pulled': [
    'starting',
    {
      pod: pod({
        agents: [
          initAgent({ state: { kind: 'ended', ...ended(0) } }),
          agent({ isReady: false, state: waits('ContainerCreating') }),
        ],
      }),
      reading: unasked,
    },
  ],
  'init is at work, the sidecar waits for it': [
    'waiting',
    {
      pod: pod({
        agents: [initAgent(), agent({ isReady: false, state: waits('PodInitializing') })],
      }),
      reading: unasked,
    },
  ],

  'no agent, and it should have one': [
    'not injected',
    { pod: pod({ agents: [] }), reading: unasked },
  ],
  'no agent, and nobody asks for one': [
    'no agent',
    { pod: pod({ agents: [] }), reading: unasked, isWanted: false },
  ],
  'it is being deleted': ['ending', { pod: pod({ isTerminating: true }), reading: unread }],
  'it has ended': ['finished', { pod: pod({ phase: 'Succeeded' }), reading: unasked }],
  'it was evicted, and its agent was ended': [
    'finished',
    {
      pod: pod({ phase: 'Failed', agents: [agent({ state: { kind: 'ended', ...ended(137) } })] }),
      reading: unasked,
    },
  ],
  'it failed because of its agent': [
    'crashed',
    {
      pod: pod({
        phase: 'Failed',
        agents: [initAgent({ state: { kind: 'ended', ...ended(77) } })],
      }),
      reading: unasked,
    },
  ],
};

describe('the state of a pod', () => {
  for (const [name, [state, changes]] of Object.entries(cases))
    test(`${name}: ${state}`, () => equal(statusOf(changes).state, state));
});

describe('wantsAgent()', () => {
  const bare = pod({ agents: [], isMarked: false });
  const shop = new Set(['shop', 'kube-system']);
  const table: Readonly<Record<string, readonly [boolean, Partial<typeof bare>]>> = {
    'a pod of a labelled namespace': [true, {}],
    'of another namespace': [false, { namespace: 'other' }],
    'of another namespace, with the label': [true, { namespace: 'other', inject: 'true' }],
    'opted out': [false, { inject: 'false' }],
    'of kube-system': [false, { namespace: 'kube-system', inject: 'true' }],
    'of Podseal itself': [false, { namespace: 'podseal-system', inject: 'true' }],
    Windows: [false, { isWindows: true }],
    'made by the kubelet itself': [false, { isMirror: true }],
    'being deleted': [false, { isTerminating: true }],
    finished: [false, { phase: 'Succeeded' }],
  };
  for (const [name, [expected, changes]] of Object.entries(table))
    test(`${name}: ${expected}`, () => equal(wantsAgent({ ...bare, ...changes }, shop), expected));
});

test('statusPort() knows where an agent answers, and that nobody else reaches some', () => {
  const of = (listen: string) => statusPort(agent({ listen }));
  for (const listen of [':9809', '0.0.0.0:9809', '[::]:9809', '10.0.0.1:9809'])
    equal('port' in of(listen) && (of(listen) as { port: number }).port, 9809, listen);
  for (const listen of ['off', '127.0.0.1:9809', '[::1]:9809', ''])
    equal('port' in of(listen), false, listen);
});

test('hasFailed() tells its own fault from a signal', () => {
  equal(hasFailed(ended(78)), true);
  for (const code of [0, 137, 143]) equal(hasFailed(ended(code)), false);
});
