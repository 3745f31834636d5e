import { type Listing } from '../controller/list-watch.ts';

/** The MutatingWebhookConfiguration of the injector. */
export interface WebhookConfiguration {
  readonly uid: string;
  readonly resourceVersion: string;
  /** What the API server trusts, PEM, of each webhook in their order; undefined: nothing is set. */
  readonly caBundles: readonly (string | undefined)[];
  /** `webhooks` as it was read, with what we know nothing of. */
  readonly asRead: readonly unknown[];
}

/** Both calls throw PodsealErrors. */
export interface WebhookConfigurations {
  /** Ours alone, by its name. */
  readonly listing: Listing<WebhookConfiguration>;
  /** A live read; undefined: there is none. */
  read(): Promise<WebhookConfiguration | undefined>;
  /** Writes the bundle into every webhook, and changes nothing else. API_CONFLICT: somebody wrote since. */
  setCaBundle(
    configuration: WebhookConfiguration,
    bundlePem: string,
  ): Promise<WebhookConfiguration>;
}
