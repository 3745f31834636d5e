import { missingNames, type SubjectNames } from '../identity/subject-names.ts';
import { subjectNamesIn } from '../pki/certificate.ts';
import { renewalFraction, renewAt } from '../renewal/schedule.ts';
import { type CurrentReading, type CurrentSet } from '../volume/current.ts';

/** Why a certificate is asked for: a label of metrics and log lines. */
export type Reason = 'first' | 'expired' | 'renewal' | 'names' | 'asked' | 'trust';

export type Plan =
  | { readonly kind: 'issue'; readonly reason: Reason }
  | { readonly kind: 'wait'; readonly until: Date };

export interface Situation {
  readonly current: CurrentReading;
  readonly names: SubjectNames;
  readonly renewAnnotation: string | undefined;
  /** Since when names are missing, or the chain does not verify, without a break. */
  readonly since: Since;
  readonly now: Date;
}

export interface Since {
  readonly namesMissing: Date | undefined;
  readonly untrusted: Date | undefined;
}

/** A thousand pods may belong to one new Service: their requests are spread over this time. */
const namesSpreadMs = 10_000;
/** A Service that comes and goes must not cost a certificate each time. */
const minimumGapMs = 30_000;
/** One edit of a trust bundle concerns every pod of the cluster at once. */
const trustSpreadMs = 5 * 60_000;

/**
 * What to do now: everything that could be due, and the earliest of it. Names that went away are
 * dropped at the next renewal, not before: a Service deleted and made again must not cost a name.
 */
export function planIssuance(situation: Situation): Plan {
  const { current, now } = situation;
  if (current.kind === 'unusable') return { kind: 'issue', reason: 'first' };
  // Said before what became due earlier: expiry has its own urgency.
  if (now >= current.set.leaf.validity.notAfter) return { kind: 'issue', reason: 'expired' };
  const dues = duesOf(situation, current.set);
  const first = dues.reduce((a, b) => (b.at < a.at ? b : a));
  return first.at <= now
    ? { kind: 'issue', reason: first.reason }
    : { kind: 'wait', until: first.at };
}

interface Due {
  readonly reason: Reason;
  readonly at: Date;
}

function duesOf(situation: Situation, set: CurrentSet): readonly [Due, ...Due[]] {
  const { renewAnnotation, since, now } = situation;
  const { validity, fingerprint } = set.leaf;
  const fraction = renewalFraction(fingerprint);
  const dues: [Due, ...Due[]] = [
    { reason: 'expired', at: validity.notAfter },
    { reason: 'renewal', at: renewalOf(set) },
  ];
  if (since.namesMissing && isMissingNames(set, situation.names)) {
    const spread = since.namesMissing.getTime() + namesSpreadMs * fraction;
    const gap = receivedAt(set).getTime() + minimumGapMs;
    // A receipt from the future (the clock was stepped back) must not put it off for ever.
    const at = Math.max(spread, Math.min(gap, since.namesMissing.getTime() + minimumGapMs));
    dues.push({ reason: 'names', at: new Date(at) });
  }
  if (since.untrusted)
    dues.push({
      reason: 'trust',
      at: new Date(since.untrusted.getTime() + trustSpreadMs * fraction),
    });
  if (renewAnnotation !== undefined && renewAnnotation !== set.receipt.renewAnnotation)
    dues.push({ reason: 'asked', at: now });
  return dues;
}

/** When the set is due for renewal. */
export function renewalOf(set: CurrentSet): Date {
  return renewAt(set.leaf.validity, receivedAt(set), renewalFraction(set.leaf.fingerprint));
}

function receivedAt(set: CurrentSet): Date {
  const date = new Date(set.receipt.receivedAt);
  const isSane = !Number.isNaN(date.getTime()) && date < set.leaf.validity.notAfter;
  return isSane ? date : set.leaf.validity.notBefore;
}

export function isMissingNames(set: CurrentSet, names: SubjectNames): boolean {
  return missingNames(subjectNamesIn(set.leaf), names).length > 0;
}
