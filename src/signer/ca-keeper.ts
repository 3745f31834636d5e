import { asPodsealError } from '../errors.ts';
import { type Follower } from '../controller/list-watch.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { privateKeyPem } from '../pki/key-pair.ts';
import { earlier, later } from '../runtime/clock.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { makeRoot } from './authority.ts';
import { type Announced, planCa } from './ca-plan.ts';
import { readSigningCa, type SigningCa } from './signing-ca.ts';
import { type LogFields } from '../telemetry/log.ts';
import { type SignerConfig, type SignerWorld } from './world.ts';

/**
 * Keeps the CA that signs. A Secret that cannot be used is refused with its reason, and the last good
 * CA goes on. A new one signs only after its root was published, and after the bundle has been out for
 * a while: guarded rotation will replace that wait by knowing who trusts what.
 */
export interface CaKeeper {
  /** What the Secret's list and watch tell. */
  readonly follower: Follower<CaSecret>;
  /** The CA that signs now; undefined: none yet. */
  current(): SigningCa | undefined;
  /** Why the Secret is not used; undefined: it is. */
  problem(): string | undefined;
  /** As the one writer: makes a CA where there is none, publishes, switches; until `stop`. */
  run(stop: AbortSignal): Promise<void>;
}

const rootLifetimeMs = 10 * 365 * 86_400_000;
/** An expired CA is noticed, and what somebody did to the publication is put right, within this time. */
const checkMs = 15_000;

type Stored =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'present'; readonly secret: CaSecret };

export function caKeeper(config: SignerConfig, world: SignerWorld): CaKeeper {
  const { clock, log, metrics } = world;
  const bell = doorbell();
  let stored: Stored = { kind: 'unknown' };
  let current: SigningCa | undefined;
  let problem: string | undefined = 'the CA Secret was not read yet';
  let announced: Announced | undefined;

  const refuse = (why: string): void => {
    if (why !== problem)
      log('error', 'ca.refused', refusal(world.ca.where, why), refusalHint(current));
    problem = why;
    metrics.set('podseal_signer_ca_usable', 0);
  };
  const candidate = (): SigningCa | undefined => {
    if (stored.kind === 'unknown') return undefined;
    try {
      if (stored.kind === 'missing') throw new Error('there is no such Secret');
      const ca = readSigningCa(stored.secret, clock.now());
      problem = undefined;
      metrics.set('podseal_signer_ca_usable', 1);
      return ca;
    } catch (error) {
      refuse(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  const make = async (): Promise<void> => {
    const keyPair = await world.generateKey('ECDSAP256');
    const now = clock.now();
    const certificate = makeRoot(
      {
        ...config.scope,
        commonName: `Podseal CA ${now.toISOString().slice(0, 10)}`,
        notBefore: new Date(now.getTime() - config.backDateMs),
        notAfter: later(now, rootLifetimeMs),
        serial: world.randomBytes(16),
      },
      keyPair,
    );
    const secret = { certificate, key: privateKeyPem(keyPair), root: certificate };
    try {
      await world.ca.create(secret);
      log('info', 'ca.made', `Made a CA in Secret ${JSON.stringify(world.ca.where)}`, {
        fingerprint: certificatesFromPem(certificate)[0]?.fingerprint,
      });
      // The watch may tell late, and would tell the same.
      if (stored.kind === 'missing') stored = { kind: 'present', secret };
    } catch (error) {
      // Another replica was first: its Secret comes by the watch.
      if (asPodsealError(error).code !== 'API_CONFLICT') throw error;
    }
  };
  const dropExpired = (now: Date): void => {
    if (!current || now < current.authority.certificate.validity.notAfter) return;
    current = undefined;
    log('error', 'ca.expired', 'The CA that signed has expired; nothing is signed');
  };
  const signWith = (ca: SigningCa): void => {
    if (current?.id !== ca.id) {
      const { notAfter } = ca.authority.certificate.validity;
      log('info', 'ca.signs', 'This CA signs from now on', {
        fingerprint: ca.id,
        notAfter: notAfter.toISOString(),
      });
      metrics.set('podseal_signer_ca_not_after_timestamp_seconds', notAfter.getTime() / 1000);
    }
    current = ca;
  };
  /** One look at everything; returns when to look again at the latest. */
  const step = async (): Promise<Date> => {
    const now = clock.now();
    dropExpired(now);
    if (stored.kind === 'missing' && !current) await make();
    const next = candidate() ?? current;
    const check = later(now, checkMs);
    if (!next) return check;
    const published = await world.trust.read();
    const trusted = published ? trustedIn(published.bundlePem, now) : [];
    const plan = planCa(next, { current, trusted, announced }, { now, settleMs: config.settleMs });
    ({ announced } = plan);
    await world.trust.publish({ bundlePem: plan.bundlePem, signingChainPem: plan.signs.chainPem });
    signWith(plan.signs);
    return plan.switchAt ? earlier(plan.switchAt, check) : check;
  };
  const set = (next: Stored): void => {
    stored = next;
    bell.ring();
  };
  return {
    follower: {
      replace: ([secret]) => set(secret ? { kind: 'present', secret } : { kind: 'missing' }),
      put: (secret) => set({ kind: 'present', secret }),
      remove: () => set({ kind: 'missing' }),
    },
    current: () => current,
    problem: () => problem,
    async run(stop) {
      while (!stop.aborted) {
        const { signal, release } = bell.nextRing(stop);
        let until: Date;
        try {
          until = await step();
        } catch (thrown) {
          const error = asPodsealError(thrown);
          metrics.add('podseal_controller_failures_total', { code: error.code });
          log('warn', 'ca.unpublished', error.message, { code: error.code, hint: error.hint });
          until = later(clock.now(), Math.max(1_000, error.retryAfterMs ?? 0));
        }
        await clock.sleepUntil(until, signal);
        release();
      }
    },
  };
}

function refusal(where: string, why: string): string {
  return `Cannot use the CA in Secret ${JSON.stringify(where)}: ${why}`;
}

function refusalHint(current: SigningCa | undefined): LogFields {
  const effect = current ? 'The CA that was used before goes on signing.' : 'Nothing is signed.';
  return {
    hint: `${effect} Put a CA with its key into tls.crt and tls.key, and the root into ca.crt.`,
  };
}

/** What stands in the bundle and is still worth trusting; a bundle that somebody broke is made anew. */
function trustedIn(pem: string, now: Date) {
  try {
    return certificatesFromPem(pem).filter(({ validity }) => now < validity.notAfter);
  } catch {
    return [];
  }
}
