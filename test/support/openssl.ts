import { execFile } from 'node:child_process';

/** How a foreign program ended, with all that it wrote. */
export interface ProgramResult {
  readonly ok: boolean;
  readonly text: string;
}

/** Runs a program without a shell. `input` goes to its standard input. */
export function runProgram(
  program: string,
  args: readonly string[],
  input: string | Buffer = '',
): Promise<ProgramResult> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ ok: error === null, text: stdout + stderr }),
    );
    // A program that needs no input may have ended before it was written.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

export function openssl(args: readonly string[], input?: string | Buffer): Promise<ProgramResult> {
  return runProgram('openssl', args, input);
}
