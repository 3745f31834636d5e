import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Command, end, isAlive, startDetached, type Started } from './processes.ts';

/**
 * A process of a cluster and how it was started. Each part has a file of its own in the cluster's
 * directory, so that every process that shares the cluster sees a part restarted by another.
 */
interface RunningPart {
  readonly command: Command;
  readonly process: Started;
}

/** Starts a part; it outlives us. */
export function startPart(directory: string, part: string, command: Command): void {
  const running: RunningPart = { command, process: startDetached(directory, part, command) };
  const path = partFile(directory, part);
  mkdirSync(join(directory, 'parts'), { recursive: true });
  // Renamed, so that nobody reads half of it.
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify(running));
  renameSync(temporary, path);
}

/** Starts a part again with the same arguments and more flags; does nothing when it still runs. */
export function startPartAgain(
  directory: string,
  part: string,
  flags: readonly string[] = [],
): void {
  const { command, process: last } = runningPart(directory, part);
  if (!isAlive(last)) startPart(directory, part, [...command, ...flags]);
}

/** Ends a part and waits until it is gone. */
export async function endPart(
  directory: string,
  part: string,
  how: 'kill' | 'term',
): Promise<void> {
  await end(runningPart(directory, part).process, how === 'kill' ? 'SIGKILL' : 'SIGTERM');
}

/** What was started last; throws an Error that names the parts there are. */
export function runningPart(directory: string, part: string): RunningPart {
  const path = partFile(directory, part);
  if (!existsSync(path))
    throw new Error(
      `Cannot find the part "${part}" in ${directory}: there are ${partsOf(directory).join(', ')}`,
    );
  return JSON.parse(readFileSync(path, 'utf8')) as RunningPart;
}

export function partsOf(directory: string): readonly string[] {
  const files = existsSync(join(directory, 'parts')) ? readdirSync(join(directory, 'parts')) : [];
  return files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5));
}

/** Ends every part and removes the directory. */
export async function takeDown(directory: string): Promise<void> {
  // Its data is thrown away, so there is nothing to end gracefully for.
  await Promise.all(partsOf(directory).map((part) => endPart(directory, part, 'kill')));
  rmSync(directory, { recursive: true, force: true });
}

function partFile(directory: string, part: string): string {
  return join(directory, 'parts', `${part}.json`);
}
