import { asPodsealError, errorCodes, PodsealError } from '../errors.ts';
import { allNames, missingNames, type SubjectNames } from '../identity/subject-names.ts';
import { subjectNamesOf } from '../identity/wanted-names.ts';
import { subjectNamesIn, type Certificate } from '../pki/certificate.ts';
import { retryAt } from '../renewal/retry-at.ts';
import { earlier, later } from '../runtime/clock.ts';
import { look, namesToAskFor, refuseHopeless, type Look } from './look.ts';
import { obtain } from './obtain.ts';
import { planIssuance } from './plan.ts';
import { refreshTrust } from './refresh-trust.ts';
import { statusOf } from './status.ts';
import { type AgentConfig, type AgentWorld } from './world.ts';

const lookAgainMs = 1_000;

/**
 * Returns once a usable key, chain and bundle for the names of now are on the volume; throws what
 * stood in the way otherwise. An init container that ended with 0 without them would let the
 * application start without a certificate.
 */
export async function runInit(
  config: AgentConfig,
  world: AgentWorld,
  stop: AbortSignal,
): Promise<void> {
  const giveUpAt = later(world.clock.now(), config.timeoutMs);
  for (let failures = 0; ;) {
    const seen = look(world);
    refuseHopeless(seen, world.sources);
    if (seen.names.kind === 'unknown') {
      await awaitNames(seen.names.why, { giveUpAt, stop }, world);
      continue;
    }
    refreshTrust(seen, config, world);
    const now = world.clock.now();
    if (isDone(seen, now)) return;
    try {
      const names = namesToAskFor(seen) ?? never();
      announceIssued(await obtain({ names, giveUpAt, stop }, config, world), 'first', world);
      // What was just published was verified just now; only the names may have changed meanwhile.
      if (isStillAllOf(names, world)) return;
    } catch (thrown) {
      const error = asPodsealError(thrown);
      const isHopeless =
        errorCodes[error.code].again !== 'soon' || error.code === 'SIGNING_REQUEST_PENDING';
      if (isHopeless || world.clock.now() >= giveUpAt || stop.aborted) throw error;
      failures += 1;
      world.log('warn', 'issuance.failed', error.message, { code: error.code, hint: error.hint });
      const fraction = world.random.fraction();
      const again = retryAt({
        error,
        failures,
        now: world.clock.now(),
        expiresAt: giveUpAt,
        fraction,
      });
      await world.clock.sleepUntil(earlier(again, giveUpAt), stop);
    }
  }
}

function isStillAllOf(names: SubjectNames, world: AgentWorld): boolean {
  const reading = world.sources.names();
  return (
    reading.kind === 'known' && missingNames(names, subjectNamesOf(reading.names)).length === 0
  );
}

function isDone(seen: Look, now: Date): boolean {
  const names = namesToAskFor(seen);
  if (!names) return false;
  const { missing, untrusted, expired } = statusOf(seen.current, names, seen.trust.bundle, now);
  if (seen.current.kind === 'unusable' || missing.length > 0 || untrusted !== undefined || expired)
    return false;
  const since = { namesMissing: undefined, untrusted: undefined };
  const { current, renewAnnotation } = seen;
  return planIssuance({ current, names, renewAnnotation, since, now }).kind === 'wait';
}

async function awaitNames(
  why: string,
  limits: { readonly giveUpAt: Date; readonly stop: AbortSignal },
  world: AgentWorld,
): Promise<void> {
  const now = world.clock.now();
  if (now >= limits.giveUpAt || limits.stop.aborted)
    throw new PodsealError('NAMES_UNKNOWN', `Cannot tell the names of the pod yet: ${why}`, {
      hint: 'Unknown is not none, so nothing is asked for. Is the file mounted, and does a Service of that name select the pod?',
    });
  await world.clock.sleepUntil(earlier(later(now, lookAgainMs), limits.giveUpAt), limits.stop);
}

/** One line for each certificate that was obtained. */
export function announceIssued(leaf: Certificate, reason: string, world: AgentWorld): void {
  const { notBefore, notAfter } = leaf.validity;
  world.metrics.add('podseal_issuances_total', 1, { reason });
  world.log('info', 'certificate.published', 'Published a new certificate', {
    reason,
    serial: leaf.serial,
    fingerprint: leaf.fingerprint,
    names: allNames(subjectNamesIn(leaf)),
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
  });
}

function never(): never {
  throw new PodsealError('INVARIANT', 'Cannot ask for names that are unknown');
}
