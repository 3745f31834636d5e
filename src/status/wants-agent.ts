import { type PodFacts } from './pod-facts.ts';

/** docs/injection.md: namespaces that are never injected. */
const excluded: ReadonlySet<string> = new Set(['kube-system', 'kube-node-lease', 'podseal-system']);

/** Whether the injector would have given the pod an agent. `optedIn`: namespaces labelled podseal.dev/inject: enabled. */
export function wantsAgent(pod: PodFacts, optedIn: ReadonlySet<string>): boolean {
  if (pod.inject === 'false' || pod.isWindows || pod.isMirror) return false;
  if (pod.isTerminating || hasEnded(pod) || excluded.has(pod.namespace)) return false;
  return pod.inject === 'true' || optedIn.has(pod.namespace);
}

export function hasEnded({ phase }: PodFacts): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}
