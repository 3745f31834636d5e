import { closeSync, openSync, readSync } from 'node:fs';

/**
 * The lines of a text file, one at a time in constant memory. The file is opened once, so that a
 * swap by the kubelet in the middle cannot mix two versions. Throws what the file system throws.
 */
export function* readLines(path: string): Generator<string> {
  const fd = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(64 * 1024);
    let rest: Buffer = Buffer.alloc(0);
    for (;;) {
      const length = readSync(fd, chunk);
      if (length === 0) break;
      let bytes = Buffer.concat([rest, chunk.subarray(0, length)]);
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
        yield bytes.toString('utf8', 0, end);
        bytes = bytes.subarray(end + 1);
      }
      rest = bytes;
    }
    if (rest.length > 0) yield rest.toString('utf8');
  } finally {
    closeSync(fd);
  }
}
