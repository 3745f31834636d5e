/** What one rule finds wrong with one value. */
export interface Finding {
  /** Undefined where no single value offends. */
  readonly value: string | undefined;
  /** In words that fit after the value and a colon; one line. */
  readonly why: string;
  /**
   * `never`: no change of this pod or of a Service of its namespace can make it right. `not-yet`: one
   * can, so the request waits.
   */
  readonly standing: 'never' | 'not-yet';
  /** What this rule would allow instead. */
  readonly allowed?: readonly string[];
}

export function never(why: string, value?: string, allowed?: readonly string[]): Finding {
  return { value, why, standing: 'never', ...(allowed ? { allowed } : {}) };
}

export function notYet(why: string, value?: string, allowed?: readonly string[]): Finding {
  return { value, why, standing: 'not-yet', ...(allowed ? { allowed } : {}) };
}
