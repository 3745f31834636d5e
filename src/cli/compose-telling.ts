import { applicationProbe } from '../agent/probe-application.ts';
import { hookRunner, type HookWorld } from '../agent/run-hooks.ts';
import { type Telling, type TellingSettings } from '../agent/telling.ts';
import { type Hook } from '../application/hook.ts';
import { httpHook } from '../application/http-hook.ts';
import { signalHook } from '../application/signal-hook.ts';
import { tlsHandshake } from '../node/handshake.ts';
import { callLoopback } from '../node/loopback-call.ts';
import { systemProcesses } from '../node/processes.ts';

/** Introduces the adapters that reach the application. A part of its own, loaded where somebody asks for it. */
export function composeTelling(settings: TellingSettings, world: HookWorld): Telling {
  const { signal, http, hookTimeoutMs } = settings;
  const hooks: readonly Hook[] = [
    ...(signal ? [signalHook(signal, systemProcesses())] : []),
    ...(http ? [httpHook(http, hookTimeoutMs, callLoopback)] : []),
  ];
  const runner = hooks.length > 0 ? hookRunner(hooks, world) : undefined;
  const probe =
    settings.probe && applicationProbe(settings.probe, { ...world, handshake: tlsHandshake() });
  return {
    published() {
      runner?.published();
      probe?.published();
    },
    report: () => ({
      hooks: runner?.report() ?? [],
      application: probe?.report() ?? 'unknown',
    }),
    async run(stop) {
      await Promise.all([runner?.run(stop), probe?.run(stop)]);
    },
  };
}
