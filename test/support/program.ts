import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './until.ts';

/** One line of the program's log. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly message: string;
  readonly code?: string;
  readonly hint?: string;
  readonly [field: string]: unknown;
}

/** The built program as a child process. */
export interface Program {
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
  lines(): readonly LogLine[];
  /** Everything printed, standard output and error. */
  output(): string;
  logged(event: string, seconds?: number): Promise<LogLine>;
}

const program = join(import.meta.dirname, '../../dist/podseal.cjs');

/** Starts `podseal ARGS` with exactly this environment. Its output is kept for the search for secrets. */
export function startProgram(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Program {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output += chunk.toString();
    const log = process.env['PODSEAL_TEST_OUTPUT'];
    if (log) appendFileSync(join(log, `${process.pid}-${child.pid ?? 0}.log`), chunk);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const exit = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  const lines = (): LogLine[] =>
    output.split('\n').flatMap((line) => {
      try {
        return [JSON.parse(line) as LogLine];
      } catch {
        return [];
      }
    });
  return {
    child,
    exit,
    lines,
    output: () => output,
    logged: async (event, seconds) => {
      try {
        return await until(
          `event ${event}`,
          () => lines().find((line) => line.event === event),
          seconds,
        );
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : ''}; seen:\n${output}`, {
          cause: error,
        });
      }
    },
  };
}
