export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
}

/** One PEM block (RFC 7468: base64 in lines of 64), with a line feed at its end. */
export function encodePem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/**
 * Every PEM block of the text, in order; text outside the blocks is ignored (Kubernetes allows it in
 * chains and bundles). Throws an Error naming the block whose base64 or end line is wrong.
 */
export function decodePem(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  const begin = /^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?$/gm;
  for (let found = begin.exec(text); found; found = begin.exec(text)) {
    const label = found[1] ?? '';
    const end = text.indexOf(`-----END ${label}-----`, begin.lastIndex);
    if (end < 0) throw new Error(`PEM block ${blocks.length + 1} (${label}) has no end line`);
    const body = text.slice(begin.lastIndex, end).replaceAll(/\s/g, '');
    if (body === '' || body.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(body))
      throw new Error(`PEM block ${blocks.length + 1} (${label}) is not plain base64`);
    blocks.push({ label, der: Buffer.from(body, 'base64') });
    begin.lastIndex = end;
  }
  return blocks;
}
