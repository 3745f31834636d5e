import { spawn } from 'node:child_process';
import { type TestContext } from 'node:test';
import { until } from './until.ts';

/** A process that writes down each SIGHUP; it ends with the test. */
export interface Signalled {
  readonly pid: number;
  /** `master HUP` or `worker HUP` for each signal. */
  told(): readonly string[];
}

export interface SignalledSpec {
  /** The first word of the command line. */
  readonly argv0: string;
  /** Starts a child of the same name, as servers do. */
  readonly hasWorker?: boolean;
  /** Has no handler. */
  readonly isDeaf?: boolean;
}

export async function signalled(context: TestContext, spec: SignalledSpec): Promise<Signalled> {
  const { argv0, hasWorker = false, isDeaf = false } = spec;
  const program = (name: string, more: string): string =>
    `${isDeaf ? '' : `process.on('SIGHUP', () => console.log('${name} HUP'));`}
     setInterval(() => undefined, 60_000);
     ${more}`;
  const worker = program(
    'worker',
    `console.log('ready'); process.on('disconnect', () => process.exit());`,
  );
  const startWorker = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(worker)}],
    { argv0: ${JSON.stringify(argv0)}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });`;
  const master = program('master', hasWorker ? startWorker : `console.log('ready');`);
  const child = spawn(process.execPath, ['-e', master], {
    argv0,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await until('the process', () => output.includes('ready'));
  return {
    pid: child.pid ?? 0,
    told: () => output.split('\n').filter((line) => line.endsWith('HUP')),
  };
}
