import {
  afterAttempt,
  type Attempted,
  type Hook,
  type HookName,
  type HookReport,
  type NextStep,
} from '../application/hook.ts';
import { type NewestSet } from '../application/newest-set.ts';
import { asPodsealError } from '../errors.ts';
import { later, type Clock } from '../runtime/clock.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type Random } from '../runtime/random.ts';
import { type Log } from '../telemetry/log.ts';
import { type Metrics } from '../telemetry/metrics.ts';

/** The volume is looked at this often even when nobody says that it changed. */
const lookAgainMs = 60_000;

/** All that telling the application touches. */
export interface HookWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  current(): NewestSet | undefined;
  /** The id of the set that the application was told of last, as the volume remembers it: it outlives this process. */
  readonly told: { read(): string | undefined; write(set: string): void };
}

export interface HookRunner {
  /** To be called after each publish. */
  published(): void;
  report(): readonly HookReport[];
  /** Runs until `stop`; never rejects. */
  run(stop: AbortSignal): Promise<void>;
}

/**
 * Tells the application of each new set, by every hook. A set that is replaced before it was told is
 * skipped: the newest one counts. What a killed process did not get to tell, the next one tells.
 */
export function hookRunner(hooks: readonly Hook[], world: HookWorld): HookRunner {
  const bell = doorbell();
  const startedAt = world.clock.now();
  const reports = new Map(hooks.map(({ name }) => [name, newReport(name, startedAt)]));
  const note: Note = (hook, outcome, why) =>
    reports.set(hook, { hook, outcome, at: world.clock.now().toISOString(), why });
  return {
    published: () => bell.ring(),
    report: () => [...reports.values()],
    async run(stop) {
      let told = toldAtStart(world);
      while (!stop.aborted) {
        const { signal, release } = bell.nextRing(stop);
        const newest = world.current()?.id ?? noSet;
        if (newest !== noSet && newest !== told) {
          const run: Run = { isFirstSet: told === noSet, overtaken: signal, note };
          const outcomes = await Promise.all(hooks.map((hook) => runHook(hook, run, world)));
          // A set that could not be told stays untold on the volume: the next process tries again.
          if (outcomes.every((each) => each === 'told')) remember(newest, world);
          if (!outcomes.includes('overtaken')) told = newest;
        }
        await world.clock.pause(lookAgainMs, signal);
        release();
      }
    },
  };
}

type Note = (hook: HookName, outcome: HookReport['outcome'], why: string) => void;

function newReport(hook: HookName, at: Date): HookReport {
  return { hook, outcome: 'none', at: at.toISOString(), why: 'no new set since the start' };
}

const noSet = '';

/** Without a memory the set that is there was published by `podseal init`, before the application started. */
function toldAtStart(world: HookWorld): string {
  const remembered = world.told.read();
  if (remembered !== undefined) return remembered;
  const there = world.current()?.id ?? noSet;
  remember(there, world);
  return there;
}

/** A volume that cannot be written costs a second telling after a restart, nothing else. */
function remember(set: string, { told, log }: HookWorld): void {
  try {
    told.write(set);
  } catch (thrown) {
    const { message, code, hint } = asPodsealError(thrown);
    log('warn', 'hook.forgotten', message, { code, hint });
  }
}

interface Run {
  readonly isFirstSet: boolean;
  /** Aborted when a newer set is there, or the process stops. */
  readonly overtaken: AbortSignal;
  readonly note: Note;
}

async function runHook(
  hook: Hook,
  run: Run,
  world: HookWorld,
): Promise<'told' | 'failed' | 'overtaken'> {
  const { isFirstSet, overtaken } = run;
  const isOvertaken = (): boolean => overtaken.aborted;
  for (let number = 1; !isOvertaken(); number++) {
    const attempted = await attempt(hook, overtaken);
    if (isOvertaken()) break;
    const fraction = world.random.fraction();
    const next = afterAttempt(attempted, number, { isFirstSet, fraction });
    run.note(
      hook.name,
      next.kind === 'again' ? 'failed' : next.outcome,
      attempted.kind === 'done' ? attempted.what : attempted.why,
    );
    say(hook.name, attempted, next, world);
    if (next.kind === 'over') return next.outcome === 'failed' ? 'failed' : 'told';
    await world.clock.pause(next.afterMs, overtaken);
  }
  return 'overtaken';
}

/** Whatever goes wrong with a hook must not end the sidecar. */
async function attempt(hook: Hook, overtaken: AbortSignal): Promise<Attempted> {
  try {
    return await hook.attempt(overtaken);
  } catch (thrown) {
    const { message, hint = '' } = asPodsealError(thrown);
    return { kind: 'failed', why: message, hint };
  }
}

function say(hook: HookName, attempted: Attempted, next: NextStep, world: HookWorld): void {
  const { clock, log, metrics } = world;
  if (next.kind === 'over')
    metrics.add('podseal_hook_runs_total', 1, { hook, outcome: next.outcome });
  if (attempted.kind === 'done') {
    metrics.set('podseal_hook_last_success_timestamp_seconds', clock.now().getTime() / 1000, {
      hook,
    });
    log('info', 'hook.succeeded', `The application was told: ${attempted.what}`, { hook });
  } else if (next.kind === 'over' && next.outcome === 'none')
    log('info', 'hook.skipped', `The application has not started yet: ${attempted.why}`, { hook });
  else {
    const again =
      next.kind === 'again' ? later(clock.now(), next.afterMs).toISOString() : undefined;
    log('warn', 'hook.failed', attempted.why, { hook, hint: attempted.hint, again });
  }
}
