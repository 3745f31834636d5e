import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A program and its arguments. */
export type Command = readonly [string, ...string[]];

/** A process that we started, recognisable even after its number was given to another. */
export interface Started {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: string;
}

/** Starts a program that outlives us, its output appended to `DIRECTORY/log/NAME.log`. */
export function startDetached(directory: string, name: string, command: Command): Started {
  mkdirSync(join(directory, 'log'), { recursive: true });
  const log = openSync(join(directory, 'log', `${name}.log`), 'a');
  const [program, ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  child.on('error', () => undefined);
  child.unref();
  if (child.pid === undefined) throw new Error(`Cannot start ${program}: is it executable?`);
  return processOf(child.pid);
}

/** The process that has this number now. */
export function processOf(pid: number): Started {
  return { pid, startTime: startTimeOf(pid) ?? '' };
}

/** A process that something else started for us, by its number of now. */
export function startedAs(pid: number): Started {
  return { pid, startTime: startTimeOf(pid) ?? '' };
}

function startTimeOf(pid: number): string | undefined {
  try {
    // The name in field 2 may hold blanks and parentheses.
    const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) (?=[A-Z] )/);
    const [state, ...fields] = rest.split(' ');
    // A zombie whose other threads are still ending holds its ports and files.
    const isGone = state === 'Z' && readdirSync(`/proc/${pid}/task`).length <= 1;
    return isGone ? undefined : fields[18];
  } catch {
    return undefined;
  }
}

export function isAlive(started: Started): boolean {
  return startTimeOf(started.pid) === started.startTime;
}

/** Ends the process, if it still is the one that we started, and waits until it is gone. */
export async function end(started: Started, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const patienceMs = 3_000;
  for (const startedAt = Date.now(); isAlive(started);) {
    // kube-apiserver waits up to 60 s for open watches when asked politely.
    const isLate = Date.now() - startedAt > patienceMs;
    try {
      process.kill(started.pid, isLate ? 'SIGKILL' : signal);
    } catch {
      return;
    }
    await sleep(20);
  }
}
