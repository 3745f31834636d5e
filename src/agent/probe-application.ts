import { type NewestSet } from '../application/newest-set.ts';
import {
  isNews,
  probeGapMs,
  restMs,
  type Application,
  type Handshake,
  type ProbeAddress,
  type Serving,
} from '../application/serving.ts';
import { type Clock } from '../runtime/clock.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { type Log } from '../telemetry/log.ts';
import { type Metrics } from '../telemetry/metrics.ts';

/** All that the probe touches. */
export interface ProbeWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  current(): NewestSet | undefined;
  readonly handshake: Handshake;
}

export interface Probe {
  /** To be called after each publish. */
  published(): void;
  report(): Application;
  /** Runs until `stop`; never rejects. */
  run(stop: AbortSignal): Promise<void>;
}

/** What the loop remembers of the certificate on the volume. */
interface Memory {
  fingerprint: string;
  /** By uptime: when this certificate was first seen. */
  sinceMs: number;
  /** What people were told of it. */
  said: Serving['kind'] | undefined;
}

/** Looks which certificate the application serves: often after a change, every minute otherwise. */
export function applicationProbe(address: ProbeAddress, world: ProbeWorld): Probe {
  const bell = doorbell();
  const memory: Memory = { fingerprint: '', sinceMs: 0, said: undefined };
  let last: Application = 'unknown';
  /** Resolves to the milliseconds until the next look. */
  const look = async (set: NewestSet, replaced: AbortSignal): Promise<number> => {
    const { fingerprint } = set;
    if (memory.fingerprint !== fingerprint)
      Object.assign(memory, { fingerprint, sinceMs: world.clock.uptimeMs(), said: undefined });
    const serving = await servingOf(address, set, replaced, world);
    // What was seen while the set was replaced says nothing about the new one.
    if (replaced.aborted) return 0;
    last = serving.kind;
    const sinceMs = world.clock.uptimeMs() - memory.sinceMs;
    report(serving, isNews(serving, memory.said, sinceMs), world);
    if (isNews(serving, memory.said, sinceMs)) memory.said = serving.kind;
    return probeGapMs(serving, sinceMs);
  };
  return {
    published: () => bell.ring(),
    report: () => last,
    async run(stop) {
      while (!stop.aborted) {
        const { signal, release } = bell.nextRing(stop);
        const set = world.current();
        const gapMs = set ? await look(set, signal) : restMs;
        await world.clock.pause(gapMs, signal);
        release();
      }
    },
  };
}

async function servingOf(
  address: ProbeAddress,
  set: NewestSet,
  stop: AbortSignal,
  world: ProbeWorld,
): Promise<Serving> {
  try {
    const fingerprint = await world.handshake(address, set, stop);
    return fingerprint === set.fingerprint ? { kind: 'current' } : { kind: 'other', fingerprint };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { kind: 'unreachable', why: code ?? message };
  }
}

function report(serving: Serving, isNew: boolean, { metrics, log }: ProbeWorld): void {
  metrics.set('podseal_application_reachable', serving.kind === 'unreachable' ? 0 : 1);
  metrics.set('podseal_application_serves_current', serving.kind === 'current' ? 1 : 0);
  if (!isNew) return;
  switch (serving.kind) {
    case 'current':
      log('info', 'application.current', 'The application serves the certificate on the volume');
      return;
    case 'other':
      log('warn', 'application.outdated', 'The application serves another certificate', {
        served: serving.fingerprint,
        hint: 'It has not reloaded: restart it, and name PODSEAL_HOOK_SIGNAL or PODSEAL_HOOK_HTTP for the next time.',
      });
      return;
    case 'unreachable':
      log(
        'warn',
        'application.unreachable',
        `Cannot see what the application serves: ${serving.why}`,
        {
          hint: 'PODSEAL_PROBE is an address inside the pod where TLS begins with the first byte.',
        },
      );
  }
}
