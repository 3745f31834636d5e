import { sign, type KeyObject } from 'node:crypto';
import * as der from '../../src/pki/der.ts';
import { distinguishedName } from '../../src/pki/distinguished-name.ts';
import {
  encodeExtension,
  extensionOids,
  subjectAltName,
  type Extension,
} from '../../src/pki/extensions.ts';
import { type KeyPair } from '../../src/pki/key-pair.ts';
import { signatureIdentifier, signDer } from '../../src/pki/signature.ts';
import { dnsNames } from './certificate-builders.ts';
import { elementsOf, encodeTlv, parseTlv } from './tlv.ts';

/** Certification requests that no honest program would make, each well signed. */
export interface RequestParts {
  readonly version?: number;
  readonly subject?: der.Der;
  readonly attributes?: readonly der.Der[];
  readonly algorithm?: (key: KeyObject) => der.Der;
  /** Instead of the one that fits the curve. */
  readonly ecdsaHash?: keyof typeof ecdsaOids;
  /** At the end of CertificationRequestInfo, and of the whole. */
  readonly moreInside?: der.Der;
  readonly moreOutside?: der.Der;
  /** A primitive element's content, and what stands in its place before it is signed; hex. */
  readonly replace?: readonly [string, string];
}

/** Asks for `web.shop.svc`, unless its parts say otherwise. */
export function craftedRequest(parts: RequestParts, { privateKey, publicKeyDer }: KeyPair): Buffer {
  const info = der.sequence(
    der.integer(Uint8Array.of(parts.version ?? 0)),
    parts.subject ?? distinguishedName(),
    der.decodeDer(publicKeyDer),
    der.tagged(0, ...(parts.attributes ?? [asking(usualNames)])),
    ...(parts.moreInside ? [parts.moreInside] : []),
  );
  const bytes = replaced(der.encodeDer(info), parts.replace);
  const { ecdsaHash, algorithm = signatureIdentifier } = parts;
  const [identifier, signature] = ecdsaHash
    ? [der.sequence(der.oid(ecdsaOids[ecdsaHash])), sign(ecdsaHash, bytes, privateKey)]
    : [algorithm(privateKey), signDer(bytes, privateKey)];
  const rest = [
    identifier,
    der.bitString(signature),
    ...(parts.moreOutside ? [parts.moreOutside] : []),
  ];
  return encodeTlv({ tag: 0x30, content: Buffer.concat([bytes, ...rest.map(der.encodeDer)]) });
}

const ecdsaOids = {
  SHA1: '1.2.840.10045.4.1',
  SHA256: '1.2.840.10045.4.3.2',
  SHA384: '1.2.840.10045.4.3.3',
  SHA512: '1.2.840.10045.4.3.4',
} as const;

function replaced(info: Buffer, [from, to]: readonly string[] = []): Buffer {
  if (from === undefined || to === undefined) return info;
  const tree = parseTlv(info);
  const found = elementsOf(tree).find(
    ({ content }) => Buffer.isBuffer(content) && content.toString('hex') === from,
  );
  if (!found) throw new Error(`no element has content ${from}`);
  found.content = Buffer.from(to, 'hex');
  return encodeTlv(tree);
}

export const usualNames = subjectAltName(dnsNames('web.shop.svc'), true);

export const extensionRequest = '1.2.840.113549.1.9.14';

export function attribute(type: string, ...values: readonly der.Der[]): der.Der {
  return der.sequence(der.oid(type), der.setOf(...values));
}

/** The extensionRequest attribute with these extensions. */
export function asking(...extensions: readonly Extension[]): der.Der {
  return attribute(extensionRequest, der.sequence(...extensions.map(encodeExtension)));
}

/** A subjectAltName of any GeneralNames. */
export function altName(...nodes: readonly der.Der[]): Extension {
  const value = der.encodeDer(der.sequence(...nodes));
  return { oid: extensionOids.subjectAltName, critical: true, value };
}

/** A Name of attributes, each `OID, value`. */
export function nameOf(...attributes: readonly (readonly [string, der.Der])[]): der.Der {
  return der.sequence(
    ...attributes.map(([type, value]) => der.setOf(der.sequence(der.oid(type), value))),
  );
}
