export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
}

/** One PEM block (RFC 7468: base64 in lines of 64), with a line feed at its end. */
export function encodePem(label: string, der: Uint8Array): string {
  const bytes = Buffer.isBuffer(der) ? der : Buffer.from(der);
  const base64 = bytes.toString('base64');
  let text = `-----BEGIN ${label}-----\n`;
  for (let at = 0; at < base64.length; at += 64) text += `${base64.slice(at, at + 64)}\n`;
  return `${text}-----END ${label}-----\n`;
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

/**
 * The bytes of a text that is one PEM block with this label and nothing else but blank lines before and
 * white space after it: no headers (RFC 1421), canonical base64, lines that hold nothing besides. Readers disagree about
 * everything laxer. Throws an Error that says what is wrong, in words that fit after "the certification request: ".
 */
export function decodeSinglePem(text: string, label: string): Buffer {
  // Also no byte order mark and no blank that is not ASCII, which trim() would take away.
  if (/[^\t\n\r -~]/.test(text))
    throw new Error('its PEM has characters other than printable ASCII');
  // Go finds a block only where a line begins.
  const lines = text
    .replace(/^\s*\n/, '')
    .trimEnd()
    .split(/\r?\n/);
  const begin = lines.findIndex((line) => line.startsWith('-----BEGIN '));
  if (begin !== 0)
    throw new Error(begin < 0 ? 'it is not PEM' : 'its PEM has text before the block');
  if (lines[0] !== `-----BEGIN ${label}-----`)
    throw new Error(`its PEM does not begin with -----BEGIN ${label}-----`);
  const end = lines.indexOf(`-----END ${label}-----`);
  if (end < 0) throw new Error(`its PEM has no end line -----END ${label}-----`);
  if (end < lines.length - 1) throw new Error('its PEM has something after the block');
  const body = lines.slice(1, -1);
  if (body.some((line) => line.includes(':'))) throw new Error('its PEM has headers');
  if (body.length === 0 || body.includes('')) throw new Error('its PEM has an empty line');
  const base64 = body.join('');
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') !== base64) throw new Error('its PEM is not canonical base64');
  return bytes;
}
