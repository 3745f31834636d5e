import { type Certificate } from '../pki/certificate.ts';
import { bundleOf, type TrustBundle } from '../trust/bundle.ts';
import { type SigningCa } from './signing-ca.ts';

/** Since when the roots of a CA have been published, as far as this replica knows. */
export interface Announced {
  readonly id: string;
  /** By uptime. */
  readonly atMs: number;
}

export interface CaPlan {
  readonly bundle: TrustBundle;
  /** Signs from now on; published first. */
  readonly signs: SigningCa;
  readonly announced: Announced;
  /** After how long another CA than `signs` is to sign; undefined: none is waiting. */
  readonly switchInMs: number | undefined;
}

/**
 * What to publish and who signs, where `next` is to sign after `current`: its roots are added to those
 * that are trusted already, and it signs once the bundle with them has been out for `settleMs`. Nothing
 * but what has expired is taken out of the bundle here: guarded rotation will do that, and replace the wait.
 */
export function planCa(
  next: SigningCa,
  seen: {
    readonly current: SigningCa | undefined;
    readonly trusted: readonly Certificate[];
    readonly announced: Announced | undefined;
  },
  moment: { readonly now: Date; readonly uptimeMs: number; readonly settleMs: number },
): CaPlan {
  const { current } = seen;
  const { now, uptimeMs, settleMs } = moment;
  const trusted = seen.trusted.filter(({ validity }) => now < validity.notAfter);
  const bundle = bundleOf([...trusted, ...next.roots, ...(current?.roots ?? [])]);
  const announced =
    seen.announced?.id === next.id ? seen.announced : announce(next, current, uptimeMs);
  const switchInMs = announced.atMs + settleMs - uptimeMs;
  const mustWait = current !== undefined && current.id !== next.id && switchInMs > 0;
  return mustWait
    ? { bundle, signs: current, announced, switchInMs }
    : { bundle, signs: next, announced, switchInMs: undefined };
}

function announce(next: SigningCa, current: SigningCa | undefined, uptimeMs: number): Announced {
  const known = new Set(current?.roots.map(({ fingerprint }) => fingerprint));
  const isKnown = next.roots.every(({ fingerprint }) => known.has(fingerprint));
  // Another CA below the same root: nobody has to be waited for.
  return { id: next.id, atMs: isKnown ? -Infinity : uptimeMs };
}
