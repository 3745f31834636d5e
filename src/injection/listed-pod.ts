/** A pod that has not finished, as far as it matters whether it was injected. */
export interface ListedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly createdAt: Date;
  readonly isTerminating: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Of init containers too. */
  readonly containerNames: readonly string[];
  /** As `spec.os` or the node selector says; undefined: neither does. */
  readonly os: string | undefined;
}

/** Which pods; never those that have finished. */
export interface PodQuery {
  readonly labelSelector: string;
  /** Undefined: all. */
  readonly namespace?: string;
}

/** Live lists, page by page. Both throw PodsealErrors. */
export interface PodLists {
  /** The pods of the query that `isKept` keeps: a page at a time is in memory. */
  pods(query: PodQuery, isKept: (pod: ListedPod) => boolean): Promise<readonly ListedPod[]>;
  /** The namespaces that have such pods; only their metadata are read. */
  namespaces(query: PodQuery): Promise<ReadonlySet<string>>;
}
