import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Looks every few milliseconds until `look` gives something other than undefined and false, and
 * returns that. Limits are generous: machines are noisy, and a limit only decides how long a failure takes.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  seconds = 30,
): Promise<Exclude<T, undefined | false | null>> {
  for (const startedAt = Date.now(); ;) {
    const seen = await look();
    if (seen !== undefined && seen !== false && seen !== null)
      return seen as Exclude<T, undefined | false | null>;
    if (Date.now() - startedAt > seconds * 1000)
      throw new Error(`${what}: not within ${seconds} s`);
    await sleep(20);
  }
}
