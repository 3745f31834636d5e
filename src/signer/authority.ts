import { parseIpAddress } from '../identity/ip-address.ts';
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
import { keyPairFromPem, privateKeyPem, type KeyPair } from '../pki/key-pair.ts';

/** A CA that signs. */
export interface Authority {
  readonly certificate: Certificate;
  /** Signs a template; the chain, PEM: leaf, then the authority itself when it is an intermediate. */
  issue(template: CertificateTemplate): string;
}

/** What a self-made root may vouch for. */
export interface AuthorityScope {
  readonly clusterDomain: string;
  readonly trustDomain: string;
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
 * trusts it cannot be fooled with `google.com`. Returns its certificate, PEM.
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
      nameConstraints(request),
    ].filter((extension) => extension !== undefined),
  };
  const bytes = issueCertificate(template, selfIssuer(template, keyPair.privateKey));
  return certificatesPem([certificateFromDer(bytes)]);
}

/** The authority of a CA's certificate and key, both PEM. Throws an Error when they do not fit. */
export function authorityOf(certificatePem: string, keyPem: string): Authority {
  const [certificate] = certificatesFromPem(certificatePem);
  if (!certificate) throw new Error('the CA has no certificate');
  if (!certificate.x509.ca) throw new Error('its certificate is not that of a CA');
  const keyPair = keyPairFromPem(keyPem);
  if (!keyPair.publicKeyDer.equals(certificate.publicKeyDer))
    throw new Error('its key does not belong to its certificate');
  const issuer = issuerFrom(certificate, privateKeyPem(keyPair));
  const isRoot = certificate.x509.subject === certificate.x509.issuer;
  return {
    certificate,
    issue(template) {
      const leaf = certificateFromDer(issueCertificate(template, issuer));
      return certificatesPem(isRoot ? [leaf] : [leaf, certificate]);
    },
  };
}

/** basicConstraints CA true with path length 0: it signs leaves alone. */
const isCa: Extension = {
  oid: extensionOids.basicConstraints,
  critical: true,
  value: der.encodeDer(der.sequence(der.boolean(true), der.integer(Uint8Array.of(0)))),
};

/** RFC 1918, RFC 6598, RFC 4193: where pods and Services have their addresses. */
const privateRanges = [
  ['10.0.0.0', '255.0.0.0'],
  ['172.16.0.0', '255.240.0.0'],
  ['192.168.0.0', '255.255.0.0'],
  ['100.64.0.0', '255.192.0.0'],
  ['fc00::', 'fe00::'],
] as const;

function nameConstraints({ clusterDomain, trustDomain }: AuthorityScope): Extension {
  const bytes = (text: string): Uint8Array => parseIpAddress(text) ?? Uint8Array.of();
  const permitted = [
    // A dNSName constraint covers the name itself and everything below it.
    ...['svc', clusterDomain].map((name) => der.taggedBytes(2, Buffer.from(name))),
    // A URI constraint without a leading dot covers exactly that host.
    der.taggedBytes(6, Buffer.from(trustDomain)),
    ...privateRanges.map(([address, mask]) =>
      der.taggedBytes(7, Buffer.concat([bytes(address), bytes(mask)])),
    ),
  ];
  const value = der.sequence(der.tagged(0, ...permitted.map((base) => der.sequence(base))));
  return { oid: extensionOids.nameConstraints, critical: true, value: der.encodeDer(value) };
}
