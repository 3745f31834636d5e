import { type Listing } from '../controller/list-watch.ts';

/** What the injector keeps in a namespace: the name of each ConfigMap, and its one key. */
export const publishedKeys = {
  'podseal-services': 'services.json',
  'podseal-trust': 'ca.crt',
} as const;

export type PublishedName = keyof typeof publishedKeys;

/** Which of the ConfigMaps. */
export interface PublishedPlace {
  readonly namespace: string;
  readonly name: PublishedName;
}

/** What stands there. The text is not kept: a thousand namespaces may hold a megabyte each. */
export interface PublishedConfigMap extends PublishedPlace {
  readonly uid: string;
  readonly resourceVersion: string;
  /** SHA-256 of the text under our key, lower-case hex; undefined: the key is not there. */
  readonly digest: string | undefined;
  /** Keys that we did not write, of `data` and of `binaryData`. */
  readonly foreignKeys: {
    readonly data: readonly string[];
    readonly binaryData: readonly string[];
  };
  /** Nothing in it can be changed any more: it has to be made anew. */
  readonly isImmutable: boolean;
  /** By its label `app.kubernetes.io/managed-by`. */
  readonly isManaged: boolean;
  /** uids, in their order. */
  readonly owners: readonly string[];
}

/** What is to stand there. */
export interface WantedConfigMap extends PublishedPlace {
  readonly text: string;
  /** uid of the MutatingWebhookConfiguration: with it, Kubernetes removes the ConfigMap. */
  readonly ownerUid: string;
}

/**
 * The two ConfigMaps in all namespaces. All throw PodsealErrors; API_NOT_FOUND from `create`: there is
 * no such namespace, or it is being deleted. Every write holds for the version that was read alone.
 */
export interface PublishedConfigMaps {
  readonly listings: Readonly<Record<PublishedName, Listing<PublishedConfigMap>>>;
  /** A live read; undefined: there is none. */
  read(place: PublishedPlace): Promise<PublishedConfigMap | undefined>;
  /** API_CONFLICT: there is one by now. */
  create(wanted: WantedConfigMap): Promise<PublishedConfigMap>;
  /** API_CONFLICT: somebody wrote since. */
  change(standing: PublishedConfigMap, wanted: WantedConfigMap): Promise<PublishedConfigMap>;
  remove(standing: PublishedConfigMap): Promise<void>;
}
