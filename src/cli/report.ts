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

/** Writes to standard error at once; process.stderr would load the whole stream machinery first. */
export function writeError(text: string): void {
  try {
    // A pipe may take a part of a long line.
    for (let rest = Buffer.from(text); rest.length > 0;) rest = rest.subarray(writeSync(2, rest));
  } catch {
    // Nobody reads it any more.
  }
}
