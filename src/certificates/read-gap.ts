/**
 * Milliseconds until the next read of a request that has been pending for `elapsedMs`: short while a
 * program is likely to answer, seconds for a person (docs/adr/0007 has the measurements). The gap
 * grows with the age of the request, so a thousand pods that start together spread by themselves;
 * `fraction` (in [0, 1)) jitters it by a quarter up or down.
 */
export function readGapMs(elapsedMs: number, fraction: number): number {
  const gap = Math.min(30_000, Math.max(50, elapsedMs / 4));
  return Math.round(gap * (0.75 + fraction / 2));
}
