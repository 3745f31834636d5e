import { ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

/** A section of a README that has commands. */
export interface Section {
  readonly heading: string;
  readonly blocks: readonly {
    readonly commands: string;
    readonly firstLine: string;
    /** The lines that the README says the commands print. */
    readonly shown: readonly string[];
  }[];
}

/** The sections that have commands, in order; throws an Error where a block is neither sh nor text. */
export function sections(path: string): readonly Section[] {
  const [, ...parts] = readFileSync(path, 'utf8').split(/^## /m);
  return parts.flatMap((part) => {
    const fences = [...part.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
    const blocks: { commands: string; firstLine: string; shown: string[] }[] = [];
    for (const [, language, content = ''] of fences) {
      const lines = content.trimEnd().split('\n');
      if (language === 'sh')
        blocks.push({ commands: content, firstLine: lines[0] ?? '', shown: [] });
      else if (language === 'text') blocks.at(-1)?.shown.push(...lines);
      else throw new Error(`${path}: a block in ${language ?? ''} is neither sh nor text`);
    }
    const heading = part.slice(0, part.indexOf('\n'));
    return blocks.length > 0 ? [{ heading, blocks }] : [];
  });
}

/**
 * Runs the commands of a section literally. Throws an Error when one fails, or does not print a line
 * that the README shows.
 */
export async function runSection(shell: Shell, section: Section | undefined): Promise<void> {
  ok(section, 'the README has such a section');
  for (const { commands, firstLine, shown } of section.blocks) {
    const output = await shell.run(commands);
    const seen = new Set(output.split('\n').map(withoutChance));
    for (const line of shown)
      ok(seen.has(withoutChance(line)), `${firstLine} did not print ${line}; it did:\n${output}`);
  }
}

/** What differs between two runs is made equal: uids, hashes, ages, and the width of columns. */
function withoutChance(line: string): string {
  return line
    .trim()
    .replace(/podseal-[0-9a-f-]{36}-[0-9a-f]{32}/g, 'REQUEST')
    .replace(/ +(\d+[dhms])+ +/g, ' AGE ')
    .replace(/ +/g, ' ');
}

export interface Shell {
  /** Runs the commands with the variables of those before; resolves to what they print, rejects when one fails. */
  run(commands: string): Promise<string>;
  /** Ends it and all that it left in the background. */
  end(): Promise<void>;
}

/** A bash in `directory` that finds programs in `bin` first. `failure` is looked at while commands run. */
export function startShell(
  directory: string,
  bin: string,
  failure: () => string | undefined = () => undefined,
): Shell {
  const scripts = mkdtempSync(join(tmpdir(), 'podseal-readme-'));
  const child = spawn('bash', ['--noprofile', '--norc', '-s'], {
    cwd: directory,
    // A group of its own, to end what the blocks leave in the background.
    detached: true,
    env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  // Writing to a shell that has given up: its output says why.
  child.stdin.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()));
  child.stdin.write('set -euo pipefail\n');
  let count = 0;
  return {
    async run(commands) {
      const script = join(scripts, `block-${++count}.sh`);
      const end = `end of block ${count}`;
      writeFileSync(script, commands);
      output = '';
      // Read from a file: no command can take the next one for its input.
      child.stdin.write(`. ${script} < /dev/null\necho "${end}"\n`);
      await until(
        'the end of the block',
        () => output.includes(end) || child.exitCode !== null || failure() !== undefined,
        120,
      ).catch((error: unknown) => {
        throw new Error(`${commands}\n${output}`, { cause: error });
      });
      if (!output.includes(end))
        throw new Error(`This block failed:\n${commands}\n${output}\n${failure() ?? ''}`);
      return output.slice(0, output.indexOf(end));
    },
    async end() {
      try {
        process.kill(-(child.pid ?? 0), 'SIGKILL');
      } catch {
        // It has ended already.
      }
      if (child.exitCode === null && child.signalCode === null) await closed;
      rmSync(scripts, { recursive: true, force: true });
    },
  };
}
