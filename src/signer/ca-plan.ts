import { type Certificate } from '../pki/certificate.ts';
import { later } from '../runtime/clock.ts';
import { bundleOf } from '../trust/bundle.ts';
import { type SigningCa } from './signing-ca.ts';

/** Since when the roots of a CA have been published, as far as this replica knows. */
export interface Announced {
  readonly id: string;
  readonly at: Date;
}

export interface CaPlan {
  readonly bundlePem: string;
  /** Signs from now on; published first. */
  readonly signs: SigningCa;
  readonly announced: Announced;
  /** When another CA than `signs` is to sign; undefined: none is waiting. */
  readonly switchAt: Date | undefined;
}

/**
 * What to publish and who signs, where `next` is to sign after `current`: its roots are added to those
 * that are trusted already, and it signs once the bundle with them has been out for `settleMs`. Nothing
 * is taken out of the bundle here: guarded rotation will do that, and replace the wait.
 */
export function planCa(
  next: SigningCa,
  seen: {
    readonly current: SigningCa | undefined;
    readonly trusted: readonly Certificate[];
    readonly announced: Announced | undefined;
  },
  { now, settleMs }: { readonly now: Date; readonly settleMs: number },
): CaPlan {
  const { current, trusted } = seen;
  const bundlePem = bundleOf([...trusted, ...next.roots, ...(current?.roots ?? [])]).pem;
  const announced = seen.announced?.id === next.id ? seen.announced : announce(next, trusted, now);
  const switchAt = later(announced.at, settleMs);
  const mustWait = current !== undefined && current.id !== next.id && now < switchAt;
  return mustWait
    ? { bundlePem, signs: current, announced, switchAt }
    : { bundlePem, signs: next, announced, switchAt: undefined };
}

function announce(next: SigningCa, trusted: readonly Certificate[], now: Date): Announced {
  const known = new Set(trusted.map(({ fingerprint }) => fingerprint));
  const isKnown = next.roots.every(({ fingerprint }) => known.has(fingerprint));
  // Trusted already: nobody has to be waited for.
  return { id: next.id, at: isKnown ? new Date(0) : now };
}
