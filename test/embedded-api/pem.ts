export interface FoundBlock {
  readonly label: string;
  readonly hasHeaders: boolean;
  readonly der: Buffer;
}

/**
 * The PEM blocks that Go's encoding/pem would find: a broken block is skipped, not an error. Written
 * apart from the product's own reader, which is stricter.
 */
export function findPemBlocks(bytes: Buffer): readonly FoundBlock[] {
  const block =
    /(?<=^|\n)-----BEGIN ([^\n]*?)-----[ \t\r]*\n((?:[^\n:]+:[^\n]*\n)*)([A-Za-z0-9+/=\s]*?)(?<=\n)-----END \1-----[ \t\r]*(?=\n|$)/g;
  return [...bytes.toString('latin1').matchAll(block)].flatMap(([, label, headers, body]) => {
    const packed = (body ?? '').replaceAll(/\s/g, '');
    if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed)) return [];
    const der = Buffer.from(packed, 'base64');
    return [{ label: label ?? '', hasHeaders: headers !== '', der }];
  });
}
