import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A foreign program that answers each line of its standard input with a line. */
export interface LineProgram {
  ask(line: string): Promise<string>;
  close(): void;
}

export function lineProgram(command: string, args: readonly string[]): LineProgram {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const waiting: { resolve: (answer: string) => void; reject: (error: Error) => void }[] = [];
  let complaints = '';
  let ended: Error | undefined;
  const end = (why: string): void => {
    ended = new Error(`Cannot ask ${command}: ${why}\n${complaints}`);
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  child.stdin.on('error', () => undefined);
  child.on('error', (error) => end(error.message));
  child.on('close', (code) => end(`it ended with ${code ?? 'a signal'}`));
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.resolve(line));
  return {
    ask: (line) =>
      new Promise((resolve, reject) => {
        if (ended) reject(ended);
        waiting.push({ resolve, reject });
        child.stdin.write(`${line}\n`);
      }),
    close: () => child.stdin.end(),
  };
}
