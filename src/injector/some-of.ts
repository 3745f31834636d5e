const most = 10;

/** `"a", "b" and 3 more`: some names of a list that anybody may have made as long as he likes. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, most).map((name) => JSON.stringify(name.slice(0, 253)));
  const more = names.length - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
