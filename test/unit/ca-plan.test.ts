import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { type Announced, planCa } from '../../src/signer/ca-plan.ts';
import { readSigningCa, type SigningCa } from '../../src/signer/signing-ca.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { atNoonPlus, dayMs, newCa, noon, type TestCa } from '../support/certificate-builders.ts';

const caOf = (ca: TestCa, root?: TestCa): SigningCa =>
  readSigningCa({ certificate: ca.pem, key: privateKeyPem(ca.keyPair), root: root?.pem }, noon);
const settleMs = 120_000;

describe('planCa()', () => {
  const [oldRoot, newRoot] = [newCa({ commonName: 'old' }), newCa({ commonName: 'new' })];
  const [old, next] = [caOf(oldRoot), caOf(newRoot)];
  const plan = (
    ca: SigningCa,
    seen: Partial<Parameters<typeof planCa>[1]>,
    moment: { readonly now?: Date; readonly uptimeMs?: number; readonly settleMs?: number } = {},
  ) =>
    planCa(
      ca,
      { current: undefined, trusted: [], announced: undefined, ...seen },
      { now: noon, uptimeMs: 1_000_000, settleMs, ...moment },
    );
  const bundle = (...cas: readonly TestCa[]): string =>
    bundleOf(cas.map(({ certificate }) => certificate)).pem;

  test('signs with the first CA at once', () => {
    const { signs, switchInMs, bundle: published } = plan(next, {});
    assert.deepEqual([signs, switchInMs, published.pem], [next, undefined, bundle(newRoot)]);
  });

  test('publishes both roots, and lets the old CA sign until the bundle has been out for long enough', () => {
    const first = plan(next, { current: old, trusted: [oldRoot.certificate] });
    assert.deepEqual([first.signs, first.switchInMs], [old, settleMs]);
    assert.equal(first.bundle.pem, bundle(oldRoot, newRoot));
    const seen = { current: old, trusted: first.bundle.certificates, announced: first.announced };
    const almost = plan(next, seen, { uptimeMs: 1_000_000 + settleMs - 1 });
    assert.deepEqual([almost.signs, almost.switchInMs], [old, 1]);
    const then = plan(next, seen, { uptimeMs: 1_000_000 + settleMs });
    assert.deepEqual([then.signs, then.switchInMs], [next, undefined]);
    assert.equal(
      then.bundle.pem,
      bundle(oldRoot, newRoot),
      'what the old CA signed is still out there',
    );
  });

  test('does not wait where nothing is to settle', () => {
    assert.equal(plan(next, { current: old }, { settleMs: 0 }).signs, next);
  });

  test('counts a third CA from when it came', () => {
    const announced: Announced = { id: next.id, atMs: 0 };
    const third = caOf(newCa({ commonName: 'third' }));
    const planned = plan(third, { current: old, announced });
    assert.deepEqual([planned.signs, planned.switchInMs], [old, settleMs]);
  });

  test('does not take a root in the bundle for one that everybody trusts: it may have come a moment ago', () => {
    const trusted = [oldRoot.certificate, newRoot.certificate];
    assert.equal(plan(next, { current: old, trusted }).signs, old);
  });

  test('switches to another CA below the same root at once', () => {
    const [one, other] = ['one', 'other'].map((commonName) =>
      caOf(newCa({ commonName, parent: oldRoot }), oldRoot),
    );
    assert.ok(one && other);
    assert.equal(plan(other, { current: one, trusted: one.roots }).signs, other);
  });

  test('keeps roots of earlier CAs until they expire', () => {
    const short = newCa({
      commonName: 'short',
      validity: { notBefore: atNoonPlus(-dayMs), notAfter: atNoonPlus(dayMs) },
    });
    const trusted = [short.certificate];
    assert.equal(plan(next, { trusted }).bundle.pem, bundle(short, newRoot));
    const tomorrow = { now: atNoonPlus(dayMs) };
    assert.equal(plan(next, { trusted }, tomorrow).bundle.pem, bundle(newRoot));
  });

  test('keeps the roots of the CA that signs, whatever stands in the bundle', () => {
    assert.equal(plan(next, { current: old }).bundle.pem, bundle(oldRoot, newRoot));
  });
});
