/**
 * An absolute path without slashes at its end; the root stays. By hand: a regular expression takes a
 * square of the time, and a pod may say a million slashes.
 */
export function withoutEndSlashes(path: string): string {
  let end = path.length;
  while (end > 1 && path[end - 1] === '/') end--;
  return path.slice(0, end);
}
