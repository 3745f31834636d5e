import { inAscii } from '../certificates/denial.ts';
import { allNames } from '../identity/subject-names.ts';
import { type Facts } from './facts.ts';
import { type RuleId, rules } from './rules.ts';
import { reasonToIgnore, type Violation, violationsOf } from './verdict.ts';

/** The verdict on one request, rule by rule, for people and for programs. */
export interface Explanation {
  readonly request: string;
  readonly signerName: string;
  readonly requester: string;
  readonly pod: string | undefined;
  /** What it asks for; empty when it cannot be read. */
  readonly names: readonly string[];
  /** By the rules alone. */
  readonly verdict: 'approve' | 'deny' | 'wait';
  /** Why the approver leaves it alone all the same: not its signer name, or decided. */
  readonly leftAloneBecause: string | undefined;
  readonly rules: readonly {
    readonly rule: RuleId;
    readonly findings: readonly Omit<Violation, 'rule'>[];
  }[];
}

export function explain(facts: Facts): Explanation {
  const { request, requester, content } = facts;
  const violations = violationsOf(facts);
  return {
    request: request.name,
    signerName: request.signerName,
    requester: request.requester.username,
    pod: requester.kind === 'pod' ? `${requester.pod.namespace}/${requester.pod.name}` : undefined,
    names: content.kind === 'read' ? allNames(content.value.names) : [],
    verdict: verdictBy(violations),
    leftAloneBecause: reasonToIgnore(facts),
    rules: (Object.keys(rules) as RuleId[]).map((rule) => ({
      rule,
      findings: violations
        .filter((each) => each.rule === rule)
        .map(({ value, why, standing, allowed }) => ({
          value,
          why,
          standing,
          ...(allowed ? { allowed } : {}),
        })),
    })),
  };
}

function verdictBy(violations: readonly Violation[]): Explanation['verdict'] {
  if (violations.length === 0) return 'approve';
  return violations.some(({ standing }) => standing === 'never') ? 'deny' : 'wait';
}

/** One line for each rule that holds, one for each value that breaks one. */
export function explanationText(explanation: Explanation): string {
  const { request, signerName, requester, pod, names, verdict, leftAloneBecause } = explanation;
  const rows = explanation.rules.flatMap(({ rule, findings }) =>
    findings.length === 0
      ? [`  ok       ${rule}`]
      : findings.map(({ value, why, standing }) => {
          const shown = value === undefined ? '' : ` ${JSON.stringify(value)}`;
          return `  ${standing.padEnd(8)} ${rule}${shown}: ${why}`;
        }),
  );
  const allowed = explanation.rules.flatMap(({ rule, findings }) => {
    const values = findings[0]?.allowed ?? [];
    const list = values.map((value) => JSON.stringify(value)).join(', ');
    return values.length > 0 ? [`allowed ${rule}: ${list}`] : [];
  });
  const meaning: Readonly<Record<Explanation['verdict'], string>> = {
    approve: 'approve',
    deny: 'deny: what is marked never can never become right for this pod',
    wait: 'wait for what is marked not-yet; denied when it does not come true in time',
  };
  return [
    `request    ${request}`,
    `signer     ${signerName}`,
    `asked by   ${requester}${pod === undefined ? '' : `, pod ${pod}`}`,
    ...names.map(
      (name, index) => `${index === 0 ? 'asks for  ' : '          '} ${JSON.stringify(name)}`,
    ),
    '',
    ...rows,
    '',
    ...allowed,
    `verdict    ${meaning[verdict]}`,
    ...(leftAloneBecause === undefined ? [] : [`left alone ${leftAloneBecause}`]),
    '',
  ]
    .map(inAscii)
    .join('\n');
}
