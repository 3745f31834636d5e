const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** Whether the text is one DNS label (RFC 1123): lower-case letters, digits, inner hyphens, 1 to 63. */
export function isDnsLabel(text: string): boolean {
  return text.length <= 63 && label.test(text);
}

/**
 * Why the text cannot be asked for as a DNS name, or undefined when it can. Lower case is expected;
 * a leading `*.` is well formed (whether a wildcard is allowed is the approver's policy).
 */
export function dnsNameProblem(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name.length > 253) return `it has ${name.length} characters, 253 is the limit of a DNS name`;
  if (name.endsWith('.')) return 'it ends with a dot; certificates hold names without it';
  if (/^[0-9.]+$/.test(name) || name.includes(':')) return 'it is an address, not a name';
  const labels = name.replace(/^\*\./, '').split('.');
  const wrong = labels.find((each) => !isDnsLabel(each));
  if (wrong === undefined) return undefined;
  if (wrong === '') return 'it has an empty label (two dots in a row, or a dot at the start)';
  if (wrong.length > 63) return `label ${JSON.stringify(wrong)} is longer than 63 characters`;
  return `label ${JSON.stringify(wrong)} is not made of letters, digits and inner hyphens`;
}
