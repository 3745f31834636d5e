import { type AgentReading, type AgentReport } from '../../src/status/agent-report.ts';
import { type Clues, noClues, type SeenEvent, type SeenRequest } from '../../src/status/clues.ts';
import { type Agent, type ContainerEnd, type PodFacts } from '../../src/status/pod-facts.ts';
import { type PodCase, podStatus, type PodStatus } from '../../src/status/pod-status.ts';
import { atNoonPlus, dayMs, hourMs, noon } from './certificate-builders.ts';

/** Five minutes before noon, as ages are counted. */
export const fiveMinutesAgo = atNoonPlus(-5 * 60_000);

/** A native sidecar that runs and is ready. */
export function agent(changes: Partial<Agent> = {}): Agent {
  return {
    container: 'podseal',
    kind: 'watch',
    listen: ':9809',
    signerName: 'podseal.dev/serving',
    isProbed: true,
    isReady: true,
    state: { kind: 'running' },
    lastEnd: undefined,
    ...changes,
  };
}

/** The init container of a pod that ends. */
export function initAgent(changes: Partial<Agent> = {}): Agent {
  return agent({ container: 'podseal-init', kind: 'init', isProbed: false, ...changes });
}

export function ended(exitCode: number, message = ''): ContainerEnd {
  return { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', message, at: fiveMinutesAgo };
}

export function pod(changes: Partial<PodFacts> = {}): PodFacts {
  return {
    namespace: 'shop',
    name: 'web-0',
    uid: 'uid-of-web-0',
    phase: 'Running',
    isTerminating: false,
    isMirror: false,
    isWindows: false,
    inject: undefined,
    isMarked: true,
    controller: { kind: 'Deployment', name: 'web' },
    agents: [agent()],
    unscheduled: undefined,
    ...changes,
  };
}

/** An agent that has nothing to complain of, and 23 hours. */
export function report(changes: Partial<AgentReport> = {}): AgentReport {
  return {
    ready: true,
    reasons: [],
    expired: false,
    certificate: {
      names: ['web.shop.svc', 'web.shop.svc.cluster.local', '10.97.0.10'],
      issuer: 'CN=Podseal CA',
      serial: '0a',
      fingerprint: 'ab',
      notBefore: atNoonPlus(-hourMs),
      notAfter: atNoonPlus(dayMs - hourMs),
      renewalAt: atNoonPlus(12 * hourMs),
    },
    pending: undefined,
    lastError: undefined,
    signerName: 'podseal.dev/serving',
    hooks: [],
    application: 'unknown',
    version: '0.1.0',
    ...changes,
  };
}

/** An agent that has no certificate yet. */
export function bareReport(changes: Partial<AgentReport> = {}): AgentReport {
  return report({
    ready: false,
    reasons: ['no usable certificate: there is none'],
    certificate: undefined,
    ...changes,
  });
}

export function errorReported(code: string, message = 'Cannot go on'): AgentReport['lastError'] {
  return { code, message, hint: 'Do this.', at: fiveMinutesAgo, again: atNoonPlus(60_000) };
}

export function read(told: AgentReport): AgentReading {
  return { kind: 'read', report: told };
}

export const unasked: AgentReading = { kind: 'unasked' };
export const unread: AgentReading = { kind: 'unread', why: 'connection refused' };

export function request(changes: Partial<SeenRequest> = {}): SeenRequest {
  return {
    podUid: 'uid-of-web-0',
    name: 'podseal-uid-of-web-0-1',
    signerName: 'podseal.dev/serving',
    createdAt: fiveMinutesAgo,
    standing: 'pending',
    reason: '',
    message: '',
    ...changes,
  };
}

export function event(reason: string, changes: Partial<SeenEvent> = {}): SeenEvent {
  return {
    podUid: 'uid-of-web-0',
    reason,
    message: `what ${reason} says`,
    lastAt: fiveMinutesAgo,
    ...changes,
  };
}

export function clues(changes: Partial<Clues>): Clues {
  return { ...noClues, ...changes };
}

/** A pod whose agent is fine, changed. */
export function statusOf(changes: Partial<PodCase> = {}): PodStatus {
  return podStatus({
    pod: pod(),
    isWanted: true,
    reading: read(report()),
    clues: noClues,
    ...changes,
  });
}

export { noon };
