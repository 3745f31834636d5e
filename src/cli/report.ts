import { writeFileSync, writeSync } from 'node:fs';
import { type PodsealError } from '../errors.ts';

/** "error:" and "hint:" lines for people. */
export function errorText(error: PodsealError): string {
  const hint = error.hint === undefined ? '' : `hint: ${error.hint}\n`;
  return `error: ${error.message}\n${hint}`;
}

/** What `kubectl describe pod` shows of a container that gave up; at most 4 KiB (Kubernetes' limit). */
export function writeTerminationMessage(error: PodsealError): void {
  try {
    // Only an existing file: outside a container there is none, and none is made.
    writeFileSync('/dev/termination-log', errorText(error).slice(0, 4096), { flag: 'r+' });
  } catch {
    // Nobody is there to read it.
  }
}

/**
 * Writes to standard output, all of it, before it returns: process.stdout leaves what a pipe does not take
 * at once for later, and a program that ends with a code of its own ends before.
 */
export function writeOutput(text: string): void {
  for (let rest = Buffer.from(text); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      // Nobody reads it any more.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      // A pipe that does not let us wait, as its other users want it.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/** Writes to standard error at once; process.stderr would load the whole stream machinery first. */
export function writeError(text: string): void {
  const before = waiting;
  waiting = '';
  try {
    // A pipe may take a part of a long line.
    for (let rest = Buffer.from(before + text); rest.length > 0;)
      rest = rest.subarray(writeSync(2, rest));
  } catch {
    // Nobody reads it any more.
  }
}

/** What `writeErrorSoon` was given and nobody has written yet. */
let waiting = '';

/**
 * Writes to standard error before the event loop turns, or the process exits in any way but by a signal that
 * kills: in a burst, a write for each line costs a tenth of a controller's CPU, and wakes whoever reads.
 */
export function writeErrorSoon(text: string): void {
  if (waiting === '') setImmediate(writeWaiting);
  waiting += text;
}

function writeWaiting(): void {
  if (waiting !== '') writeError('');
}

process.on('exit', writeWaiting);
