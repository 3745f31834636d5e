/**
 * Whether everything that `wanted` says is so in `found`, which may say more: the API server adds
 * defaults, and other admission plugins their share, between two looks at the same pod.
 */
export function covers(found: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted))
    return (
      Array.isArray(found) &&
      found.length === wanted.length &&
      wanted.every((each, index) => covers(found[index], each))
    );
  if (typeof wanted !== 'object' || wanted === null) return Object.is(found, wanted);
  if (typeof found !== 'object' || found === null) return false;
  return Object.entries(wanted).every(([key, value]) =>
    covers((found as Readonly<Record<string, unknown>>)[key], value),
  );
}
