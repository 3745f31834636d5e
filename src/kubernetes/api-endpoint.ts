import { type AgentOptions } from 'node:https';

/** What a client certificate or a private CA adds to a TLS connection. */
export type TlsMaterial = Pick<
  AgentOptions,
  'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername'
>;

/**
 * Where the API server is and how to show who we are. Asked again for each call, so that a rotated
 * token or CA is followed without a restart.
 */
export interface ApiEndpoint {
  readonly serverUrl: string;
  /** PEM. `key` changes exactly when the material does, so that connections are kept meanwhile. */
  tls(): Promise<{ readonly key: string; readonly material: TlsMaterial }>;
  /** Request headers that authenticate. */
  headers(): Promise<Readonly<Record<string, string>>>;
  /** For people: where the credentials come from. */
  readonly source: string;
  /** The one that people mean who name none, where a kubeconfig says so. */
  readonly namespace?: string | undefined;
}
