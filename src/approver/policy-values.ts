import { dnsNameProblem, isDnsLabel } from '../identity/dns-name.ts';
import { parseIpAddress } from '../identity/ip-address.ts';
import { type IpRange, parseIpRange } from '../identity/ip-range.ts';
import { parseDurationMs } from '../runtime/duration.ts';
import { nearest } from '../runtime/nearest.ts';
import { specialRangeWithin } from './special-addresses.ts';
import { quoted, type Report, type Tree } from './yaml-tree.ts';

/** Readers of values of the policy file. Each reports what is wrong, and then gives undefined. */
export type Read<T> = (tree: Tree, report: Report) => T | undefined;

export interface Field<T> {
  readonly key: string;
  readonly read: Read<T>;
  /** Why it cannot be left out; undefined: it can. */
  readonly needed?: string;
}

/** The keys of a map, by the property that each becomes. */
export type Fields<T> = { readonly [Name in keyof T]-?: Field<Exclude<T[Name], undefined>> };

/** The members of a map that could be read. `elsewhere` holds keys that belong into another map, and says so. */
export function readFields<T>(
  tree: Tree,
  fields: Fields<T>,
  report: Report,
  elsewhere: ReadonlyMap<string, string> = new Map(),
): Partial<T> {
  if (tree.kind !== 'map') {
    report(tree, `${shown(tree)} is not a map of keys and values`);
    return {};
  }
  const byKey = Object.entries<Field<unknown>>(fields);
  const known = byKey.map(([, { key }]) => key);
  for (const [key, value] of tree.members)
    if (!known.includes(key))
      report(
        value,
        elsewhere.get(key) ?? `unknown key; did you mean ${quoted(nearest(key, known))}?`,
      );
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

export const flag: Read<boolean> = (tree, report) => {
  if (tree.kind === 'flag') return tree.flag;
  report(tree, `${shown(tree)} is neither true nor false`);
  return undefined;
};

/** `problem` says why a text is refused, in words that fit after it. */
export function text(problem: (text: string) => string | undefined): Read<string> {
  return (tree, report) => {
    const why = tree.kind === 'text' ? problem(tree.text) : whyNoText(tree);
    if (tree.kind === 'text' && why === undefined) return tree.text;
    report(tree, `${shown(tree)} ${why ?? ''}`);
    return undefined;
  };
}

function whyNoText({ kind }: Tree): string {
  return kind === 'number' || kind === 'flag' ? 'is no text; write it in quotes' : 'is no text';
}

export function listOf<T>(readMember: Read<T>): Read<readonly T[]> {
  return (tree, report) => {
    if (tree.kind === 'list')
      return tree.members.flatMap((member) => readMember(member, report) ?? []);
    report(tree, `${shown(tree)} is not a list; an empty list is written []`);
    return undefined;
  };
}

/** A list with a member at least; `why` says what is missing in an empty one. */
export function someOf<T>(readMember: Read<T>, why: string): Read<readonly T[]> {
  const readList = listOf(readMember);
  return (tree, report) => {
    if (tree.kind !== 'list' || tree.members.length > 0) return readList(tree, report);
    report(tree, `the list is empty: ${why}`);
    return undefined;
  };
}

export function oneOf<T extends string>(allowed: readonly T[]): Read<T> {
  const read = text((given) =>
    allowed.some((each) => each === given) ? undefined : `is none of ${allowed.join(', ')}`,
  );
  return (tree, report) => read(tree, report) as T | undefined;
}

export function wholeNumber(minimum: number, maximum: number): Read<number> {
  return (tree, report) => {
    const given = tree.kind === 'number' ? tree.number : NaN;
    if (Number.isInteger(given) && given >= minimum && given <= maximum) return given;
    report(tree, `${shown(tree)} is not a whole number from ${minimum} to ${maximum}`);
    return undefined;
  };
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
  return isDnsLabel(given.replaceAll('*', 'x'))
    ? undefined
    : 'is not the name of a namespace, nor a pattern of one like team-*';
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

const readRange = text((given) => {
  const found = parseIpRange(given);
  if (!found)
    return 'is not a range like 10.96.0.0/12 or fd00:96::/108, without bits beyond its prefix';
  const prefix = shortestPrefix[found.network.length] ?? 0;
  return Number(given.split('/')[1]) < prefix ? `is wider than /${prefix}` : undefined;
});

export const range: Read<IpRange> = (tree, report) => parseIpRange(readRange(tree, report) ?? '');

/** A range or a single address, none of which is special. */
export const addresses: Read<IpRange> = (tree, report) => {
  const bytes = tree.kind === 'text' ? parseIpAddress(tree.text) : undefined;
  const found = bytes ? { network: bytes, mask: bytes.map(() => 0xff) } : range(tree, report);
  const special = found && specialRangeWithin(found);
  if (special === undefined) return found;
  report(tree, `${shown(tree)} holds ${special}`);
  return undefined;
};
