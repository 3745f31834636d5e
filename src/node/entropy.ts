import { randomBytes } from 'node:crypto';

/** Drawn at once: to ask for a few bytes costs as much as for many. */
const poolBytes = 4096;

let pool = Buffer.alloc(0);
let used = 0;

/** Unpredictable bytes. None is given twice. */
export function entropy(count: number): Uint8Array {
  if (used + count > pool.length) {
    pool = randomBytes(Math.max(poolBytes, count));
    used = 0;
  }
  const bytes = Uint8Array.from(pool.subarray(used, used + count));
  used += count;
  return bytes;
}
