import { agentOfNow, type PodFacts } from './pod-facts.ts';
import { type PodStatus, reportOf, type State } from './pod-status.ts';

/**
 * What to do about the pod: commands that can be run as they stand, with a remark as a shell takes it. Every
 * name in them is one that the API server gave, never the word of an agent.
 */
export function mendOf(status: PodStatus): readonly string[] {
  return mends[status.state](status);
}

type Mend = (status: PodStatus) => readonly string[];

const nothing: Mend = () => [];

const mends: Readonly<Record<State, Mend>> = {
  ready: nothing,
  issued: nothing,
  ending: nothing,
  finished: nothing,
  degraded: mendDegraded,
  waiting: mendWaiting,
  denied: (status) => (status.clues.request ? explain(status) : [logs(status)]),
  failed: (status) => [...explain(status), logs(status)],
  expired: (status) => [logs(status)],
  starting: ({ pod }) => [`kubectl describe pod ${target(pod)}`],
  crashed: (status) => [
    agentOfNow(status.pod)?.state.kind === 'ended' ? logs(status) : `${logs(status)} --previous`,
  ],
  unknown: ({ pod }) => [
    `kubectl exec ${target(pod)} -c ${agentName(pod)} -- podseal inspect   # or let the API server reach its port`,
  ],
  'not injected': ({ pod }) => [
    `${createAnew(pod)}   # the injector sees a pod only while it is created`,
  ],
  'no agent': ({ pod }) => [
    pod.inject === 'false'
      ? `kubectl label pod ${target(pod)} podseal.dev/inject-   # and in the template that it is made from`
      : `kubectl label namespace ${pod.namespace} podseal.dev/inject=enabled`,
    createAnew(pod),
  ],
};

function mendDegraded(status: PodStatus): readonly string[] {
  const isStale = reportOf(status)?.application === 'other';
  return [
    ...explain(status),
    isStale
      ? `${createAnew(status.pod)}   # or a hook that makes the application read its files again: docs/injection.md`
      : logs(status),
  ];
}

function mendWaiting(status: PodStatus): readonly string[] {
  const { request } = status.clues;
  if (request?.standing === 'pending')
    return [
      `kubectl describe csr ${request.name}   # who asks`,
      `kubectl certificate approve ${request.name}   # where people approve`,
    ];
  if (request?.standing === 'approved')
    return [
      `kubectl logs -n podseal-system deployment/podseal-signer   # does it look after ${request.signerName}?`,
    ];
  return [logs(status)];
}

/** The agent asks again by itself, once what was named has been mended. */
function explain({ clues: { request } }: PodStatus): readonly string[] {
  if (request?.standing !== 'denied') return [];
  return [
    `kubectl get csr ${request.name} -o yaml > request.yaml; podseal approver --explain request.yaml   # docs/approval.md`,
  ];
}

function logs({ pod }: PodStatus): string {
  return `kubectl logs ${target(pod)} -c ${agentName(pod)}`;
}

function target({ name, namespace }: PodFacts): string {
  return `${name} -n ${namespace}`;
}

function agentName(pod: PodFacts): string {
  return agentOfNow(pod)?.container ?? 'podseal';
}

function createAnew(pod: PodFacts): string {
  const { controller } = pod;
  if (!controller) return `kubectl get pod ${target(pod)} -o yaml | kubectl replace --force -f -`;
  const kind = controller.kind.toLowerCase();
  return ['deployment', 'statefulset', 'daemonset'].includes(kind)
    ? `kubectl rollout restart ${kind}/${controller.name} -n ${pod.namespace}`
    : `kubectl delete pod ${target(pod)}`;
}
