import { type Clock } from '../runtime/clock.ts';

export interface AskingRightsWorld {
  readonly clock: Clock;
  /** Whether the service account may create signing requests. May reject. */
  mayAsk(namespace: string, serviceAccount: string): Promise<boolean>;
}

interface Known {
  readonly allowed: boolean;
  readonly untilMs: number;
}

/** A right that was given is rarely taken away; one that is missing is about to be given. */
const keepAllowedMs = 300_000;
const keepRefusedMs = 2_000;
const maximumKnown = 5_000;
/** Whoever reaches the webhook can make up names: a warning is not worth a flood of calls. */
const maximumUnderWay = 20;
/** The pod does not wait for a warning. */
const patienceMs = 1_000;

/**
 * Warns whoever creates a pod whose service account has no right to ask for certificates: the pod
 * would wait, and only its agent's log would say why. Remembers answers, and never rejects.
 */
export function askingRights(
  world: AskingRightsWorld,
): (namespace: string, serviceAccount: string) => Promise<readonly string[]> {
  const { clock } = world;
  const known = new Map<string, Known>();
  const underWay = new Map<string, Promise<boolean>>();
  const askAnew = async (key: string, ask: () => Promise<boolean>): Promise<boolean> => {
    try {
      const allowed = await ask();
      if (known.size >= maximumKnown) known.clear();
      const keepMs = allowed ? keepAllowedMs : keepRefusedMs;
      known.set(key, { allowed, untilMs: clock.uptimeMs() + keepMs });
      return allowed;
    } catch {
      return true;
    } finally {
      underWay.delete(key);
    }
  };
  /** True also where it is not known. */
  const mayAsk = (namespace: string, serviceAccount: string): boolean | Promise<boolean> => {
    const key = `${namespace}/${serviceAccount}`;
    const remembered = known.get(key);
    if (remembered && clock.uptimeMs() < remembered.untilMs) return remembered.allowed;
    const asked = underWay.get(key);
    if (asked) return asked;
    if (underWay.size >= maximumUnderWay) return true;
    const answer = askAnew(key, () => world.mayAsk(namespace, serviceAccount));
    underWay.set(key, answer);
    return answer;
  };
  return async (namespace, serviceAccount) => {
    const done = new AbortController();
    const inTime = clock.pause(patienceMs, done.signal).then(() => true);
    const allowed = await Promise.race([mayAsk(namespace, serviceAccount), inTime]);
    done.abort();
    if (allowed) return [];
    return [
      `podseal: service account ${serviceAccount} may not ask for certificates, and its pods wait; kubectl create clusterrolebinding podseal-workload-${namespace} --clusterrole=podseal-workload --group=system:serviceaccounts:${namespace}`,
    ];
  };
}
