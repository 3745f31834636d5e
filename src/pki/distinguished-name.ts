import * as der from './der.ts';

const commonNameOid = '2.5.4.3';

/** A Name (RFC 5280 4.1.2.4) of one common name, or the empty one. */
export function distinguishedName(commonName?: string): der.Der {
  if (commonName === undefined) return der.sequence();
  return der.sequence(der.setOf(der.sequence(der.oid(commonNameOid), der.utf8String(commonName))));
}

/** The common name, or undefined for the empty Name. Throws an Error when anything else stands in it. */
export function readDistinguishedName(node: der.Der): string | undefined {
  const relative = der.membersOf(node, 'sequence', 'subject');
  if (relative.length === 0) return undefined;
  const [attribute, ...more] = der.membersOf(relative[0], 'set', 'subject');
  const [type, value, ...rest] = der.membersOf(attribute, 'sequence', 'subject attribute');
  const isCommonName = der.oidOf(type, 'subject attribute type') === commonNameOid;
  if (relative.length > 1 || more.length > 0 || rest.length > 0 || !isCommonName)
    throw new Error('its subject holds more than a common name');
  return der.textOf(value, 'common name');
}
