import { dnsNameProblem, isDnsLabel } from '../identity/dns-name.ts';
import { parseIpAddress } from '../identity/ip-address.ts';
import { type IpRange, parseIpRange } from '../identity/ip-range.ts';
import { parseDurationMs } from '../runtime/duration.ts';
import { nearest } from '../runtime/nearest.ts';
import { specialRangeWithin } from './special-addresses.ts';
import { quoted, type Report, type Tree } from './yaml-tree.ts';

/** Readers of single values of the policy file. Each reports what is wrong, and then gives undefined. */
export type Read<T> = (tree: Tree, report: Report) => T | undefined;

export interface Field<T> {
  readonly key: string;
  readonly read: Read<T>;
  /** Why it cannot be left out; undefined: it can. */
  readonly needed?: string;
}

/** The keys of a map, by the property that each becomes. */
export type Fields<T> = { readonly [Name in keyof T]-?: Field<Exclude<T[Name], undefined>> };

/** The members of a map that could be read. `elsewhere` holds keys that have their place in another map, and says where. */
export function readFields<T>(
  tree: Tree,
  fields: Fields<T>,
  report: Report,
  elsewhere: Readonly<Record<string, string>> = {},
): Partial<T> {
  if (tree.kind !== 'map') {
    report(tree, `${shown(tree)} is not a map of keys and values`);
    return {};
  }
  const byKey = Object.entries<Field<unknown>>(fields);
  const known = byKey.map(([, { key }]) => key);
  for (const [key, value] of tree.members)
    if (!known.includes(key))
      report(value, elsewhere[key] ?? `unknown key; did you mean ${quoted(nearest(key, known))}?`);
  const entries = byKey.flatMap(([name, { key, read, needed }]) => {
    const value = tree.members.get(key);
    if (!value && needed !== undefined) report(tree, `${key} is missing: ${needed}`);
    const result = value && read(value, report);
    return result === undefined ? [] : [[name, result]];
  });
  return Object.fromEntries(entries) as Partial<T>;
}

/** The value as it stands in a message. */
function shown(tree: Tree): string {
  switch (tree.kind) {
    case 'text':
      return quoted(tree.text);
    case 'number':
      return String(tree.number);
    case 'flag':
      return String(tree.flag);
    case 'nothing':
      return 'an empty value';
    case 'list':
      return 'a list';
    case 'map':
      return 'a map';
  }
}

export const flag: Read<boolean> = (tree, report) =>
  tree.kind === 'flag' ? tree.flag : report(tree, `${shown(tree)} is neither true nor false`);

/** `problem` says why a text is refused, in words that fit after it. */
export function text(problem: (text: string) => string | undefined): Read<string> {
  return (tree, report) => {
    if (tree.kind === 'number' || tree.kind === 'flag')
      return report(tree, `${shown(tree)} is no text; write it in quotes`);
    if (tree.kind !== 'text') return report(tree, `${shown(tree)} is no text`);
    const why = problem(tree.text);
    return why === undefined ? tree.text : report(tree, `${quoted(tree.text)} ${why}`);
  };
}

export function listOf<T>(readMember: Read<T>): Read<readonly T[]> {
  return (tree, report) => {
    if (tree.kind !== 'list')
      return report(tree, `${shown(tree)} is not a list; an empty list is written []`);
    const members = tree.members.map((member) => readMember(member, report));
    return members.filter((member) => member !== undefined);
  };
}

export function someOf<T>(readMember: Read<T>, why: string): Read<readonly T[]> {
  const readList = listOf(readMember);
  return (tree, report) =>
    tree.kind === 'list' && tree.members.length === 0
      ? report(tree, `the list is empty: ${why}`)
      : readList(tree, report);
}

export function oneOf<T extends string>(allowed: readonly T[]): Read<T> {
  const read = text((given) =>
    allowed.some((each) => each === given) ? undefined : `is none of ${allowed.join(', ')}`,
  );
  return (tree, report) => read(tree, report) as T | undefined;
}

export function wholeNumber(minimum: number, maximum: number): Read<number> {
  return (tree, report) =>
    tree.kind === 'number' &&
    Number.isInteger(tree.number) &&
    tree.number >= minimum &&
    tree.number <= maximum
      ? tree.number
      : report(tree, `${shown(tree)} is not a whole number from ${minimum} to ${maximum}`);
}

/** Milliseconds. */
export function duration(shortest: string, longest: string): Read<number> {
  const [minimumMs = 0, maximumMs = 0] = [shortest, longest].map(parseDurationMs);
  const read = text((given) => {
    const ms = parseDurationMs(given);
    if (ms === undefined) return 'is not a duration like 24h, 90m or 30s';
    if (ms < minimumMs) return `is shorter than ${shortest}`;
    return ms > maximumMs ? `is longer than ${longest}` : undefined;
  });
  return (tree, report) => parseDurationMs(read(tree, report) ?? '');
}

/** The name of a Service or a service account. */
export function label(what: string): Read<string> {
  return text((given) => (isDnsLabel(given) ? undefined : `is not the name of ${what}`));
}

/** Names of service accounts may have dots (DNS subdomains). */
export const serviceAccount: Read<string> = text((given) =>
  given.length <= 253 && given.split('.').every(isDnsLabel)
    ? undefined
    : 'is not the name of a service account',
);

/** More stars than that would make some names slow to compare. */
const maximumStars = 3;

/** A namespace's name, in which `*` stands for any run of characters. */
export const namespacePattern: Read<string> = text((given) => {
  const stars = given.split('*').length - 1;
  if (stars > maximumStars) return `has more than ${maximumStars} stars`;
  // A star may stand for nothing, and at either end for a letter.
  const isFine = given === '*' || isDnsLabel(given.replaceAll(/\*+/g, stars > 0 ? 'x' : ''));
  return isFine ? undefined : 'is not the name of a namespace, nor a pattern of one like team-*';
});

/** A name that stands for itself and for all names below it. Whose it is: policy-conflicts.ts. */
export const dnsSuffix: Read<string> = text((given) => {
  if (given.startsWith('*'))
    return 'is a wildcard; a suffix covers what is below it, and wildcards: true allows them there';
  const problem = dnsNameProblem(given);
  if (problem !== undefined)
    return /[A-Z]/.test(given) ? 'is not in lower case' : `is no DNS name: ${problem}`;
  return given.includes('.')
    ? undefined
    : 'is a single label, which is a public domain or the word for a Service in every namespace';
});

/** Wider ones are no network of one's own: bits of the prefix, by the length of an address in bytes. */
const shortestPrefix: Readonly<Record<number, number>> = { 4: 8, 16: 32 };

/** CIDR text to range. */
export const range: Read<IpRange> = (tree, report) => {
  const given = text(() => undefined)(tree, report);
  if (given === undefined) return undefined;
  const found = parseIpRange(given);
  if (!found)
    return report(
      tree,
      `${quoted(given)} is not a range like 10.96.0.0/12 or fd00:96::/108, without bits beyond its prefix`,
    );
  const prefix = shortestPrefix[found.network.length] ?? 0;
  const isTooWide = Number(given.split('/')[1]) < prefix;
  return isTooWide ? report(tree, `${quoted(given)} is wider than /${prefix}`) : found;
};

/** A range or a single address, none of which is special. */
export const addresses: Read<IpRange> = (tree, report) => {
  const bytes = tree.kind === 'text' ? parseIpAddress(tree.text) : undefined;
  const single = bytes && { network: bytes, mask: bytes.map(() => 0xff) };
  const found = single ?? range(tree, report);
  if (!found || tree.kind !== 'text') return undefined;
  const special = specialRangeWithin(found);
  return special === undefined ? found : report(tree, `${quoted(tree.text)} holds ${special}`);
};
