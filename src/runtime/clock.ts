/** The time, and waiting for it. */
export interface Clock {
  now(): Date;
  /**
   * Resolves when the wall clock reads `when` or later, or when `wake` is aborted, whichever comes
   * first; never rejects. The wall clock is read again and again, so steps and suspends are noticed.
   */
  sleepUntil(when: Date, wake: AbortSignal): Promise<void>;
}

export function later(from: Date, ms: number): Date {
  return new Date(from.getTime() + ms);
}

export function earlier(a: Date, b: Date): Date {
  return a < b ? a : b;
}
