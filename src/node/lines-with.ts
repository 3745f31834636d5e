import { closeSync, openSync, readSync } from 'node:fs';

/** What a file gave: the lines that hold one of the clues, and the last byte that is no line end. */
export interface FoundLines {
  readonly lines: readonly string[];
  readonly lastCharacter: string;
}

const lineFeed = 10;
/** Kept between calls, which never overlap: 64 KB of garbage at every look would be most of the agent's. */
let buffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * The lines of a file that hold one of the clues, in constant memory and almost no time: the search
 * is the buffer's own, and a line without a clue is never looked at. The file is opened once, so that
 * a swap by the kubelet in the middle cannot mix two versions. Throws what the file system throws.
 */
export function linesWith(path: string, clues: readonly string[]): FoundLines {
  const fd = openSync(path, 'r');
  try {
    const lines: string[] = [];
    let lastCharacter = '';
    let filled = 0;
    for (;;) {
      if (filled === buffer.length) buffer = Buffer.concat([buffer], filled * 2);
      const length = readSync(fd, buffer, filled, buffer.length - filled, null);
      filled += length;
      const seen = buffer.subarray(0, filled);
      lastCharacter =
        /\S(?=\s*$)/.exec(seen.toString('latin1', Math.max(0, filled - 16)))?.[0] ?? lastCharacter;
      // Whole lines only; what follows the last line feed waits for the next piece.
      const whole = length === 0 ? filled : seen.lastIndexOf(lineFeed) + 1;
      lines.push(...search(seen.subarray(0, whole), clues));
      if (length === 0) return { lines, lastCharacter };
      buffer.copyWithin(0, whole, filled);
      filled -= whole;
    }
  } finally {
    closeSync(fd);
  }
}

function search(text: Buffer, clues: readonly string[]): string[] {
  const starts = new Map<number, string>();
  for (const clue of clues)
    for (let at = text.indexOf(clue); at >= 0;) {
      const start = text.lastIndexOf(lineFeed, at) + 1;
      const end = text.indexOf(lineFeed, at);
      starts.set(start, text.toString('utf8', start, end < 0 ? text.length : end));
      at = end < 0 ? -1 : text.indexOf(clue, end);
    }
  return [...starts].sort(([a], [b]) => a - b).map(([, line]) => line);
}
