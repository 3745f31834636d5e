import { asPodsealError, PodsealError } from '../errors.ts';
import { missingNames, sameNames, type SubjectNames } from '../identity/subject-names.ts';
import { retryAt } from '../renewal/retry-at.ts';
import { earlier, later } from '../runtime/clock.ts';
import { doorbell, type Doorbell } from '../runtime/doorbell.ts';
import { announceIssued } from './init.ts';
import { look, lookAgainMs, namesToAskFor, refuseHopeless, type Look } from './look.ts';
import { obtain } from './obtain.ts';
import { planIssuance, type Plan, type Reason, type Since } from './plan.ts';
import { refreshTrust } from './refresh-trust.ts';
import { reportMetrics } from './report-metrics.ts';
import { statusOf, type Status } from './status.ts';
import { type AgentState, type Failure } from './status-report.ts';
import { type AgentConfig, type AgentWorld } from './world.ts';

/** After expiry, one last quick attempt before the container restarts and starts clean. */
const lastAttemptMs = 10_000;

export interface Watch {
  /** To be called when a file of the sources changed; publishes changed trust at once. */
  readonly sourcesChanged: () => void;
  /** For probes and `/status`. */
  state(): AgentState;
  /** Runs until `stop` (then it returns) or until it must not go on (then it throws). */
  run(stop: AbortSignal): Promise<void>;
}

/** What the loop remembers between two looks. */
interface Memory {
  since: Since;
  failures: number;
  /** No attempt before; other names than those that failed need not wait for it. */
  notBefore: Date;
  failedFor: SubjectNames | undefined;
  /** The bundle, PEM, that did not lead to the issuer of what was issued; another one need not wait either. */
  failedUnder: string | undefined;
  /** For people: the newest failure since the last certificate. */
  failure: Failure | undefined;
  /** The certificate that this process saw valid and that must not expire unnoticed. */
  validUntil: Date | undefined;
  /** The attempt under way. */
  attempt: { readonly names: SubjectNames; readonly controller: AbortController } | undefined;
}

/** The sidecar: keeps a certificate for the names of now on the volume, and the bundle of now beside it. */
export function watchCertificate(config: AgentConfig, world: AgentWorld): Watch {
  const bell = doorbell();
  const memory: Memory = {
    since: { namesMissing: undefined, untrusted: undefined },
    failures: 0,
    notBefore: new Date(0),
    failedFor: undefined,
    failedUnder: undefined,
    failure: undefined,
    validUntil: undefined,
    attempt: undefined,
  };
  return {
    sourcesChanged() {
      const seen = lookAndTend(config, world, memory);
      abandonOutdated(seen, memory);
      bell.ring();
    },
    state() {
      const seen = look(world);
      const now = world.clock.now();
      const status = statusOf(seen.current, namesToAskFor(seen), seen.trust.bundle, now);
      return { seen, status, pending: world.volume.readPending(), failure: memory.failure, now };
    },
    async run(stop) {
      refuseHopeless(look(world), world.sources);
      while (!stop.aborted) await oneRound({ config, world, memory, bell, stop });
    },
  };
}

interface Round {
  readonly config: AgentConfig;
  readonly world: AgentWorld;
  readonly memory: Memory;
  readonly bell: Doorbell;
  readonly stop: AbortSignal;
}

async function oneRound(round: Round): Promise<void> {
  const { config, world, memory, stop } = round;
  const seen = lookAndTend(config, world, memory);
  const now = world.clock.now();
  const names = namesToAskFor(seen);
  if (!names) {
    const why = seen.names.kind === 'unknown' ? seen.names.why : '';
    world.log('info', 'names.unknown', `Waiting for the names of the pod: ${why}`);
    return nap(round, later(now, lookAgainMs));
  }
  const { current, renewAnnotation } = seen;
  const plan = planIssuance({ current, names, renewAnnotation, since: memory.since, now });
  const bundlePem = seen.trust.bundle.pem;
  const until = nextAttempt(plan, { names, bundlePem }, memory);
  if (plan.kind === 'wait' || until > now)
    return nap(round, earlier(until, memory.validUntil ?? until));
  await tryToObtain(round, { names, bundlePem }, plan.reason);
  if (stop.aborted) return;
}

/** What an attempt rests on. */
interface Basis {
  readonly names: SubjectNames;
  readonly bundlePem: string;
}

/**
 * Expiry is not waited out by a back-off: it gets its last attempt at once. Nor are other names than
 * those that were just denied: the sources were read again, and this is what is provable now. Nor is the
 * root that was missing.
 */
function nextAttempt(plan: Plan, { names, bundlePem }: Basis, memory: Memory): Date {
  if (plan.kind === 'wait') return plan.until;
  const { failedFor, failedUnder } = memory;
  if (failedFor && !sameNames(names, failedFor)) return new Date(0);
  if (failedUnder !== undefined && failedUnder !== bundlePem) return new Date(0);
  return plan.reason === 'expired' && memory.validUntil ? memory.validUntil : memory.notBefore;
}

async function nap({ world, bell, stop }: Round, until: Date): Promise<void> {
  const { signal, release } = bell.nextRing(stop);
  await world.clock.sleepUntil(earlier(until, later(world.clock.now(), lookAgainMs)), signal);
  release();
}

async function tryToObtain(round: Round, basis: Basis, reason: Reason): Promise<void> {
  const { config, world, memory, stop } = round;
  const { names } = basis;
  const startedAt = world.clock.now();
  const { validUntil } = memory;
  const hasExpired = validUntil !== undefined && startedAt >= validUntil;
  if (hasExpired)
    world.log(
      'error',
      'certificate.expired',
      'The certificate has expired; the application may be serving it',
      {
        notAfter: validUntil.toISOString(),
      },
    );
  const limit = hasExpired ? lastAttemptMs : config.timeoutMs;
  const giveUpAt = later(startedAt, limit);
  const controller = new AbortController();
  const end = (): void => controller.abort();
  stop.addEventListener('abort', end, { once: true });
  memory.attempt = { names, controller };
  try {
    const until = hasExpired ? giveUpAt : earlier(giveUpAt, validUntil ?? giveUpAt);
    const leaf = await obtain({ names, giveUpAt: until, stop: controller.signal }, config, world);
    memory.failures = 0;
    memory.notBefore = new Date(0);
    memory.failedFor = undefined;
    memory.failedUnder = undefined;
    memory.failure = undefined;
    memory.since = { namesMissing: undefined, untrusted: undefined };
    const seconds = (world.clock.now().getTime() - startedAt.getTime()) / 1000;
    world.metrics.add('podseal_issuance_duration_seconds_sum', seconds);
    announceIssued(leaf, reason, world);
    world.freeMemory();
  } catch (thrown) {
    if (!controller.signal.aborted) failed(round, basis, asPodsealError(thrown));
  } finally {
    stop.removeEventListener('abort', end);
    memory.attempt = undefined;
  }
}

/** Notes the failure and when to try again; throws when the certificate has expired meanwhile. */
function failed({ world, memory }: Round, basis: Basis, error: PodsealError): void {
  const now = world.clock.now();
  const { validUntil } = memory;
  world.metrics.add('podseal_issuance_failures_total', 1, { code: error.code });
  if (validUntil && now >= validUntil)
    throw new PodsealError(
      error.code,
      `Cannot keep the certificate fresh: it expired at ${validUntil.toISOString()}. ${error.message}`,
      { ...(error.hint === undefined ? {} : { hint: error.hint }), cause: error },
    );
  memory.failures += 1;
  memory.failedFor = basis.names;
  memory.failedUnder = error.code === 'CERTIFICATE_UNTRUSTED' ? basis.bundlePem : undefined;
  const fraction = world.random.fraction();
  memory.notBefore = retryAt({
    error,
    failures: memory.failures,
    now,
    expiresAt: validUntil,
    fraction,
  });
  memory.failure = { error, at: now, again: memory.notBefore };
  world.log('warn', 'issuance.failed', error.message, {
    code: error.code,
    hint: error.hint,
    again: memory.notBefore.toISOString(),
  });
}

/** Looks at the world, publishes changed trust, notes since when something is wrong, reports it. */
function lookAndTend(config: AgentConfig, world: AgentWorld, memory: Memory): Look {
  const first = look(world);
  const seen = tendTrust(first, config, world) ? look(world) : first;
  const now = world.clock.now();
  const status = statusOf(seen.current, namesToAskFor(seen), seen.trust.bundle, now);
  noteSince(status, now, memory, world);
  if (seen.current.kind === 'usable' && !status.expired)
    memory.validUntil = seen.current.set.leaf.validity.notAfter;
  reportMetrics(seen, status, world);
  return seen;
}

/** Notes since when something is wrong, and says so once. */
function noteSince(status: Status, now: Date, memory: Memory, world: AgentWorld): void {
  const { since } = memory;
  memory.since = {
    namesMissing: status.missing.length > 0 ? (since.namesMissing ?? now) : undefined,
    untrusted: status.untrusted === undefined ? undefined : (since.untrusted ?? now),
  };
  if (status.untrusted !== undefined && !since.untrusted)
    world.log(
      'warn',
      'chain.untrusted',
      `The chain on the volume no longer verifies: ${status.untrusted}`,
    );
  if (status.missing.length > 0 && !since.namesMissing)
    world.log('info', 'names.missing', 'The pod has new names', { names: status.missing });
}

/** A trust file that is broken, or a volume that cannot be written, must not end the sidecar. */
function tendTrust(seen: Look, config: AgentConfig, world: AgentWorld): boolean {
  for (const { path, why } of seen.trust.unusable)
    world.log(
      'warn',
      'trust.unusable',
      `Trust file ${path} gives nothing: ${why}; what it gave before stays`,
      { path },
    );
  try {
    return refreshTrust(seen, config, world);
  } catch (thrown) {
    const error = asPodsealError(thrown);
    world.log('error', 'trust.unpublished', error.message, { code: error.code, hint: error.hint });
    return false;
  }
}

/** A request that is pending for hours must not keep a new name waiting: it is asked for anew. */
function abandonOutdated(seen: Look, memory: Memory): void {
  const names = namesToAskFor(seen);
  if (!memory.attempt || !names) return;
  if (missingNames(memory.attempt.names, names).length > 0) memory.attempt.controller.abort();
}
