import { parseIpRange, type IpRange } from '../identity/ip-range.ts';
import { certificatesFromPem, certificatesPem, type Certificate } from '../pki/certificate.ts';
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

/** What a self-made CA may vouch for. */
export interface AuthorityScope {
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** CIDR texts of the addresses, the private ranges by default; an empty list: no address at all. */
  readonly ipRanges?: readonly string[] | undefined;
}

export interface CaRequest extends AuthorityScope {
  readonly commonName: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** 16 random bytes. */
  readonly serial: Uint8Array;
  /** How many CAs may stand below it; 0 by default: it signs leaves alone. */
  readonly pathLength?: 0 | 1;
}

/**
 * A self-signed root whose name constraints keep it inside the cluster (RFC 5280 4.2.1.10): names
 * under `svc` and the cluster domain, identity URIs of the trust domain, private addresses. Whoever
 * trusts it cannot be fooled with `google.com`; Java, which does not look at a root's own constraints,
 * only by a CA below it. Returns its certificate, PEM. Throws an Error naming the text that is not a
 * range of addresses.
 */
export function makeRoot(request: CaRequest, keyPair: KeyPair): string {
  const template = caTemplate(request, keyPair);
  return encodePem(
    'CERTIFICATE',
    issueCertificate(template, selfIssuer(template, keyPair.privateKey)),
  );
}

/** A CA below the root, constrained in the same way; its certificate, PEM. */
export function makeIntermediate(request: CaRequest, keyPair: KeyPair, root: Authority): string {
  return encodePem('CERTIFICATE', root.sign(caTemplate(request, keyPair)));
}

function caTemplate(request: CaRequest, { publicKeyDer }: KeyPair): CertificateTemplate {
  const { commonName, notBefore, notAfter, serial, pathLength = 0 } = request;
  return {
    commonName,
    validity: { notBefore, notAfter },
    serial: Uint8Array.from(serial, (byte, index) => (index === 0 ? (byte & 0x7f) | 0x40 : byte)),
    publicKeyDer,
    extensions: [
      isCa(pathLength),
      keyUsage(['digital signature', 'cert sign', 'crl sign']),
      scopeConstraints(request),
    ].filter((extension) => extension !== undefined),
  };
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

function isCa(pathLength: number): Extension {
  const length = der.integer(Uint8Array.of(pathLength));
  return {
    oid: extensionOids.basicConstraints,
    critical: true,
    value: der.encodeDer(der.sequence(der.boolean(true), length)),
  };
}

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
