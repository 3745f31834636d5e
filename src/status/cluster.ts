import { type AgentReading } from './agent-report.ts';
import { type SeenEvent, type SeenRequest } from './clues.ts';
import { type PodFacts } from './pod-facts.ts';

/** Which pods somebody asks about. */
export interface Scope {
  /** Undefined: every one. */
  readonly namespace: string | undefined;
  /** Of pods; none: all of them. */
  readonly names: readonly string[];
  /** Label selector, as kubectl takes it. */
  readonly selector: string | undefined;
}

/** Something that the operator may not read, or that is not served; the rest goes on without. */
export interface Withheld {
  readonly withheld: string;
}

/** The cluster as an operator sees it. Each call throws PodsealErrors of the API. */
export interface Cluster {
  /** Told after each page how many pods were read so far. */
  pods(scope: Scope, onPage: (count: number) => void): Promise<readonly PodFacts[]>;
  /** Namespaces whose label podseal.dev/inject says enabled. Throws USAGE when there is no such namespace. */
  optedIn(namespace: string | undefined): Promise<ReadonlySet<string> | Withheld>;
  /** Never throws: why it cannot be read is a reading too. */
  ask(pod: PodFacts, port: number): Promise<AgentReading>;
  /** About pods, of these reasons. */
  events(
    namespace: string | undefined,
    reasons: readonly string[],
  ): Promise<readonly SeenEvent[] | Withheld>;
  /** Of these pods, to one signer. */
  requests(
    signerName: string,
    podUids: ReadonlySet<string>,
  ): Promise<readonly SeenRequest[] | Withheld>;
}
