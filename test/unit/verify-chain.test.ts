import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { certificateFromDer, type Certificate } from '../../src/pki/certificate.ts';
import * as der from '../../src/pki/der.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { verifyChain } from '../../src/trust/verify-chain.ts';
import {
  atNoonPlus,
  dayMs,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  noon,
  type TestCa,
} from '../support/certificate-builders.ts';

const root = newCa();
const middle = newCa({ commonName: 'middle', parent: root });
const lower = newCa({ commonName: 'lower', parent: middle });
const past = { notBefore: atNoonPlus(-2 * dayMs), notAfter: atNoonPlus(-dayMs) };
const future = { notBefore: atNoonPlus(hourMs), notAfter: atNoonPlus(dayMs) };

const verdict = (
  leaf: Certificate,
  others: readonly TestCa[],
  roots: readonly TestCa[],
  at = noon,
) =>
  verifyChain(
    leaf,
    others.map((each) => each.certificate),
    bundleOf(roots.map((each) => each.certificate)),
    at,
  );

const untrusted = (...args: Parameters<typeof verdict>): string => {
  const result = verdict(...args);
  assert.equal(result.kind, 'untrusted');
  return result.why;
};

const pathOf = (...args: Parameters<typeof verdict>): readonly string[] => {
  const result = verdict(...args);
  assert.equal(result.kind, 'trusted', result.kind === 'untrusted' ? result.why : '');
  return result.path.map((each) => each.x509.subject);
};

describe('verifyChain()', () => {
  test('trusts a leaf that a root of the bundle signed', () => {
    const leaf = newLeaf(root);
    const result = verdict(leaf, [], [newCa({ commonName: 'other' }), root]);
    assert.deepEqual(result, { kind: 'trusted', path: [leaf], root: root.certificate });
  });

  test('finds the way through intermediates', () => {
    assert.deepEqual(pathOf(newLeaf(lower), [lower, middle], [root]).slice(1), [
      'CN=lower',
      'CN=middle',
    ]);
  });

  test('puts intermediates in signing order, and leaves out what is not on the way', () => {
    const stranger = newCa({ commonName: 'stranger' });
    const path = pathOf(newLeaf(lower), [stranger, middle, root, lower], [root]);
    assert.deepEqual(path.slice(1), ['CN=lower', 'CN=middle']);
  });

  test('trusts an intermediate that stands in the bundle itself', () => {
    assert.equal(pathOf(newLeaf(middle), [], [middle]).length, 1);
  });

  test('finds the one way that works when two lead up', () => {
    const expired = newCa({
      commonName: 'lower',
      parent: middle,
      keyPair: lower.keyPair,
      validity: past,
    });
    assert.equal(pathOf(newLeaf(lower), [expired, lower, middle], [root]).length, 3);
  });

  test('does not trust without the intermediate', () => {
    assert.match(untrusted(newLeaf(middle), [], [root]), /"CN=middle" does not lead to a root/);
  });

  test('does not learn a root from the chain', () => {
    const foreign = newCa({ commonName: 'foreign' });
    const why = untrusted(newLeaf(foreign), [foreign], [root]);
    assert.match(why, /"CN=foreign" does not lead to a root of the bundle \("CN=test root"\)/);
  });

  test('does not trust a root that only has the name of ours', () => {
    const foreign = newCa();
    assert.equal(foreign.certificate.x509.subject, root.certificate.x509.subject);
    assert.match(untrusted(newLeaf(foreign), [foreign], [root]), /does not lead to a root/);
  });

  test('does not trust below an expired root, or one that is not valid yet', () => {
    const expired = newCa({ validity: past });
    assert.match(untrusted(newLeaf(expired), [], [expired]), /expired at 2026-05-31T12:00:00/);
    const early = newCa({ validity: future });
    assert.match(untrusted(newLeaf(early), [], [early]), /valid only from 2026-06-01T13:00:00/);
  });

  test('does not trust below an expired intermediate', () => {
    const expired = newCa({ commonName: 'expired', parent: root, validity: past });
    assert.match(untrusted(newLeaf(expired), [expired], [root]), /"CN=expired" expired/);
  });

  test('does not trust what a certificate signed that is no CA', () => {
    const noCa = newCa({ commonName: 'no CA', parent: root, isCa: false });
    assert.match(untrusted(newLeaf(noCa), [noCa], [root]), /"CN=no CA" is not a CA/);
    assert.match(untrusted(newLeaf(noCa), [], [noCa]), /is not a CA/);
  });

  test('does not trust a leaf whose signature was changed', () => {
    const leaf = newLeaf(root);
    const other = newLeaf(root, { keyPair: newKey() });
    // The right issuer by name and key identifier, and the signature of another certificate.
    const [tbs, algorithm] = der.membersOf(der.decodeDer(leaf.der), 'sequence', 'leaf');
    const [, , signature] = der.membersOf(der.decodeDer(other.der), 'sequence', 'other');
    assert.ok(tbs && algorithm && signature);
    const forged = certificateFromDer(der.encodeDer(der.sequence(tbs, algorithm, signature)));
    assert.match(untrusted(forged, [], [root]), /"CN=test root" does not lead to a root/);
  });

  test('says that an empty bundle is empty', () => {
    assert.match(untrusted(newLeaf(root), [], []), /which is empty/);
  });

  test('ends soon on certificates that all sign each other', () => {
    const keyPair = newKey();
    const circle = Array.from({ length: 8 }, () => newCa({ commonName: 'circle', keyPair }));
    const signer = circle[0];
    assert.ok(signer);
    const startedAt = performance.now();
    assert.match(untrusted(newLeaf(signer), circle, [root]), /does not lead/);
    const ms = performance.now() - startedAt;
    assert.ok(ms < 1_000, `${Math.round(ms)} ms for a chain of eight certificates`);
  });
});
