/** A pod as the API server has it, as far as names and addresses follow from it. */
export interface LivePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** Undefined until it is scheduled. */
  readonly nodeName: string | undefined;
  /** Pending, Running, Succeeded, Failed or Unknown. */
  readonly phase: string;
  readonly isTerminating: boolean;
  /** A kubelet's picture of a static pod: nobody can bind a token to what it mirrors. */
  readonly isMirror: boolean;
  readonly hostNetwork: boolean;
  /** Canonical text; empty until the kubelet has reported them. */
  readonly ipAddresses: readonly string[];
  readonly hostname: string | undefined;
  readonly subdomain: string | undefined;
  readonly labels: ReadonlyMap<string, string>;
}
