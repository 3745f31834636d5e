import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rules, type RuleId } from '../../src/approver/rules.ts';
import { denialOf, verdictOn, violationsOf } from '../../src/approver/verdict.ts';
import { type Denial, formatDenial, inAscii, parseDenial } from '../../src/certificates/denial.ts';
import { attacks, requestSignedByNobody } from '../support/attacks.ts';
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
      assert.deepEqual(parseDenial(formatDenial(denial)), asParsed(denial));
      assert.equal(verdictOn(facts, facts.policy.waitLimitMs).kind, 'deny');
    });
  }

  test('with a key that nobody has is denied, whichever of two rules sees it', () => {
    const verdict = verdictOn(factsOf({ asks: { pem: requestSignedByNobody() } }), 0);
    assert.equal(verdict.kind, 'deny');
    assert.match(
      verdict.violations.map(({ rule }) => rule).join(),
      /^(key|certification-request)$/,
    );
  });

  test('is there for every rule', () => {
    const stopping = new Set(attacks.map(({ rule }) => rule));
    assert.deepEqual(
      Object.keys(rules).filter((rule) => !stopping.has(rule as RuleId)),
      [],
    );
  });
});

/** Rules that allow nothing have no line about it; what is not ASCII stays escaped in the reasons. */
function asParsed({ reasons, allowed, more }: Denial): Denial {
  return {
    reasons: reasons.map((each) => ({ ...each, why: inAscii(each.why) })),
    allowed: Object.fromEntries(Object.entries(allowed).filter(([, values]) => values.length > 0)),
    more,
  };
}
