import { type NewestSet } from './newest-set.ts';

/** Where the application serves the certificate. */
export interface ProbeAddress {
  readonly host: string;
  readonly port: number;
}

/** Which certificate the application serves, beside the one on the volume. */
export type Serving =
  | { readonly kind: 'current' }
  | { readonly kind: 'other'; readonly fingerprint: string }
  | { readonly kind: 'unreachable'; readonly why: string };

/** For `/status`; `unknown` before the first look, or without a probe. */
export type Application = Serving['kind'] | 'unknown';

/**
 * Makes a TLS handshake, as a client with the certificate of `set`; resolves with the fingerprint of the
 * leaf that is served (SHA-256, lower-case hex), whatever it is. Rejects when there is none.
 */
export type Handshake = (
  address: ProbeAddress,
  set: NewestSet,
  stop: AbortSignal,
) => Promise<string>;

/** An application gets so long to reload before it is said that it did not. */
const settleMs = 60_000;
/** How often the application is looked at when nothing happens. */
export const restMs = 60_000;

/** Milliseconds to the next handshake, `sinceMs` after the certificate on the volume changed. */
export function probeGapMs(serving: Serving, sinceMs: number): number {
  if (serving.kind === 'current' || sinceMs >= settleMs) return restMs;
  return Math.min(Math.max(500, sinceMs), 15_000);
}

/** Whether people want to hear it: the old certificate in the moments after a change is no news. */
export function isNews(
  serving: Serving,
  said: Serving['kind'] | undefined,
  sinceMs: number,
): boolean {
  return serving.kind !== said && (serving.kind === 'current' || sinceMs >= settleMs);
}
