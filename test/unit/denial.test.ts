import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Denial, formatDenial, parseDenial } from '../../src/certificates/denial.ts';

const rule = fc.stringMatching(/^[a-z0-9]+(-[a-z0-9]+)*$/).filter((text) => text !== 'and');
const value = fc.option(fc.string({ unit: 'binary', maxLength: 300 }), { nil: undefined });
const why = fc.stringMatching(/^[ -~]{1,80}$/);

const reason = fc.record({ rule, value, why }, { noNullPrototype: true });

describe('formatDenial()', () => {
  test('writes one line for each reason and each rule that allows something', () => {
    const denial: Denial = {
      reasons: [
        { rule: 'dns-names', value: 'google.com', why: 'no name of a Service' },
        { rule: 'usages', value: undefined, why: 'it asks for none' },
      ],
      allowed: { 'dns-names': ['web.shop.svc', 'web.shop.svc.cluster.local'] },
      more: 0,
    };
    assert.equal(
      formatDenial(denial),
      '- dns-names "google.com": no name of a Service\n' +
        '- usages: it asks for none\n' +
        'allowed dns-names: "web.shop.svc", "web.shop.svc.cluster.local"',
    );
  });

  test('is taken apart by parseDenial() into what it was made of', () => {
    const reasons = fc.array(reason, { minLength: 1, maxLength: 20 });
    const values = fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(reasons, values, fc.nat(1000), (all, names, more) => {
        const [first] = all;
        const denial = { reasons: all, allowed: { [first?.rule ?? '']: names }, more };
        const message = formatDenial(denial);
        assert.match(message, /^[ -~\n]*$/);
        assert.deepEqual(parseDenial(message), denial);
      }),
    );
  });

  test('takes no rule for something that every object has', () => {
    const denial = {
      reasons: [{ rule: 'constructor', value: undefined, why: 'w' }],
      allowed: {},
      more: 0,
    };
    assert.deepEqual(parseDenial(formatDenial(denial)), denial);
  });

  test('names twenty values and counts the rest', () => {
    const reasons = Array.from({ length: 33 }, (_, i) => ({ rule: 'r', value: `${i}`, why: 'w' }));
    const message = formatDenial({ reasons, allowed: {}, more: 2 });
    assert.match(message, /^- r "19": w\n- and 15 more$/m);
    assert.equal(message.split('\n').length, 21);
    assert.equal(parseDenial(message)?.more, 15);
  });

  test('shows long values and reasons in part, and no line break or look-alike of theirs', () => {
    const long = 'a\n'.repeat(50_000);
    const reasons = [{ rule: 'r', value: long, why: `label ${long} \u0430\u0085` }];
    const message = formatDenial({ reasons, allowed: {}, more: 0 });
    assert.ok(message.length < 6_000, `${message.length}`);
    assert.equal(message.split('\n').length, 1);
    assert.match(message, /^- r "a\\na\\n.*\.\.\.": label a\\u000a.*\.\.\.$/);
  });
});

describe('parseDenial()', () => {
  for (const message of [
    '',
    'no',
    '- no rule',
    '- dns-names "\\x": y',
    'allowed dns-names: "a"',
    '- dns-names: y\nand more by hand',
    '- and 3 more',
  ])
    test(`takes no message that a person wrote: ${JSON.stringify(message)}`, () => {
      assert.equal(parseDenial(message), undefined);
    });
});
