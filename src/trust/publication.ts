/** What clients and the approver are told of a signer; PEM. */
export interface Publication {
  /** Every trusted root. */
  readonly bundlePem: string;
  /** The CA that signs now, those above it, and its root. */
  readonly signingChainPem: string;
}

/** Where it stands: a ConfigMap and, where the API has them, ClusterTrustBundles. */
export interface TrustPublisher {
  /** What stands there now; undefined: nothing. */
  read(): Promise<Publication | undefined>;
  /** Brings every place up to date; nothing is written where nothing changed. */
  publish(publication: Publication): Promise<void>;
}

/** The ConfigMap in the signer's namespace, and its keys. */
export const publishedNames = {
  configMap: 'podseal-trust',
  bundle: 'ca.crt',
  signingChain: 'signing-ca.crt',
} as const;
