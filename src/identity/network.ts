import { type IpRange } from './ip-range.ts';

/** What is known of a node: whose addresses are its own, and which it gives to pods. */
export interface NodeFacts {
  readonly name: string;
  /** Canonical text. */
  readonly addresses: readonly string[];
  readonly podRanges: readonly IpRange[];
}

/** A ServiceCIDR of the cluster. */
export interface ServiceRanges {
  readonly name: string;
  readonly ranges: readonly IpRange[];
}

/** What is known of the cluster's network, to tell whose an address is. Addresses in canonical text. */
export interface NetworkFacts {
  /** To the nodes that say it is theirs: a bad one may say so of another's. */
  readonly nodeAddresses: ReadonlyMap<string, ReadonlySet<string>>;
  readonly serviceRanges: readonly IpRange[];
  /** To `NAMESPACE/NAME` of the Service. */
  readonly clusterIPs: ReadonlyMap<string, string>;
  /** The address ranges that each node gives to its pods. */
  readonly podRangesByNode: ReadonlyMap<string, readonly IpRange[]>;
}
