import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { type CaKeeper, caKeeper } from '../../src/signer/ca-keeper.ts';
import { type SignerConfig, type SignerWorld } from '../../src/signer/world.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { type CaSecret } from '../../src/trust/ca-secret.ts';
import {
  atNoonPlus,
  dayMs,
  newCa,
  newKey,
  newLeaf,
  noon,
  type TestCa,
} from '../support/certificate-builders.ts';
import { type ManualClock, manualClock } from '../support/manual-clock.ts';
import {
  failure,
  type LogTwin,
  logTwin,
  type MetricsTwin,
  metricsTwin,
  type TrustTwin,
  trustTwin,
} from '../support/signer-twins.ts';

const settleMs = 120_000;
const secondMs = 1_000;

const secretOf = (ca: TestCa): CaSecret => ({
  certificate: ca.pem,
  key: privateKeyPem(ca.keyPair),
  root: ca.pem,
});
const idOf = ({ certificate }: TestCa): string => certificate.fingerprint;
const bundle = (...cas: readonly TestCa[]): string =>
  bundleOf(cas.map(({ certificate }) => certificate)).pem;

interface Replica {
  readonly keeper: CaKeeper;
  readonly logged: LogTwin;
  readonly metrics: MetricsTwin;
  /** Fingerprint of the CA that signs. */
  readonly signs: () => string | undefined;
  /** Leads until the answer is called. */
  lead(): () => Promise<void>;
}

/** The API server as replicas of one signer see it. */
interface Scene {
  readonly clock: ManualClock;
  readonly trust: TrustTwin;
  /** What the CA Secret holds. */
  stored(): CaSecret | undefined;
  /** Somebody writes or deletes the Secret, and the watches tell. */
  store(secret: CaSecret | undefined): void;
  /** Watches tell what is stored now; after a create they are late. */
  tell(): void;
  replica(changes?: Partial<SignerWorld>): Replica;
}

function sceneWith(t: TestContext, first: CaSecret | undefined): Scene {
  const clock = manualClock(noon);
  const trust = trustTwin();
  const keepers: CaKeeper[] = [];
  const leading: (() => Promise<void>)[] = [];
  let stored = first;
  t.after(() => Promise.all(leading.map((stop) => stop())));
  const tell = (): void => {
    for (const { follower } of keepers) follower.replace(stored ? [stored] : []);
  };
  const config: Pick<SignerConfig, 'scope' | 'backDateMs' | 'settleMs'> = {
    scope: { clusterDomain: 'cluster.local', trustDomain: 'cluster.local' },
    backDateMs: 300_000,
    settleMs,
  };
  return {
    clock,
    trust,
    stored: () => stored,
    store(secret) {
      stored = secret;
      tell();
    },
    tell,
    replica(changes = {}) {
      const logged = logTwin();
      const metrics = metricsTwin();
      const world: Partial<SignerWorld> = {
        clock,
        trust,
        metrics,
        log: logged.log,
        random: { fraction: () => 1 },
        randomBytes: (count) => randomBytes(count),
        generateKey: () => Promise.resolve(newKey()),
        ca: {
          where: 'podseal-system/podseal-ca',
          listing: undefined as never,
          create(secret) {
            if (stored) return Promise.reject(failure('API_CONFLICT'));
            stored = secret;
            return Promise.resolve();
          },
        },
        ...changes,
      };
      const keeper = caKeeper(config as SignerConfig, world as SignerWorld);
      keepers.push(keeper);
      keeper.follower.replace(stored ? [stored] : []);
      return {
        keeper,
        logged,
        metrics,
        signs: () => keeper.current()?.authority.certificate.fingerprint,
        lead() {
          const stopping = new AbortController();
          const ran = keeper.run(stopping.signal, () => undefined);
          const stop = (): Promise<void> => {
            stopping.abort();
            return ran;
          };
          leading.push(stop);
          return stop;
        },
      };
    },
  };
}

/** Notes what signs at each read and each attempt to write of the publication. */
function watchedPublishing(scene: Scene, { signs }: Replica): (string | undefined)[] {
  const seen: (string | undefined)[] = [];
  scene.trust.before = () => seen.push(signs());
  return seen;
}

describe('caKeeper() on first start', () => {
  test('makes one CA, stores and publishes it, and only then signs', async (t) => {
    const scene = sceneWith(t, undefined);
    const replica = scene.replica();
    const atPublishing = watchedPublishing(scene, replica);
    assert.equal(replica.keeper.problem(), 'there is no such Secret');
    replica.lead();
    await scene.clock.advance(0);
    const { certificate = '', root = '' } = scene.stored() ?? {};
    const [made] = certificatesFromPem(certificate);
    assert.ok(made);
    assert.equal(replica.signs(), made.fingerprint);
    assert.deepEqual(atPublishing.slice(0, 2), [undefined, undefined], 'read, then written');
    assert.deepEqual(scene.trust.published, {
      bundlePem: root,
      signingChainPem: certificate + root,
    });
    assert.deepEqual(replica.logged.events(), ['ca.made', 'ca.signs']);
    assert.equal(replica.keeper.problem(), undefined);
    assert.equal(replica.metrics.gauge('podseal_signer_ca_usable'), 1);
    const notAfter = made.validity.notAfter.getTime() / 1000;
    assert.equal(replica.metrics.gauge('podseal_signer_ca_not_after_timestamp_seconds'), notAfter);
  });

  test('makes exactly one where two replicas lead at once', async (t) => {
    const scene = sceneWith(t, undefined);
    const [a, b] = [scene.replica(), scene.replica()];
    a.lead();
    b.lead();
    await scene.clock.advance(0);
    scene.tell();
    await scene.clock.advance(0);
    const made = certificatesFromPem(scene.stored()?.certificate ?? '')[0]?.fingerprint;
    assert.deepEqual([a.signs(), b.signs()], [made, made]);
    const events = [...a.logged.events(), ...b.logged.events()];
    assert.equal(events.filter((event) => event === 'ca.made').length, 1);
    assert.ok(!events.includes('ca.refused'));
  });

  test('uses the one that it made though the answer was lost', async (t) => {
    const scene = sceneWith(t, undefined);
    const replica = scene.replica({
      ca: {
        where: 'x/y',
        listing: undefined as never,
        create(secret) {
          scene.store(secret);
          return Promise.reject(failure('API_UNREACHABLE'));
        },
      },
    });
    replica.lead();
    await scene.clock.advance(secondMs);
    assert.equal(
      replica.signs(),
      certificatesFromPem(scene.stored()?.certificate ?? '')[0]?.fingerprint,
    );
  });

  test('makes none before it knows that there is none', async (t) => {
    const scene = sceneWith(t, undefined);
    const logged = logTwin();
    const never = (): never => assert.fail('a key was made');
    const world: Partial<SignerWorld> = {
      ...{ clock: scene.clock, trust: scene.trust, log: logged.log, metrics: metricsTwin() },
      generateKey: never,
    };
    const keeper = caKeeper({} as SignerConfig, world as SignerWorld);
    const stopping = new AbortController();
    const ran = keeper.run(stopping.signal, () => undefined);
    await scene.clock.advance(60 * secondMs);
    assert.deepEqual(logged.lines, []);
    stopping.abort();
    await ran;
  });

  test('signs with nothing until it is published, and tries again with back-off and Retry-After', async (t) => {
    const ca = newCa();
    const scene = sceneWith(t, secretOf(ca));
    const replica = scene.replica();
    const seconds: number[] = [];
    scene.trust.before = () => seconds.push(scene.clock.uptimeMs() / secondMs);
    scene.trust.failing = { publish: failure('API_FORBIDDEN') };
    replica.lead();
    await scene.clock.advance(60 * secondMs);
    // Read once, then written; again at once, because the Secret came; then with back-off.
    assert.deepEqual(seconds, [0, 0, 0, 2, 6, 14, 29, 44, 59]);
    assert.equal(replica.signs(), undefined);
    assert.equal(replica.logged.lines.at(-1)?.event, 'ca.unpublished');
    const code = { code: 'API_FORBIDDEN' };
    assert.equal(replica.metrics.counted('podseal_controller_failures_total', code), 8);
    scene.trust.failing = { publish: failure('API_UNREACHABLE', 40_000) };
    await scene.clock.advance(15 * secondMs);
    scene.trust.failing = {};
    await scene.clock.advance(39 * secondMs);
    assert.deepEqual([seconds.at(-1), seconds.length], [114, 11]);
    assert.equal(replica.signs(), idOf(ca));
  });
});

describe('caKeeper() and a Secret that changes', () => {
  const [a, b] = [newCa({ commonName: 'a' }), newCa({ commonName: 'b' })];
  const bad: CaSecret = { ...secretOf(a), key: privateKeyPem(b.keyPair) };

  test('publishes another CA before it signs, and lets it settle', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(0);
    scene.store(secretOf(b));
    await scene.clock.advance(0);
    assert.equal(scene.trust.published?.bundlePem, bundle(a, b));
    assert.equal(scene.trust.published.signingChainPem, a.pem);
    await scene.clock.advance(settleMs - 1);
    assert.equal(replica.signs(), idOf(a));
    const atPublishing = watchedPublishing(scene, replica);
    await scene.clock.advance(1);
    assert.equal(replica.signs(), idOf(b));
    assert.deepEqual(atPublishing, [idOf(a)], 'the chain is published first, too');
    assert.equal(scene.trust.published.signingChainPem, b.pem);
    assert.equal(scene.trust.published.bundlePem, bundle(a, b));
  });

  for (const [what, secret, why] of [
    ['bad', bad, /tls.key does not belong/],
    ['deleted', undefined, /there is no such Secret/],
  ] as const) {
    test(`goes on with the last good CA when it is ${what}, and says so once`, async (t) => {
      const scene = sceneWith(t, secretOf(a));
      const replica = scene.replica();
      replica.lead();
      await scene.clock.advance(0);
      scene.store(secret);
      await scene.clock.advance(120 * secondMs);
      assert.equal(replica.signs(), idOf(a));
      assert.equal(scene.stored(), secret, 'it is not made anew');
      const refusals = replica.logged.lines.filter(({ event }) => event === 'ca.refused');
      assert.equal(refusals.length, 1);
      assert.match(refusals[0]?.message ?? '', why);
      assert.match(String(refusals[0]?.fields['hint']), /^The CA that was used before goes on/);
      assert.equal(replica.metrics.gauge('podseal_signer_ca_usable'), 0);
      assert.equal(replica.keeper.problem(), undefined, 'it can sign');
      scene.store(secretOf(a));
      await scene.clock.advance(0);
      assert.equal(replica.metrics.gauge('podseal_signer_ca_usable'), 1);
      assert.equal(replica.signs(), idOf(a));
    });

    test(`stays with the CA that signs when the one that was announced is ${what}`, async (t) => {
      const scene = sceneWith(t, secretOf(a));
      const replica = scene.replica();
      replica.lead();
      await scene.clock.advance(0);
      scene.store(secretOf(b));
      await scene.clock.advance(settleMs / 2);
      scene.store(secret);
      await scene.clock.advance(settleMs);
      assert.equal(replica.signs(), idOf(a));
      assert.equal(scene.trust.published?.bundlePem, bundle(a, b));
    });
  }

  test('signs nothing with a bad one where there was no good one', async (t) => {
    const scene = sceneWith(t, bad);
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(60 * secondMs);
    assert.equal(replica.signs(), undefined);
    assert.match(replica.keeper.problem() ?? '', /tls.key does not belong/);
    assert.match(String(replica.logged.lines[0]?.fields['hint']), /^Nothing is signed/);
    assert.equal(scene.trust.published, undefined);
  });

  test('takes a CA of tomorrow as soon as it is valid', async (t) => {
    const validity = { notBefore: atNoonPlus(60_000), notAfter: atNoonPlus(dayMs) };
    const scene = sceneWith(t, secretOf(newCa({ validity })));
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(59 * secondMs);
    assert.equal(replica.signs(), undefined);
    await scene.clock.advance(15 * secondMs);
    assert.ok(replica.signs());
  });
});

describe('caKeeper() and a CA that expires', () => {
  const short = newCa({
    commonName: 'short',
    validity: { notBefore: atNoonPlus(-dayMs), notAfter: atNoonPlus(20_000) },
  });

  test('signs with it to its last moment, and not after', async (t) => {
    const scene = sceneWith(t, secretOf(short));
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(19_999);
    assert.equal(replica.signs(), idOf(short));
    await scene.clock.advance(1);
    assert.equal(replica.signs(), undefined);
    await scene.clock.advance(15 * secondMs);
    const expired = replica.logged.lines.filter(({ event }) => event === 'ca.expired');
    assert.equal(expired.length, 1);
    assert.match(replica.keeper.problem() ?? '', /expired/);
    const next = newCa({ commonName: 'next' });
    scene.store(secretOf(next));
    await scene.clock.advance(0);
    assert.equal(replica.signs(), idOf(next), 'there is nobody to wait for');
    assert.equal(scene.trust.published?.bundlePem, bundle(next));
  });

  test('makes another one when its Secret was deleted, too', async (t) => {
    const scene = sceneWith(t, secretOf(short));
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(0);
    scene.store(undefined);
    await scene.clock.advance(60 * secondMs);
    assert.ok(scene.stored());
    assert.notEqual(replica.signs(), undefined);
  });
});

describe('caKeeper() and a publication that others change', () => {
  const [a, b] = [newCa({ commonName: 'a' }), newCa({ commonName: 'b' })];
  const stranger = newCa({ commonName: 'stranger' });
  const good = { bundlePem: bundle(a), signingChainPem: a.pem };

  for (const [what, published] of [
    ['deleted', undefined],
    ['emptied', { bundlePem: '', signingChainPem: '' }],
    ['given a root more', { ...good, bundlePem: bundle(a, stranger) }],
    ['given another signing chain', { ...good, signingChainPem: stranger.pem }],
    ['broken', { ...good, bundlePem: '-----BEGIN CERTIFICATE-----\n' }],
  ] as const)
    test(`restores it within 15 seconds when it was ${what}`, async (t) => {
      const scene = sceneWith(t, secretOf(a));
      const replica = scene.replica();
      replica.lead();
      await scene.clock.advance(4 * secondMs);
      scene.trust.published = published;
      await scene.clock.advance(15 * secondMs);
      assert.deepEqual(scene.trust.published, good);
      assert.equal(replica.signs(), idOf(a));
    });

  test('goes on signing while it cannot be restored', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(0);
    scene.trust.failing = { publish: failure('API_UNREACHABLE') };
    await scene.clock.advance(60 * secondMs);
    assert.equal(replica.signs(), idOf(a));
  });

  test('writes nothing while nothing changes', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    scene.replica().lead();
    await scene.clock.advance(600 * secondMs);
    assert.equal(scene.trust.writes.length, 1);
  });

  test('keeps the roots that it finds at its start, and nothing that is no root', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const child = newCa({ commonName: 'child', parent: b });
    const leaf = newLeaf(b).x509.toString();
    scene.trust.published = { bundlePem: b.pem + child.pem + leaf, signingChainPem: b.pem };
    scene.replica().lead();
    await scene.clock.advance(0);
    assert.equal(scene.trust.published.bundlePem, bundle(a, b));
  });

  test('makes a bundle anew that it finds broken at its start', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    scene.trust.published = { bundlePem: 'x', signingChainPem: 'y' };
    scene.replica().lead();
    await scene.clock.advance(0);
    assert.deepEqual(scene.trust.published, good);
  });
});

describe('caKeeper() of replicas that take turns', () => {
  const [a, b] = [newCa({ commonName: 'a' }), newCa({ commonName: 'b' })];
  const bad: CaSecret = { ...secretOf(a), certificate: 'x' };

  test('signs nothing while it does not lead', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const replica = scene.replica();
    await scene.clock.advance(60 * secondMs);
    assert.equal(replica.signs(), undefined);
    const stop = replica.lead();
    await scene.clock.advance(0);
    assert.equal(replica.signs(), idOf(a));
    await stop();
    assert.equal(replica.signs(), undefined);
    assert.equal(replica.keeper.problem(), undefined, 'it could');
  });

  test('never signs with the CA of its last term again, once another replica has changed it', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const [first, second] = [scene.replica(), scene.replica()];
    const stop = first.lead();
    await scene.clock.advance(0);
    await stop();
    const stopSecond = second.lead();
    scene.store(secretOf(b));
    await scene.clock.advance(settleMs);
    assert.equal(second.signs(), idOf(b));
    await stopSecond();
    const seen = new Set<string | undefined>();
    scene.trust.before = () => seen.add(first.signs());
    first.lead();
    for (let i = 0; i < 200; i++) {
      await scene.clock.advance(secondMs);
      seen.add(first.signs());
    }
    assert.deepEqual(seen, new Set([undefined, idOf(b)]));
    assert.equal(scene.trust.published?.bundlePem, bundle(a, b));
  });

  for (const [what, secret] of [
    ['bad', bad],
    ['deleted', undefined],
  ] as const) {
    test(`takes over with the last good CA that it saw, though the Secret is ${what} by then`, async (t) => {
      const scene = sceneWith(t, secretOf(a));
      const [first, second] = [scene.replica(), scene.replica()];
      const stop = first.lead();
      await scene.clock.advance(0);
      scene.store(secret);
      await scene.clock.advance(secondMs);
      await stop();
      second.lead();
      await scene.clock.advance(60 * secondMs);
      assert.equal(second.signs(), idOf(a));
      assert.equal(scene.stored(), secret);
    });
  }

  test('a replica that never saw a good one signs nothing with a bad one', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const stop = scene.replica().lead();
    await scene.clock.advance(0);
    scene.store(bad);
    await stop();
    const late = scene.replica();
    late.lead();
    await scene.clock.advance(60 * secondMs);
    assert.equal(late.signs(), undefined);
    assert.equal(scene.trust.published?.bundlePem, bundle(a), 'what is trusted stays');
  });

  test('takes over while another CA is announced: the old one goes on, and the wait begins anew', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const [first, second] = [scene.replica(), scene.replica()];
    const stop = first.lead();
    await scene.clock.advance(0);
    scene.store(secretOf(b));
    await scene.clock.advance(settleMs - secondMs);
    await stop();
    second.lead();
    await scene.clock.advance(settleMs - 1);
    assert.equal(second.signs(), idOf(a));
    await scene.clock.advance(1);
    assert.equal(second.signs(), idOf(b));
  });

  test('takes over at once with what is published, though it cannot write', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const [first, second] = [scene.replica(), scene.replica()];
    const stop = first.lead();
    await scene.clock.advance(0);
    await stop();
    scene.trust.failing = { publish: failure('API_FORBIDDEN') };
    second.lead();
    await scene.clock.advance(0);
    assert.equal(second.signs(), idOf(a));
  });

  test('does not take over with what stands in the chain alone: its root is not out', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    scene.trust.published = { bundlePem: bundle(b), signingChainPem: a.pem };
    scene.trust.failing = { publish: failure('API_FORBIDDEN') };
    const replica = scene.replica();
    replica.lead();
    await scene.clock.advance(secondMs);
    assert.equal(replica.signs(), undefined);
  });

  test('tells that a CA signs, once it does', async (t) => {
    const scene = sceneWith(t, secretOf(a));
    const { keeper } = scene.replica();
    scene.trust.failing = { read: failure('API_UNREACHABLE') };
    const told: string[] = [];
    const stopping = new AbortController();
    const ran = keeper.run(stopping.signal, () => told.push('signs'));
    await scene.clock.advance(10 * secondMs);
    assert.deepEqual(told, []);
    scene.trust.failing = {};
    await scene.clock.advance(15 * secondMs);
    assert.equal(told[0], 'signs');
    stopping.abort();
    await ran;
  });
});
