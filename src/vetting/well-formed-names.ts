import { dnsNameProblem } from '../identity/dns-name.ts';
import { isIpv4Mapped, parseIpAddress } from '../identity/ip-address.ts';
import { type SubjectNames } from '../identity/subject-names.ts';
import { type Finding, never } from './finding.ts';

/** The names that readers of certificates would refuse, or read as different names. */
export function namesNotWellFormed(names: SubjectNames): readonly Finding[] {
  const problems: readonly (readonly [readonly string[], (name: string) => string | undefined])[] =
    [
      [names.dnsNames, dnsNameProblem],
      [names.ipAddresses, addressProblem],
      [names.uris, uriProblem],
    ];
  return problems.flatMap(([values, problemOf]) =>
    values.flatMap((value) => {
      const problem = problemOf(value);
      return problem === undefined ? [] : [never(problem, value)];
    }),
  );
}

function addressProblem(address: string): string | undefined {
  const bytes = parseIpAddress(address);
  return bytes && isIpv4Mapped(bytes) ? 'it is an IPv4 address written as IPv6' : undefined;
}

/**
 * RFC 3986: a scheme, `//` and a host name in lower case or neither, then only characters that a URI may
 * hold. No user, no port, no address: readers disagree about where the host of such a name ends.
 */
function uriProblem(uri: string): string | undefined {
  const [, host, rest] = /^[a-z][a-z0-9+.-]*:(?:\/\/([^/?#]*))?(.*)$/s.exec(uri) ?? [];
  if (rest === undefined) return 'it is no URI with a scheme in lower case';
  if (host !== undefined && dnsNameProblem(host) !== undefined)
    return 'it is a URI whose host is no DNS name in lower case';
  if (host === undefined && rest === '') return 'it is a scheme alone';
  return /^(?:[\w.~!$&'()*+,;=:@/?#-]|%[0-9A-F]{2})*$/.test(rest)
    ? undefined
    : 'it has characters that a URI does not have';
}
