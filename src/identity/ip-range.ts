import { formatIpAddress, isIpv4Mapped, parseIpAddress } from './ip-address.ts';

/** All addresses that equal `network` where `mask` has ones. Both have four bytes, or both have sixteen. */
export interface IpRange {
  readonly network: Uint8Array;
  readonly mask: Uint8Array;
}

/**
 * The range of a CIDR text (`10.0.0.0/8`, `fc00::/7`), or undefined when it is none. A network with
 * bits beyond its prefix is refused (`10.0.0.1/8`): whoever writes that means another range, or one address.
 */
export function parseIpRange(text: string): IpRange | undefined {
  const [, address = '', digits = ''] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const network = parseIpAddress(address);
  const prefixBits = Number(digits);
  if (!network || isIpv4Mapped(network) || prefixBits > network.length * 8) return undefined;
  const mask = maskOf(prefixBits, network.length);
  const hasHostBits = network.some((byte, index) => (byte & ~(mask[index] ?? 0)) !== 0);
  return hasHostBits ? undefined : { network, mask };
}

/** The CIDR text of a range with a prefix mask. */
export function formatIpRange({ network, mask }: IpRange): string {
  return `${formatIpAddress(network)}/${onesIn(mask)}`;
}

/** Whether an address of four or sixteen bytes is in the range. IPv4 ranges hold IPv4 addresses alone, IPv6 ranges IPv6 ones. */
export function ipRangeContains({ network, mask }: IpRange, address: Uint8Array): boolean {
  if (address.length !== network.length) return false;
  return address.every(
    (byte, index) => ((byte ^ (network[index] ?? 0)) & (mask[index] ?? 0)) === 0,
  );
}

/** Whether some address is in both ranges. Both have prefix masks: then one of them holds the other, or they are apart. */
export function ipRangesMeet(one: IpRange, other: IpRange): boolean {
  return ipRangeContains(one, other.network) || ipRangeContains(other, one.network);
}

/** Whether the mask is ones, then zeros (RFC 4632), so that CIDR can write it. */
export function isPrefixMask(mask: Uint8Array): boolean {
  return Buffer.compare(mask, maskOf(onesIn(mask), mask.length)) === 0;
}

function maskOf(prefixBits: number, lengthBytes: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, index) => {
    const ones = Math.min(Math.max(prefixBits - 8 * index, 0), 8);
    return 0x100 - (1 << (8 - ones));
  });
}

function onesIn(mask: Uint8Array): number {
  return mask.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);
}
