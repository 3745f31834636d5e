import { type Follower } from '../controller/list-watch.ts';
import { asPodsealError } from '../errors.ts';
import { type Certificate, certificatesFromPem } from '../pki/certificate.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { type Publication } from '../trust/publication.ts';
import { isSelfSigned } from './authority.ts';
import { type Announced, planCa } from './ca-plan.ts';
import { makeOwnCa } from './own-ca.ts';
import { type SigningCa } from './signing-ca.ts';
import { storedCa } from './stored-ca.ts';
import { type SignerConfig, type SignerWorld } from './world.ts';

/**
 * Keeps the CA that signs. A Secret that cannot be used is refused with its reason, and the last good
 * CA goes on. A new one signs only after its root was published, and after the bundle has been out for
 * a while: guarded rotation will replace that wait by knowing who trusts what.
 */
export interface CaKeeper {
  /** What the Secret's list and watch tell. */
  readonly follower: Follower<CaSecret>;
  /** The CA that signs now; undefined: none does, or this replica does not lead. */
  current(): SigningCa | undefined;
  /** Why this replica could not sign if it led; undefined: it could. */
  problem(): string | undefined;
  /** As the one writer: makes a CA where there is none, publishes, switches; until `stop`. `onSigns`: a CA signs. */
  run(stop: AbortSignal, onSigns: () => void): Promise<void>;
}

/** What somebody did to the publication is put right, and an expired CA noticed, within this time. */
const checkMs = 15_000;
const backoff = { firstMs: 1_000, maximumMs: 15_000 };

/** What is known while this replica leads, and somebody else may change when it does not. */
interface Term {
  readonly trusted: readonly Certificate[];
  readonly announced: Announced | undefined;
}

export function caKeeper(config: SignerConfig, world: SignerWorld): CaKeeper {
  const { clock, log, metrics } = world;
  const bell = doorbell();
  const secret = storedCa(world, () => bell.ring());
  let signing: SigningCa | undefined;
  let term: Term | undefined;

  const signWith = (ca: SigningCa): void => {
    if (signing?.id !== ca.id) {
      const { notAfter } = ca.validity;
      log('info', 'ca.signs', 'This CA signs from now on', {
        fingerprint: ca.authority.certificate.fingerprint,
        notAfter: notAfter.toISOString(),
      });
      metrics.set('podseal_signer_ca_not_after_timestamp_seconds', notAfter.getTime() / 1000);
    }
    signing = ca;
  };
  const begin = async (): Promise<Term> => {
    const published = await world.trust.read();
    const trusted = published ? rootsIn(published) : [];
    const known = new Set(trusted.map(({ fingerprint }) => fingerprint));
    // The leader before us signed with it, so it goes on at once, also while another one is announced.
    const signed = secret
      .lastGood()
      .find(
        ({ chainPem, roots }) =>
          chainPem === published?.signingChainPem &&
          roots.every(({ fingerprint }) => known.has(fingerprint)),
      );
    if (signed) signWith(signed);
    return { trusted, announced: undefined };
  };
  const dropExpired = (): void => {
    if (!signing || clock.now() < signing.validity.notAfter) return;
    signing = undefined;
    log('error', 'ca.expired', 'The CA that signed has expired; nothing is signed');
  };
  /** One look at everything; returns after how long to look again at the latest. */
  const step = async (): Promise<number> => {
    dropExpired();
    if (secret.isMissing() && secret.lastGood().length === 0) {
      const made = await createCa(config, world);
      if (made) secret.created(made);
    }
    const stored = secret.read();
    const { trusted, announced } = (term ??= await begin());
    const next = stored ?? signing ?? secret.lastGood()[0];
    if (!next) return checkMs;
    const moment = { now: clock.now(), uptimeMs: clock.uptimeMs(), settleMs: config.settleMs };
    const plan = planCa(next, { current: signing, trusted, announced }, moment);
    const { bundle, signs } = plan;
    await world.trust.publish({ bundlePem: bundle.pem, signingChainPem: signs.chainPem });
    // From here on only what we published is trusted, whatever somebody writes into it.
    term = { trusted: bundle.certificates, announced: plan.announced };
    signWith(signs);
    return Math.min(plan.switchInMs ?? checkMs, checkMs);
  };
  return {
    follower: secret.follower,
    current: () => (signing && clock.now() < signing.validity.notAfter ? signing : undefined),
    problem: () => (secret.lastGood().length > 0 ? undefined : secret.problem()),
    async run(stop, onSigns) {
      for (let failures = 0; !stop.aborted;) {
        const { signal, release } = bell.nextRing(stop);
        let pauseMs: number;
        try {
          pauseMs = await step();
          failures = 0;
        } catch (thrown) {
          const error = asPodsealError(thrown);
          metrics.add('podseal_controller_failures_total', { code: error.code });
          log('warn', 'ca.unpublished', error.message, { code: error.code, hint: error.hint });
          const waitMs = backoffMs(++failures, backoff, world.random.fraction());
          pauseMs = Math.max(waitMs, error.retryAfterMs ?? 0);
        }
        if (signing) onSigns();
        await clock.pause(pauseMs, signal);
        release();
      }
      // Another replica may change all of it now.
      signing = undefined;
      term = undefined;
    },
  };
}

/** A CA of our own, stored; undefined: somebody else was first, and the watch will tell. */
async function createCa(config: SignerConfig, world: SignerWorld): Promise<CaSecret | undefined> {
  const moment = { now: world.clock.now(), backDateMs: config.backDateMs };
  const secret = await makeOwnCa(config.scope, moment, world);
  try {
    await world.ca.create(secret);
  } catch (error) {
    if (asPodsealError(error).code === 'API_CONFLICT') return undefined;
    throw error;
  }
  world.log('info', 'ca.made', `Made a CA in Secret ${JSON.stringify(world.ca.where)}`, {
    fingerprint: certificatesFromPem(secret.certificate ?? '')[0]?.fingerprint,
  });
  return secret;
}

/** The roots that stand in the bundle; of one that somebody broke, none. */
function rootsIn({ bundlePem }: Publication): readonly Certificate[] {
  try {
    return certificatesFromPem(bundlePem).filter((each) => each.x509.ca && isSelfSigned(each));
  } catch {
    return [];
  }
}
