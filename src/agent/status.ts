import { missingNames, type SubjectNames } from '../identity/subject-names.ts';
import { subjectNamesIn } from '../pki/certificate.ts';
import { type TrustBundle } from '../trust/bundle.ts';
import { verifyChain } from '../trust/verify-chain.ts';
import { type CurrentReading } from '../volume/current.ts';

export interface Status {
  /** Whether the application can be served with what is on the volume. */
  readonly ready: boolean;
  /** Why not, or what is about to need attention; for people. */
  readonly reasons: readonly string[];
  readonly expired: boolean;
  /** Undefined while there is no certificate. */
  readonly untrusted: string | undefined;
  readonly missing: readonly string[];
}

/**
 * How the set on the volume stands at `now`. A chain that the newest bundle does not verify and a
 * name that is still missing are reported and do not take the pod out of service: what it serves is
 * better than nothing.
 */
export function statusOf(
  current: CurrentReading,
  names: SubjectNames | undefined,
  bundle: TrustBundle,
  now: Date,
): Status {
  if (current.kind === 'unusable') {
    const reasons = [`no usable certificate: ${current.why}`];
    return { ready: false, reasons, expired: false, untrusted: undefined, missing: [] };
  }
  const { leaf, intermediates } = current.set;
  const expired = now >= leaf.validity.notAfter;
  const verdict = verifyChain(leaf, intermediates, bundle, now);
  const untrusted = verdict.kind === 'untrusted' ? verdict.why : undefined;
  const missing = names ? missingNames(subjectNamesIn(leaf), names) : [];
  const isEarly = now < leaf.validity.notBefore;
  const reasons = [
    ...(expired ? [`the certificate expired at ${leaf.validity.notAfter.toISOString()}`] : []),
    ...(isEarly
      ? [
          `by this clock the certificate is valid only from ${leaf.validity.notBefore.toISOString()}`,
        ]
      : []),
    ...(untrusted === undefined ? [] : [`the chain does not verify: ${untrusted}`]),
    ...(missing.length > 0 ? [`names not yet in the certificate: ${missing.join(', ')}`] : []),
  ];
  return { ready: !expired, reasons, expired, untrusted, missing };
}
