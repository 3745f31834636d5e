import { readFileSync } from 'node:fs';
import { type TrustFileReading } from '../trust/bundle.ts';

/** More than any bundle: the system's own has 230 KB. Bounds what a wrong mount can cost. */
const maximumBytes = 2 * 1024 * 1024;

/** Reads each trust file as it stands now. */
export function readTrustFiles(paths: readonly string[]): readonly TrustFileReading[] {
  return paths.map((path) => {
    try {
      const pem = readFileSync(path, 'latin1');
      if (pem.length > maximumBytes)
        return { path, kind: 'unreadable', why: `it is larger than ${maximumBytes} bytes` };
      return { path, kind: 'read', pem };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return {
        path,
        kind: 'unreadable',
        why: code === 'ENOENT' ? 'it does not exist' : (code ?? message),
      };
    }
  });
}
