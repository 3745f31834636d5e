#!/usr/bin/env node
import process from 'node:process';

/**
 * V8 flags by command (docs/adr/0004). The sidecar's memory doubles over a thousand renewals without them;
 * a controller that lists ten thousand requests keeps 280 MB instead of 100. They have no effect once V8
 * runs and are refused in NODE_OPTIONS, so the process starts itself anew in place (same pid); other
 * commands are over too soon to gain.
 */
const sidecarFlags = [
  '--lite-mode',
  '--max-semi-space-size=1',
  '--max-old-space-size=32',
  '--v8-pool-size=1',
  '--expose-gc',
];
const controllerFlags = ['--heap-growing-percent=20', '--max-semi-space-size=8'];
const flagsOf: Readonly<Record<string, readonly string[]>> = {
  watch: sidecarFlags,
  approver: controllerFlags,
  signer: controllerFlags,
  injector: controllerFlags,
};

declare const PODSEAL_VERSION: string;

const args = process.argv.slice(2);
const program = process.argv[1] ?? '';
const flags = flagsOf[args[0] ?? ''] ?? [];

if (flags.some((flag) => !process.execArgv.includes(flag)) && process.execve)
  process.execve(
    process.execPath,
    [process.execPath, ...flags, ...process.execArgv, program, ...args],
    process.env,
  );

/**
 * Whatever hangs on must not make the kubelet wait. A controller ends what is under way, because it gives
 * its lease back after that: until then no other replica works.
 */
const patienceMs = flags === controllerFlags ? 20_000 : 800;

const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    stopping.abort();
    setTimeout(() => process.exit(), patienceMs).unref();
  });

void import('./cli/commands.ts').then(async ({ run }) => {
  process.exitCode = await run({
    args,
    environment: process.env,
    stop: stopping.signal,
    version: PODSEAL_VERSION,
  });
  // A keep-alive connection to the API server would hold the process for its idle time.
  if (process.exitCode !== 0 || stopping.signal.aborted || args[0] === 'init') process.exit();
});
