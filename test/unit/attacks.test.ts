import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rules, type RuleId } from '../../src/approver/rules.ts';
import { denialOf, verdictOn, violationsOf } from '../../src/approver/verdict.ts';
import { formatDenial, parseDenial } from '../../src/certificates/denial.ts';
import { attacks } from '../support/attacks.ts';
import { factsOf } from '../support/approval-builders.ts';

describe('an attack', () => {
  for (const { who, what, scene, rule, value, waits, backstops = [] } of attacks) {
    const facts = factsOf(scene);
    const stoppedBy = (...without: readonly RuleId[]): readonly RuleId[] => [
      ...new Set(violationsOf(facts, without).map((each) => each.rule)),
    ];

    test(`by ${who}: ${what}, is stopped by ${rule}`, () => {
      assert.deepEqual(stoppedBy(rule, ...backstops), [], 'another rule stops it too');
      assert.deepEqual(stoppedBy(...backstops), [rule], 'the rule does not stop it');
      for (const backstop of backstops)
        assert.deepEqual(
          stoppedBy(rule, ...backstops.filter((each) => each !== backstop)),
          [backstop],
          'it is no backstop',
        );
    });

    test(`by ${who}: ${what}, is named in the message`, () => {
      const verdict = verdictOn(facts, 0);
      assert.equal(verdict.kind, waits ? 'wait' : 'deny');
      assert.ok('violations' in verdict);
      const own = verdict.violations.filter((each) => each.rule === rule);
      assert.deepEqual(
        own.map((each) => each.value),
        [value],
      );
      const denial = denialOf(verdict.violations);
      assert.deepEqual(parseDenial(formatDenial(denial)), shortened(denial));
      assert.equal(verdictOn(facts, facts.policy.waitLimitMs).kind, 'deny');
    });
  }

  test('is there for every rule', () => {
    const stopping = new Set(attacks.map(({ rule }) => rule));
    assert.deepEqual(
      Object.keys(rules).filter((rule) => !stopping.has(rule as RuleId)),
      [],
    );
  });
});

/** Rules that allow nothing have no line about it. */
function shortened(denial: ReturnType<typeof denialOf>) {
  const allowed = Object.entries(denial.allowed).filter(([, values]) => values.length > 0);
  return { ...denial, allowed: Object.fromEntries(allowed) };
}
