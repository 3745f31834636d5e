export interface BackoffPolicy {
  readonly firstMs: number;
  readonly maximumMs: number;
}

/**
 * Milliseconds before the next attempt after `failures` (1 or more) in a row: doubling, and drawn
 * between one half and the whole of it by `fraction` (in [0, 1)), so that many who failed together
 * do not come back together.
 */
export function backoffMs(failures: number, policy: BackoffPolicy, fraction: number): number {
  const whole = Math.min(policy.maximumMs, policy.firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(whole / 2 + (whole / 2) * fraction);
}
