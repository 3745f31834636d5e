import { backoffMs } from '../runtime/backoff.ts';

export type HookName = 'signal' | 'http';

/** How one attempt to tell the application of a new set ended. */
export type Attempted =
  | { readonly kind: 'done'; readonly what: string }
  /** Nobody was there to be told. */
  | { readonly kind: 'absent'; readonly why: string; readonly hint: string }
  | { readonly kind: 'failed'; readonly why: string; readonly hint: string };

/** A way to tell the application that a new set is on the volume. */
export interface Hook {
  readonly name: HookName;
  /** `overtaken` ends it early: there is a newer set. */
  attempt(overtaken: AbortSignal): Promise<Attempted>;
}

/** What became of the newest attempt, for `/status`; `none` while there was nobody to tell, or nothing. */
export interface HookReport {
  readonly hook: HookName;
  readonly outcome: 'ok' | 'failed' | 'none';
  /** ISO 8601. */
  readonly at: string;
  readonly why: string;
}

export type NextStep =
  | { readonly kind: 'over'; readonly outcome: HookReport['outcome'] }
  | { readonly kind: 'again'; readonly afterMs: number };

/** Within a minute: an application that starts later than that reads the new set anyway. */
const maximumAttempts = 5;
const backoff = { firstMs: 3_000, maximumMs: 30_000 };

/**
 * What follows an attempt, the one with this number, from 1. An application that is not there when the
 * first set is published has not started yet and will read it: that is no failure, and no reason to look for it.
 */
export function afterAttempt(
  attempted: Attempted,
  number: number,
  run: { readonly isFirstSet: boolean; readonly fraction: number },
): NextStep {
  if (attempted.kind === 'done') return { kind: 'over', outcome: 'ok' };
  if (attempted.kind === 'absent' && run.isFirstSet) return { kind: 'over', outcome: 'none' };
  if (number >= maximumAttempts) return { kind: 'over', outcome: 'failed' };
  return { kind: 'again', afterMs: backoffMs(number, backoff, run.fraction) };
}
