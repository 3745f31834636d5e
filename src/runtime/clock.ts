/**
 * The time, and waiting for it. What happens at a moment (a certificate expires) is asked of the wall
 * clock; how long something took or may take of `uptimeMs`, which no step of the wall clock moves.
 */
export interface Clock {
  now(): Date;
  /**
   * Resolves when the wall clock reads `when` or later, or when `wake` is aborted, whichever comes
   * first; never rejects. The wall clock is read again and again, so steps and suspends are noticed.
   */
  sleepUntil(when: Date, wake: AbortSignal): Promise<void>;
  /** Milliseconds since some moment: only differences mean something. */
  uptimeMs(): number;
  /** Resolves when `uptimeMs` has grown by `ms`, or when `wake` is aborted, whichever comes first; never rejects. */
  pause(ms: number, wake: AbortSignal): Promise<void>;
}

export function later(from: Date, ms: number): Date {
  return new Date(from.getTime() + ms);
}

export function earlier(a: Date, b: Date): Date {
  return a < b ? a : b;
}
