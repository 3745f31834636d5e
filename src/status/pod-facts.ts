import { type PodReference } from '../telemetry/pod-events.ts';

/** A pod as far as its state can be told from its object alone. */
export interface PodFacts extends PodReference {
  /** As the API has it: Pending, Running, Succeeded, Failed, Unknown. */
  readonly phase: string;
  readonly isTerminating: boolean;
  /** Made by the kubelet from a file of the node: no webhook ever sees it before. */
  readonly isMirror: boolean;
  readonly isWindows: boolean;
  /** The label podseal.dev/inject. */
  readonly inject: string | undefined;
  /** Whether it carries the label podseal.dev/agent: injected. */
  readonly isMarked: boolean;
  /** Who makes it anew when it is deleted; a Deployment, not its ReplicaSet. */
  readonly controller: { readonly kind: string; readonly name: string } | undefined;
  /** In the order in which they start: an init container may go before the one that stays. */
  readonly agents: readonly Agent[];
  /** Why no node takes it, as the scheduler says. */
  readonly unscheduled: string | undefined;
}

/** A container of Podseal. */
export interface Agent {
  readonly container: string;
  /** `init` ends with one certificate, `watch` stays and can be asked. */
  readonly kind: 'init' | 'watch';
  /** PODSEAL_LISTEN of the container, or its default. */
  readonly listen: string;
  /** PODSEAL_SIGNER_NAME of the container, or its default. */
  readonly signerName: string;
  /** Whether the kubelet asks it for its readiness. */
  readonly isProbed: boolean;
  readonly isReady: boolean;
  readonly state: ContainerState;
  /** How its last run ended; undefined: this is the first. */
  readonly lastEnd: ContainerEnd | undefined;
}

export type ContainerState =
  /** The kubelet has said nothing yet. */
  | { readonly kind: 'unseen' }
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
  | { readonly kind: 'running' }
  | ({ readonly kind: 'ended' } & ContainerEnd);

export interface ContainerEnd {
  readonly exitCode: number;
  /** Of the kubelet: Error, OOMKilled. */
  readonly reason: string;
  /** What the agent wrote before it ended. */
  readonly message: string;
  readonly at: Date;
}

/** By a fault of its own: above 128 somebody else ended it. */
export function hasFailed(end: ContainerEnd): boolean {
  return end.exitCode > 0 && end.exitCode < 128;
}

/** The agent whose turn it is: the first that has not done its work. */
export function agentOfNow({ agents }: PodFacts): Agent | undefined {
  const isDone = ({ kind, state }: Agent): boolean =>
    kind === 'init' && state.kind === 'ended' && state.exitCode === 0;
  return agents.find((agent) => !isDone(agent)) ?? agents.at(-1);
}

/** Where an agent answers `/status`, or why nobody but its own pod can ask it. */
export function statusPort({
  listen,
}: Agent): { readonly port: number } | { readonly why: string } {
  const [, host = '', port] = /^(.*):(\d{1,5})$/.exec(listen) ?? [];
  if (port === undefined) return { why: `PODSEAL_LISTEN is ${JSON.stringify(listen)}` };
  if (/^(127\.|localhost$|\[::1\]$)/.test(host))
    return {
      why: `PODSEAL_LISTEN is ${JSON.stringify(listen)}, which only the pod itself reaches`,
    };
  return { port: Number(port) };
}
