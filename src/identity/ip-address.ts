/** Four or sixteen bytes of an IP address in text, or undefined when it is none. Zones (`%eth0`) are refused. */
export function parseIpAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Without patterns: each address of a request is read several times. */
function parseIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let index = 0;
  /** Of the part that is read; undefined: it has not begun. */
  let value: number | undefined;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (text[at] === '.' && value !== undefined && index < 3) {
      bytes[index++] = value;
      value = undefined;
      // A leading zero is refused: some readers take 010 as eight.
    } else if (digit >= 0 && digit <= 9 && value !== 0) {
      value = (value ?? 0) * 10 + digit;
      if (value > 255) return undefined;
    } else return undefined;
  }
  if (index < 3 || value === undefined) return undefined;
  bytes[3] = value;
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, index) => {
    if (half === '') return [];
    // A dotted IPv4 tail belongs at the very end (RFC 4291 2.2).
    return index < halves.length - 1 && half.includes('.') ? undefined : hextets(half);
  });
  if (!head || (halves.length === 2 && !tail)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...Array<number>(missing).fill(0), ...(tail ?? [])];
  return Uint8Array.from(all.flatMap((each) => [each >> 8, each & 0xff]));
}

function hextets(text: string): number[] | undefined {
  const parts = text.split(':');
  const last = parts.at(-1) ?? '';
  const dotted = last.includes('.') ? parseIpv4(last) : undefined;
  if (last.includes('.') && !dotted) return undefined;
  const plain = dotted ? parts.slice(0, -1) : parts;
  if (plain.some((part) => !/^[0-9a-fA-F]{1,4}$/.test(part))) return undefined;
  const numbers = plain.map((part) => parseInt(part, 16));
  if (dotted) {
    const [a = 0, b = 0, c = 0, d = 0] = dotted;
    numbers.push(a * 256 + b, c * 256 + d);
  }
  return numbers;
}

/** Canonical text of four or sixteen bytes (RFC 5952: lower case, the longest run of zeros as `::`). */
export function formatIpAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  const runs = [...groups.join(':').matchAll(/(?<![0-9a-f])0(:0)+(?![0-9a-f])/g)];
  const longest = runs.reduce<RegExpExecArray | undefined>(
    (best, run) => (best && best[0].length >= run[0].length ? best : run),
    undefined,
  );
  if (!longest) return groups.join(':');
  const text = groups.join(':');
  const before = text.slice(0, longest.index).replace(/:$/, '');
  const after = text.slice(longest.index + longest[0].length).replace(/^:/, '');
  return `${before}::${after}`;
}

/** Whether sixteen bytes are an IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`), which readers disagree about. */
export function isIpv4Mapped(bytes: Uint8Array): boolean {
  return (
    bytes.length === 16 &&
    bytes.subarray(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 0xff &&
    bytes[11] === 0xff
  );
}

/** The canonical text of an address, or why it cannot be asked for. */
export function readIpAddress(
  text: string,
): { readonly address: string } | { readonly problem: string } {
  const bytes = parseIpAddress(text);
  if (!bytes) return { problem: 'it is not an IPv4 or IPv6 address' };
  if (isIpv4Mapped(bytes))
    return { problem: `write it as IPv4: ${formatIpAddress(bytes.subarray(12))}` };
  return { address: formatIpAddress(bytes) };
}
