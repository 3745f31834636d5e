import { type Follower } from '../controller/list-watch.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { readSigningCa, type SigningCa } from './signing-ca.ts';
import { type SignerWorld } from './world.ts';

/** What the CA Secret holds, and held: a replica that stands by follows it too. */
export interface StoredCa {
  /** What the Secret's list and watch tell. */
  readonly follower: Follower<CaSecret>;
  /** The CA in the Secret; undefined: there is none that can be used now, and the log says why. */
  read(): SigningCa | undefined;
  /** Good ones that it held while it was followed, the newest first, without those that have expired. */
  lastGood(): readonly SigningCa[];
  /** Whether there is no Secret; false while it is not known. */
  isMissing(): boolean;
  /** Why it is not used; undefined: it is. */
  problem(): string | undefined;
  /** The Secret was created with this: the watch may tell late, and would tell the same. */
  created(secret: CaSecret): void;
}

type Stored =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'present'; readonly secret: CaSecret };

/** The one before the newest may still sign while the newest is announced. */
const remembered = 2;

export function storedCa(
  { ca, clock, log, metrics }: Pick<SignerWorld, 'ca' | 'clock' | 'log' | 'metrics'>,
  onChange: () => void,
): StoredCa {
  let stored: Stored = { kind: 'unknown' };
  let problem: string | undefined = 'it was not read yet';
  let good: readonly SigningCa[] = [];
  const lastGood = (): readonly SigningCa[] => {
    const now = clock.now();
    good = good.filter(({ validity }) => now < validity.notAfter);
    return good;
  };
  const refuse = (why: string): void => {
    metrics.set('podseal_signer_ca_usable', 0);
    const isNew = why !== problem;
    problem = why;
    // Before the first one is made there is nothing to complain about.
    if (!isNew || (stored.kind === 'missing' && lastGood().length === 0)) return;
    const effect =
      lastGood().length > 0 ? 'The CA that was used before goes on signing.' : 'Nothing is signed.';
    log('error', 'ca.refused', `Cannot use the CA in Secret ${JSON.stringify(ca.where)}: ${why}`, {
      hint: `${effect} Put a CA with its key into tls.crt and tls.key, and the root into ca.crt.`,
    });
  };
  const read = (): SigningCa | undefined => {
    if (stored.kind === 'unknown') return undefined;
    try {
      if (stored.kind === 'missing') throw new Error('there is no such Secret');
      const found = readSigningCa(stored.secret, clock.now());
      good = [found, ...lastGood().filter(({ id }) => id !== found.id)].slice(0, remembered);
      problem = undefined;
      metrics.set('podseal_signer_ca_usable', 1);
      return found;
    } catch (error) {
      refuse(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  const set = (next: Stored): void => {
    stored = next;
    // At once, because the next content may be bad: the good ones are what goes on.
    read();
    onChange();
  };
  return {
    follower: {
      replace: ([secret]) => set(secret ? { kind: 'present', secret } : { kind: 'missing' }),
      put: (secret) => set({ kind: 'present', secret }),
      remove: () => set({ kind: 'missing' }),
    },
    read,
    lastGood,
    isMissing: () => stored.kind === 'missing',
    problem: () => problem,
    created(secret) {
      if (stored.kind === 'missing') set({ kind: 'present', secret });
    },
  };
}
