/** The usable set on the volume, as far as telling the application needs it. */
export interface NewestSet {
  /** Another one for a new certificate and for a changed bundle. */
  readonly id: string;
  /** Of the leaf: SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  /** The first of the certificate. */
  readonly dnsName: string | undefined;
  readonly keyPem: string;
  /** The leaf, then its intermediates. */
  readonly chainPem: string;
  readonly bundlePem: string;
}
