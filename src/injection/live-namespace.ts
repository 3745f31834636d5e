/** A namespace as the API server has it, as far as labels of ours are set on it. */
export interface LiveNamespace {
  readonly name: string;
  readonly isTerminating: boolean;
  /** `podseal.dev/inject: enabled`: its pods are injected. */
  readonly injects: boolean;
  /** `podseal.dev/publish: enabled`: Services and trust bundle are kept there, nothing more. */
  readonly publishes: boolean;
}
