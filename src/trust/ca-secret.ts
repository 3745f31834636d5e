/** What the Secret of a CA holds, all PEM (the layout of kubernetes.io/tls, of cert-manager and of Vault's issuers). */
export interface CaSecret {
  /** tls.crt: the CA, then CAs above it. */
  readonly certificate: string | undefined;
  /** tls.key. */
  readonly key: string | undefined;
  /** ca.crt: the root, needed where the CA is an intermediate. */
  readonly root: string | undefined;
}
