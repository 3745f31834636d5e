import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProgram, type Program } from '../test/support/program.ts';

/** What the demo starts and makes: all of it is ended, however the demo ends. */
export interface Stage {
  /** A directory that goes too. */
  readonly root: string;
  start(command: string, environment: Readonly<Record<string, string>>): Program;
  /** What is begun last ends first. */
  atEnd(end: () => void | Promise<void>): void;
  /** What went wrong in the programs, in their own words. */
  complaints(): readonly string[];
  /** Ends everything; throws the first failure, when all the rest has ended. */
  clear(): Promise<void>;
}

export function openStage(): Stage {
  const root = mkdtempSync(join(tmpdir(), 'podseal-demo-'));
  const ends: (() => void | Promise<void>)[] = [() => rmSync(root, { recursive: true })];
  const programs: Program[] = [];
  let clearing: Promise<void> | undefined;
  const clear = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (let end = ends.pop(); end; end = ends.pop())
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    if (failures.length > 0) throw failures[0];
  };
  return {
    root,
    start(command, environment) {
      // Told to stop in the middle of an act: nothing new may begin.
      if (clearing) throw new Error('Cannot start a program: the demo is ending');
      const program = startProgram([command], environment);
      programs.push(program);
      ends.push(async () => {
        program.child.kill('SIGKILL');
        await program.exit;
      });
      return program;
    },
    atEnd: (end) => void ends.push(end),
    complaints: () =>
      programs.flatMap((program) =>
        program
          .lines()
          .filter(({ level }) => level === 'warn' || level === 'error')
          .slice(-3)
          .map(({ message }) => message),
      ),
    clear: () => (clearing ??= clear()),
  };
}
