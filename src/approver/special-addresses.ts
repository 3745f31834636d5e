import { isIpv4Mapped } from '../identity/ip-address.ts';
import { type IpRange, ipRangeContains, ipRangesMeet, parseIpRange } from '../identity/ip-range.ts';

/** Ranges that are no pod's own, whatever its status says (RFC 6890, 4291). */
const specialRanges = (
  [
    ['0.0.0.0/8', 'an unspecified address'],
    ['127.0.0.0/8', 'a loopback address'],
    ['169.254.0.0/16', 'a link-local address'],
    ['224.0.0.0/4', 'a multicast address'],
    ['240.0.0.0/4', 'a reserved or broadcast address'],
    ['::/128', 'an unspecified address'],
    ['::1/128', 'a loopback address'],
    ['fe80::/10', 'a link-local address'],
    ['ff00::/8', 'a multicast address'],
  ] as const
).flatMap(([text, what]) => {
  const range = parseIpRange(text);
  return range ? [{ range, what }] : [];
});

/** What kind of special address it is, in words that fit after "it is"; undefined for an ordinary one. */
export function specialRangeOf(bytes: Uint8Array): string | undefined {
  if (isIpv4Mapped(bytes)) return 'an IPv4 address written as IPv6';
  return specialRanges.find(({ range }) => ipRangeContains(range, bytes))?.what;
}

/** What kind of special address is in the range; undefined when all of them are ordinary ones. */
export function specialRangeWithin(range: IpRange): string | undefined {
  return (
    specialRangeOf(range.network) ??
    specialRanges.find((special) => ipRangesMeet(special.range, range))?.what
  );
}
