import { type Denial } from '../certificates/denial.ts';
import { standingOf } from '../certificates/observed-request.ts';
import { type Finding } from '../vetting/finding.ts';
import { caseOf } from './case.ts';
import { type Facts } from './facts.ts';
import { type RuleId, rules } from './rules.ts';

/** A finding with the rule that made it. */
export interface Violation extends Finding {
  readonly rule: RuleId;
}

export type Verdict =
  | { readonly kind: 'approve' }
  | { readonly kind: 'deny'; readonly violations: readonly Violation[] }
  /** For all of these to become true. */
  | { readonly kind: 'wait'; readonly violations: readonly Violation[] }
  /** Not ours, or decided. */
  | { readonly kind: 'ignore'; readonly why: string };

/** Why the request is no business of ours, or undefined when it is. Needs no facts but the request itself. */
export function reasonToIgnore({
  request,
  settings,
}: Pick<Facts, 'request' | 'settings'>): string | undefined {
  if (!settings.signerNames.includes(request.signerName))
    return `signer name ${JSON.stringify(request.signerName)} is not looked after`;
  const standing = standingOf(request);
  if (standing !== 'pending') return `it is ${standing} already`;
  if (request.hasCertificate) return 'it has a certificate already';
  return undefined;
}

/**
 * The verdict on one request, `waitedMs` after it was first seen. One value that can never be right
 * denies the whole request; what is only not true yet waits as long as the policy says.
 */
export function verdictOn(facts: Facts, waitedMs: number): Verdict {
  const why = reasonToIgnore(facts);
  if (why !== undefined) return { kind: 'ignore', why };
  const violations = violationsOf(facts);
  if (violations.length === 0) return { kind: 'approve' };
  const isFinal =
    violations.some(({ standing }) => standing === 'never') || waitedMs >= facts.policy.waitLimitMs;
  return { kind: isFinal ? 'deny' : 'wait', violations };
}

/** Everything that every rule finds, in the order of the table. `without` leaves rules out: for tests alone. */
export function violationsOf(facts: Facts, without: readonly RuleId[] = []): readonly Violation[] {
  const each = caseOf(facts);
  const found = Object.entries(rules).flatMap(([id, check]): readonly Violation[] => {
    const rule = id as RuleId;
    return without.includes(rule) ? [] : check(each).map((finding) => ({ rule, ...finding }));
  });
  // "A CA with wider constraints is needed" misleads where the name would be refused all the same.
  const refused = new Set(
    found.filter(({ rule }) => rule !== 'ca-constraints').map(({ value }) => value),
  );
  return found.filter(({ rule, value }) => rule !== 'ca-constraints' || !refused.has(value));
}

/** The violations as they are written into the request. */
export function denialOf(violations: readonly Violation[]): Denial {
  return {
    reasons: violations.map(({ rule, value, why }) => ({ rule, value, why })),
    allowed: Object.fromEntries(
      violations.flatMap(({ rule, allowed }) => (allowed ? [[rule, allowed]] : [])),
    ),
    more: 0,
  };
}
