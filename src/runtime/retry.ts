/**
 * Repeats `attempt` while it fails with an error worth repeating (the adapter decides by error
 * code), with growing, jittered pauses and Retry-After honoured, until `giveUpAt`; then the last
 * error is thrown. `stop` ends a pause early and rejects with the last error too.
 */
export type Retry = <T>(
  attempt: () => Promise<T>,
  limits: { readonly giveUpAt: Date; readonly stop: AbortSignal },
) => Promise<T>;
