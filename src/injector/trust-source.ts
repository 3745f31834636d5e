import { type Follower } from '../controller/list-watch.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { type Log } from '../telemetry/log.ts';

/** The bundle that is published, as the signer keeps it in our own namespace. */
export interface TrustSource {
  readonly follower: Follower<string>;
  /** PEM: the last that could be used; undefined: there was none yet. */
  bundle(): string | undefined;
}

/** An empty or broken bundle takes nothing away: a slip of the hand must not reach every namespace. */
export function trustSource(log: Log, onChange: () => void): TrustSource {
  let last: string | undefined;
  const put = (pem: string): void => {
    const problem = problemOf(pem);
    if (problem !== undefined) {
      log('warn', 'trust.unusable', `Cannot publish the trust bundle: ${problem}`, {
        hint: 'What was published before stays. The signer restores ConfigMap podseal-trust within 15 seconds; does it run?',
      });
      return;
    }
    if (pem === last) return;
    last = pem;
    onChange();
  };
  return {
    bundle: () => last,
    follower: {
      put,
      remove: () => undefined,
      replace(all) {
        for (const pem of all) put(pem);
      },
    },
  };
}

function problemOf(pem: string): string | undefined {
  try {
    return certificatesFromPem(pem).length === 0 ? 'it holds no certificate' : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
