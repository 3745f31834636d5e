import { type HookReport } from '../application/hook.ts';
import { type HttpCall } from '../application/http-hook.ts';
import { type Application, type ProbeAddress } from '../application/serving.ts';
import { type SignalTarget } from '../application/signal-hook.ts';
import { type Volume } from '../volume/volume.ts';

/** How the application is told of a new set, and where it is looked at; undefined: not asked for. */
export interface TellingSettings {
  readonly signal: SignalTarget | undefined;
  readonly http: HttpCall | undefined;
  /** Of one attempt. */
  readonly hookTimeoutMs: number;
  readonly probe: ProbeAddress | undefined;
}

export function isAskedFor({ signal, http, probe }: TellingSettings): boolean {
  return signal !== undefined || http !== undefined || probe !== undefined;
}

/** Tells the application of new sets and looks at what it serves; never in the way of what `watch` does beside it. */
export interface Telling {
  /** To be called after each publish. */
  published(): void;
  report(): { readonly hooks: readonly HookReport[]; readonly application: Application };
  /** Runs until `stop`. */
  run(stop: AbortSignal): Promise<void>;
}

/** Where no hook and no probe is asked for. */
export const noTelling: Telling = {
  published: () => undefined,
  report: () => ({ hooks: [], application: 'unknown' }),
  run: () => Promise.resolve(),
};

/** The same volume, whose every publish is told. */
export function announcing(volume: Volume, telling: Telling): Volume {
  return {
    ...volume,
    publish(files, receipt) {
      volume.publish(files, receipt);
      telling.published();
    },
  };
}
