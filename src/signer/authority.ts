import { parseIpRange, type IpRange } from '../identity/ip-range.ts';
import {
  certificateFromDer,
  certificatesFromPem,
  certificatesPem,
  type Certificate,
} from '../pki/certificate.ts';
import * as der from '../pki/der.ts';
import { extensionOids, keyUsage, type Extension } from '../pki/extensions.ts';
import {
  issueCertificate,
  issuerFrom,
  selfIssuer,
  type CertificateTemplate,
} from '../pki/issue-certificate.ts';
import { keyPairFromPem, type KeyPair } from '../pki/key-pair.ts';
import { encodePem } from '../pki/pem.ts';
import { nameConstraints, noSubtrees } from '../pki/name-constraints.ts';

/** A CA that signs. */
export interface Authority {
  readonly certificate: Certificate;
  /** Signs a template; the leaf, DER. */
  sign(template: CertificateTemplate): Buffer;
  /** A leaf of its own (DER) as it is handed out: then the CA itself and those above it, but no root; PEM. */
  chainOf(leaf: Buffer): string;
  /** Both at once. */
  issue(template: CertificateTemplate): string;
}

/** What a self-made root may vouch for. */
export interface AuthorityScope {
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** CIDR texts of the addresses, the private ranges by default; an empty list: no address at all. */
  readonly ipRanges?: readonly string[] | undefined;
}

export interface RootRequest extends AuthorityScope {
  readonly commonName: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** 16 random bytes. */
  readonly serial: Uint8Array;
}

/**
 * A self-signed root whose name constraints keep it inside the cluster (RFC 5280 4.2.1.10): names
 * under `svc` and the cluster domain, identity URIs of the trust domain, private addresses. Whoever
 * trusts it cannot be fooled with `google.com`. Returns its certificate, PEM. Throws an Error naming
 * the text that is not a range of addresses.
 */
export function makeRoot(request: RootRequest, keyPair: KeyPair): string {
  const template: CertificateTemplate = {
    commonName: request.commonName,
    validity: { notBefore: request.notBefore, notAfter: request.notAfter },
    serial: Uint8Array.from(request.serial, (byte, index) =>
      index === 0 ? (byte & 0x7f) | 0x40 : byte,
    ),
    publicKeyDer: keyPair.publicKeyDer,
    extensions: [
      isCa,
      keyUsage(['digital signature', 'cert sign', 'crl sign']),
      scopeConstraints(request),
    ].filter((extension) => extension !== undefined),
  };
  const bytes = issueCertificate(template, selfIssuer(template, keyPair.privateKey));
  return certificatesPem([certificateFromDer(bytes)]);
}

/**
 * The authority of a CA's key and certificate, both PEM; certificates of CAs above it may follow its own.
 * Throws an Error when they do not fit.
 */
export function authorityOf(certificatePem: string, keyPem: string): Authority {
  const certificates = certificatesFromPem(certificatePem);
  const [certificate] = certificates;
  if (!certificate) throw new Error('the CA has no certificate');
  if (!certificate.x509.ca) throw new Error('its certificate is not that of a CA');
  const keyPair = keyPairFromPem(keyPem);
  if (!keyPair.publicKeyDer.equals(certificate.publicKeyDer))
    throw new Error('its key does not belong to its certificate');
  return authorityFrom([certificate, ...certificates.slice(1)], keyPair);
}

/** The same of what was read and checked: the CA, then those above it; roots among them are not handed out. */
export function authorityFrom(
  path: readonly [Certificate, ...Certificate[]],
  { privateKey }: KeyPair,
): Authority {
  const [certificate] = path;
  const issuer = issuerFrom(certificate, privateKey);
  const above = certificatesPem(path.filter((each) => !isSelfSigned(each)));
  const sign = (template: CertificateTemplate): Buffer => issueCertificate(template, issuer);
  const chainOf = (leaf: Buffer): string => encodePem('CERTIFICATE', leaf) + above;
  return { certificate, sign, chainOf, issue: (template) => chainOf(sign(template)) };
}

/** Whether it is a root: signed with its own key. One that only bears its issuer's name is none. */
export function isSelfSigned({ x509 }: Certificate): boolean {
  return x509.subject === x509.issuer && x509.verify(x509.publicKey);
}

/** basicConstraints CA true with path length 0: it signs leaves alone. */
const isCa: Extension = {
  oid: extensionOids.basicConstraints,
  critical: true,
  value: der.encodeDer(der.sequence(der.boolean(true), der.integer(Uint8Array.of(0)))),
};

/** RFC 1918, RFC 6598, RFC 4193: where pods and Services have their addresses. */
const privateRanges = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  'fc00::/7',
];
/** No subtree would mean that every address is permitted. */
const allRanges = ['0.0.0.0/0', '::/0'];

function scopeConstraints(scope: AuthorityScope): Extension {
  const ipRanges = scope.ipRanges ?? privateRanges;
  return nameConstraints({
    permitted: {
      dns: ['svc', scope.clusterDomain],
      ip: ipRanges.map(rangeOf),
      uri: [scope.trustDomain],
    },
    excluded: { ...noSubtrees, ip: ipRanges.length > 0 ? [] : allRanges.map(rangeOf) },
  });
}

function rangeOf(text: string): IpRange {
  const range = parseIpRange(text);
  if (!range) throw new Error(`${JSON.stringify(text)} is not a range of addresses`);
  return range;
}
