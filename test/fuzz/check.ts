import { deepEqual, equal, ok } from 'node:assert/strict';
import { type Facts } from '../../src/approver/facts.ts';
import { denialOf, type Verdict, verdictOn } from '../../src/approver/verdict.ts';
import { formatDenial, parseDenial } from '../../src/certificates/denial.ts';
import { type Answer } from '../oracle/oracle.ts';
import { canonicalAddress } from './world.ts';

/** What is compared: throws an AssertionError where the program and the oracle disagree. */
export function check(
  facts: Facts,
  verdict: Verdict,
  answer: Answer,
  { isHonest }: { readonly isHonest: boolean },
): void {
  if (verdict.kind === 'approve') {
    ok(answer.taken, `approved, but the API server would not take it: ${answer.error}`);
    ok(answer.allowed, `approved, but it is not right: ${answer.why}`);
    deepEqual(namesOf(facts), [answer.dnsNames, answer.ipAddresses, answer.uris], 'other names');
    return;
  }
  ok(verdict.kind !== 'ignore', 'left alone');
  checkMessage(verdict);
  if (isHonest) ok(!answer.allowed, `right, but not approved: ${message(verdict)}`);
  if (facts.content.kind === 'read' && answer.taken) checkNamed(verdict, answer);
}

function namesOf({ content }: Facts): unknown {
  if (content.kind !== 'read') return undefined;
  const { dnsNames, ipAddresses, uris } = content.value.names;
  return [dnsNames, ipAddresses, uris];
}

type Refusal = Extract<Verdict, { violations: unknown }>;

function message(verdict: Refusal): string {
  return formatDenial(denialOf(verdict.violations));
}

/** A denial names every value that offends. */
function checkNamed({ violations }: Refusal, { refused }: Answer): void {
  const named = new Set(violations.map(({ value }) => value));
  for (const name of refused)
    ok(named.has(name) || named.has(canonicalAddress(name)), `not named: ${JSON.stringify(name)}`);
}

function checkMessage(verdict: Refusal): void {
  const parsed = parseDenial(message(verdict));
  ok(parsed, `nobody can read: ${message(verdict)}`);
  const shown = verdict.violations.slice(0, 20);
  equal(parsed.reasons.length, shown.length);
  equal(parsed.more, verdict.violations.length - shown.length);
  for (const [index, { rule, value }] of shown.entries()) {
    equal(parsed.reasons[index]?.rule, rule);
    if (value === undefined || value.length <= 300) equal(parsed.reasons[index].value, value);
  }
}

/** `early` lacks facts that Services and pods of the namespace bring about; `facts` was approved. */
export function checkLate(early: Facts): void {
  const verdict = verdictOn(early, 0);
  if (verdict.kind === 'approve') return;
  ok(
    verdict.kind === 'wait',
    `denied for what was only late: ${verdict.kind === 'deny' ? message(verdict) : ''}`,
  );
  equal(verdictOn(early, early.policy.waitLimitMs).kind, 'deny');
}
