import { isIpv4Mapped, parseIpAddress } from '../identity/ip-address.ts';
import {
  formatIpRange,
  ipRangeContains,
  isPrefixMask,
  type IpRange,
} from '../identity/ip-range.ts';
import { type SubjectNames } from '../identity/subject-names.ts';
import { extensionsOf, oneLine, type Certificate } from './certificate.ts';
import * as der from './der.ts';
import { extensionOids, type Extension } from './extensions.ts';

/** Bases of names, by the kinds of name that we issue. */
export interface Subtrees {
  /** Each covers the name itself and all below it; with a leading dot only what is below; an empty one covers every name. */
  readonly dns: readonly string[];
  readonly ip: readonly IpRange[];
  /** Hosts: each covers that host alone; with a leading dot only what is below. */
  readonly uri: readonly string[];
}

/** What a CA may vouch for (RFC 5280 4.2.1.10). A kind without a permitted subtree is permitted, unless excluded. */
export interface NameConstraints {
  readonly permitted: Subtrees;
  readonly excluded: Subtrees;
  /** Kinds that are constrained too and that we neither issue nor judge, as RFC 5280 calls them (`directoryName`). */
  readonly otherKinds: readonly string[];
}

export const noSubtrees: Subtrees = { dns: [], ip: [], uri: [] };

/** The names of GeneralName's choices, by tag (RFC 5280 4.2.1.6). */
const kindsByTag = [
  'otherName',
  'rfc822Name',
  'dNSName',
  'x400Address',
  'directoryName',
  'ediPartyName',
  'uniformResourceIdentifier',
  'iPAddress',
  'registeredID',
] as const;
const [dnsTag, uriTag, ipTag] = [2, 6, 7];

/** The extension (critical) that says so. Throws an Error when nothing is constrained: RFC 5280 wants one subtree. */
export function nameConstraints(
  constraints: Pick<NameConstraints, 'permitted' | 'excluded'>,
): Extension {
  const lists = [constraints.permitted, constraints.excluded].flatMap((subtrees, tag) => {
    const bases = [
      ...subtrees.dns.map((base) => der.taggedBytes(dnsTag, Buffer.from(base, 'latin1'))),
      ...subtrees.uri.map((base) => der.taggedBytes(uriTag, Buffer.from(base, 'latin1'))),
      ...subtrees.ip.map(({ network, mask }) =>
        der.taggedBytes(ipTag, Buffer.concat([network, mask])),
      ),
    ];
    return bases.length > 0 ? [der.tagged(tag, ...bases.map((base) => der.sequence(base)))] : [];
  });
  if (lists.length === 0) throw new Error('name constraints without a subtree');
  const value = der.encodeDer(der.sequence(...lists));
  return { oid: extensionOids.nameConstraints, critical: true, value };
}

/** The certificate's name constraints, if it has any. Throws an Error that says what in them cannot be read. */
export function nameConstraintsOf(certificate: Certificate): NameConstraints | undefined {
  const [extension, ...more] = extensionsOf(certificate).filter(
    ({ oid }) => oid === extensionOids.nameConstraints,
  );
  if (!extension) return undefined;
  if (more.length > 0) throw new Error('it has name constraints twice');
  const lists = [...der.membersOf(der.decodeDer(extension.value), 'sequence', 'nameConstraints')];
  if (lists.length === 0) throw new Error('nameConstraints is empty');
  const otherKinds = new Set<string>();
  const [permitted, excluded] = ['permitted subtrees', 'excluded subtrees'].map((what, tag) =>
    der.isTagged(lists[0], tag)
      ? readSubtrees(der.taggedMembers(lists.shift(), tag, what), what, otherKinds)
      : noSubtrees,
  );
  if (!permitted || !excluded || lists.length > 0)
    throw new Error('nameConstraints has other members than permitted and excluded subtrees');
  return { permitted, excluded, otherKinds: [...otherKinds] };
}

/** Those of a whole chain, each once. Throws an Error that names the certificate whose constraints cannot be read. */
export function chainConstraints(chain: readonly Certificate[]): readonly NameConstraints[] {
  const all = chain.flatMap((certificate) => {
    try {
      return nameConstraintsOf(certificate) ?? [];
    } catch (error) {
      const name = JSON.stringify(oneLine(certificate.x509.subject));
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`the name constraints of ${name} cannot be read: ${why}`, { cause: error });
    }
  });
  return [...new Map(all.map((each) => [JSON.stringify(each), each])).values()];
}

function readSubtrees(
  subtrees: readonly der.Der[],
  what: string,
  otherKinds: Set<string>,
): Subtrees {
  if (subtrees.length === 0) throw new Error(`its list of ${what} is empty`);
  const dns: string[] = [];
  const ip: IpRange[] = [];
  const uri: string[] = [];
  for (const subtree of subtrees) {
    const [base, ...distances] = der.membersOf(subtree, 'sequence', 'subtree');
    // RFC 5280 forbids a maximum, and any minimum but the default, which DER leaves out.
    if (!base || distances.length > 0)
      throw new Error(`one of its ${what} is more or less than a base`);
    const tag = der.tagOf(base);
    if (tag === dnsTag) dns.push(readDomain(der.taggedContent(base, 'dNSName')));
    else if (tag === uriTag) uri.push(readHost(der.taggedContent(base, 'URI')));
    else if (tag === ipTag) ip.push(readRange(der.taggedContent(base, 'iPAddress')));
    else otherKinds.add(kindsByTag[tag ?? -1] ?? 'unknown');
  }
  return { dns, ip, uri };
}

/** Dot-separated labels of printable ASCII: what every reader compares alike. Clients allow underscores and more. */
function isComparable(name: string): boolean {
  return /^[!-~]+$/.test(`.${name}.`) && !`.${name}.`.includes('..');
}

function readDomain(bytes: Buffer): string {
  const base = bytes.toString('latin1');
  if (base !== '' && !isComparable(base.replace(/^\./, '')))
    throw new Error(`its name constraint ${JSON.stringify(base)} is not a domain`);
  return base;
}

function readHost(bytes: Buffer): string {
  const base = readDomain(bytes);
  if (isAddress(base)) throw new Error(`its name constraint ${JSON.stringify(base)} is not a host`);
  return base;
}

function readRange(bytes: Buffer): IpRange {
  const half = bytes.length / 2;
  const range = { network: bytes.subarray(0, half), mask: bytes.subarray(half) };
  if ((half !== 4 && half !== 16) || !isPrefixMask(range.mask))
    throw new Error(`its name constraint ${bytes.toString('hex')} is not a range of addresses`);
  return range;
}

export interface NameNotPermitted {
  readonly kind: 'dns' | 'ip' | 'uri';
  readonly value: string;
  /** What stands against it, in words that fit after "the CA ". */
  readonly constraint: string;
}

/**
 * The names that some CA of the chain does not permit (RFC 5280 6.1.3 (b) and (c)). A certificate must
 * please every client: where they disagree about what a base covers, the strictest is followed, and a
 * name that one of them cannot compare at all is permitted by no constrained CA, as in Go.
 */
export function namesNotPermitted(
  chain: readonly NameConstraints[],
  names: SubjectNames,
): readonly NameNotPermitted[] {
  const found: NameNotPermitted[] = [];
  const check = (kind: NameNotPermitted['kind'], values: readonly string[]): void => {
    for (const value of values)
      for (const constraints of chain) {
        const constraint = violation({ kind, value }, constraints);
        if (constraint === undefined) continue;
        found.push({ kind, value, constraint });
        break;
      }
  };
  check('dns', names.dnsNames);
  check('ip', names.ipAddresses);
  check('uri', names.uris);
  return found;
}

function violation(
  { kind, value }: Pick<NameNotPermitted, 'kind' | 'value'>,
  { permitted, excluded }: NameConstraints,
): string | undefined {
  switch (kind) {
    case 'dns':
      return isComparable(value)
        ? violationOf([permitted.dns, excluded.dns], dnsTests(value.toLowerCase()))
        : 'permits only well-formed DNS names';
    case 'ip': {
      const address = parseIpAddress(value);
      return address && !isIpv4Mapped(address)
        ? violationOf([permitted.ip, excluded.ip], ipTests(address))
        : 'permits only plain IPv4 and IPv6 addresses';
    }
    case 'uri': {
      const host = hostOf(value);
      return host === undefined
        ? 'permits only URIs with a plain host name'
        : violationOf([permitted.uri, excluded.uri], uriTests(host.toLowerCase()));
    }
  }
}

/** How one name relates to a base. */
interface Tests<Base> {
  /** Whether a permitted base covers all that the name stands for. */
  readonly isWithin: (base: Base) => boolean;
  /** Whether an excluded base covers any of it. */
  readonly meets: (base: Base) => boolean;
}

function violationOf<Base extends string | IpRange>(
  [permitted, excluded]: readonly [readonly Base[], readonly Base[]],
  { isWithin, meets }: Tests<Base>,
): string | undefined {
  if (permitted.length > 0 && !permitted.some(isWithin)) return `permits only ${listed(permitted)}`;
  const met = excluded.filter(meets);
  return met.length > 0 ? `excludes ${listed(met)}` : undefined;
}

function listed(bases: readonly (string | IpRange)[]): string {
  const texts = bases.map((base) =>
    typeof base === 'string' ? JSON.stringify(base) : formatIpRange(base),
  );
  const shown = texts.slice(0, 5).join(', ');
  return texts.length > 5 ? `${shown}, and ${texts.length - 5} more` : shown;
}

function dnsTests(name: string): Tests<string> {
  const covers = (base: string): boolean => isBelowOrAt(base.toLowerCase(), name);
  // A wildcard meets an excluded base that it could stand for.
  const parent = name.startsWith('*') ? parentOf(name) : undefined;
  return {
    isWithin: covers,
    meets: (base) => covers(base) || parentOf(base.toLowerCase()) === parent,
  };
}

function ipTests(address: Uint8Array): Tests<IpRange> {
  const isWithin = (range: IpRange): boolean => ipRangeContains(range, address);
  return { isWithin, meets: isWithin };
}

function uriTests(host: string): Tests<string> {
  return {
    isWithin: (base) =>
      base.startsWith('.') ? isBelowOrAt(base.toLowerCase(), host) : base.toLowerCase() === host,
    // RFC 5280 excludes the very host; Go all below it too.
    meets: (base) => isBelowOrAt(base.toLowerCase(), host),
  };
}

function isBelowOrAt(base: string, name: string): boolean {
  return base === '' || name === base || name.endsWith(base.startsWith('.') ? base : `.${base}`);
}

/** All from the first dot on. */
function parentOf(name: string): string {
  return /\..*/.exec(name)?.[0] ?? '';
}

/**
 * The host name of a URI; undefined when it has none or an address, and when readers would find
 * different ones: openssl 3.0 ends it at the first colon after the scheme, else at the first slash.
 */
function hostOf(uri: string): string | undefined {
  const pattern =
    /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::\d*(?:\/|$)|\/[^:]*$|$)/i;
  const host = pattern.exec(uri)?.[1];
  return host === undefined || isAddress(host) ? undefined : host;
}

function isAddress(host: string): boolean {
  return /^[0-9.]+$/.test(host) || parseIpAddress(host) !== undefined;
}
