/** What a certificate says about whom it belongs to: its subject alternative names. */
export interface SubjectNames {
  /** Lower case, without trailing dot. */
  readonly dnsNames: readonly string[];
  /** Canonical text (RFC 5952). */
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
}

export const noNames: SubjectNames = { dnsNames: [], ipAddresses: [], uris: [] };

/** All names as one list, in the order in which they stand in a certificate. */
export function allNames(names: SubjectNames): readonly string[] {
  return [...names.dnsNames, ...names.ipAddresses, ...names.uris];
}

/** For logs: at most 20 of them, none longer than a DNS name, then how many more there are. */
export function shownNames(names: SubjectNames): readonly string[] {
  const all = allNames(names);
  const shown = all.slice(0, 20).map((name) => name.slice(0, 253));
  return all.length > shown.length ? [...shown, `and ${all.length - shown.length} more`] : shown;
}

/** The names that `wanted` has and `held` lacks. */
export function missingNames(held: SubjectNames, wanted: SubjectNames): readonly string[] {
  const has = new Set(allNames(held));
  return allNames(wanted).filter((name) => !has.has(name));
}

/** Whether both have the same names, in whatever order. */
export function sameNames(a: SubjectNames, b: SubjectNames): boolean {
  return missingNames(a, b).length === 0 && missingNames(b, a).length === 0;
}
