import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cacheDirectory } from '../cluster/binaries.ts';

/** What main.go answers. */
export interface Answer {
  /** Whether the API server would take the request. */
  readonly taken: boolean;
  readonly error: string;
  /** As Go's parser sees them. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
  /** Whether it may be approved now. */
  readonly allowed: boolean;
  readonly why: string;
  /** Names that stand against it. */
  readonly refused: readonly string[];
}

/** The second opinion: a program in Go, which takes questions and answers them in order. */
export interface Oracle {
  ask(question: object): Promise<Answer>;
  close(): void;
}

/** Undefined, where there is no Go to build it with. */
export async function startOracle(): Promise<Oracle | undefined> {
  const program = await builtOracle();
  if (program === undefined) return undefined;
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  createInterface({ input: child.stdout }).on('line', (line) =>
    waiting.shift()?.resolve(JSON.parse(line) as Answer),
  );
  child.on('close', (code) => {
    for (const { reject } of waiting)
      reject(new Error(`Cannot go on: the oracle ended with ${code ?? 'a signal'}`));
  });
  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify(question)}\n`);
      }),
    close: () => child.stdin.end(),
  };
}

/** Built once and cached by content, beside the Kubernetes of the tests. */
async function builtOracle(): Promise<string | undefined> {
  const source = import.meta.dirname;
  const hash = createHash('sha256');
  for (const file of readdirSync(source).sort())
    if (/\.(go|mod)$/.test(file)) hash.update(readFileSync(join(source, file)));
  const directory = join(cacheDirectory(), 'oracle');
  const program = join(directory, hash.digest('hex').slice(0, 16));
  if (existsSync(program)) return program;
  mkdirSync(directory, { recursive: true });
  const temporary = `${program}.${process.pid}`;
  try {
    // Nothing is fetched: it needs no module and any Go since 1.24.
    const env = { ...process.env, GOTOOLCHAIN: 'local', GOPROXY: 'off', GOWORK: 'off' };
    await promisify(execFile)('go', ['build', '-o', temporary, '.'], { cwd: source, env });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error('Cannot build test/oracle with Go', { cause: error });
  }
  renameSync(temporary, program);
  return program;
}
