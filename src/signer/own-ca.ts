import { type KeyGenerator, privateKeyPem } from '../pki/key-pair.ts';
import { later } from '../runtime/clock.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { authorityOf, type AuthorityScope, makeIntermediate, makeRoot } from './authority.ts';

export interface OwnCaWorld {
  readonly generateKey: KeyGenerator;
  /** Unpredictable bytes. */
  randomBytes(count: number): Uint8Array;
}

const lifetimeMs = 10 * 365 * 86_400_000;

/**
 * A CA of our own below a root of its own, both held to the scope. The root signs once, and its key is
 * forgotten: what is trusted everywhere can vouch for nothing else ever, and Java, too, which looks at
 * the constraints of CAs below a root alone, keeps to the scope (docs/adr/0016).
 */
export async function makeOwnCa(
  scope: AuthorityScope,
  moment: { readonly now: Date; readonly backDateMs: number },
  world: OwnCaWorld,
): Promise<CaSecret> {
  const { now, backDateMs } = moment;
  // Two roots of one day must not bear one name.
  const mark = Buffer.from(world.randomBytes(4)).toString('hex');
  const shared = {
    ...scope,
    notBefore: later(now, -backDateMs),
    notAfter: later(now, lifetimeMs),
  };
  const named = (what: string) => ({
    ...shared,
    commonName: `Podseal ${what} ${now.toISOString().slice(0, 10)} ${mark}`,
    serial: world.randomBytes(16),
  });
  const rootKey = await world.generateKey('ECDSAP256');
  const root = makeRoot({ ...named('root'), pathLength: 1 }, rootKey);
  const key = await world.generateKey('ECDSAP256');
  const authority = authorityOf(root, privateKeyPem(rootKey));
  const certificate = makeIntermediate(named('CA'), key, authority);
  return { certificate, key: privateKeyPem(key), root };
}
