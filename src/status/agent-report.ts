/** What an agent tells at `/status`. It runs in somebody else's pod: no text of it is to be believed or printed as it is. */
export interface AgentReport {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly expired: boolean;
  readonly certificate: ReportedCertificate | undefined;
  /** The signing request that it waits for. */
  readonly pending: { readonly request: string; readonly since: Date } | undefined;
  readonly lastError: ReportedError | undefined;
  readonly signerName: string;
  readonly hooks: readonly ReportedHook[];
  /** Which certificate the application serves: `current`, `other`, `unreachable` or `unknown`. */
  readonly application: string;
  readonly version: string;
}

export interface ReportedCertificate {
  readonly names: readonly string[];
  readonly issuer: string;
  readonly serial: string;
  readonly fingerprint: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewalAt: Date;
}

export interface ReportedError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly at: Date;
  readonly again: Date;
}

export interface ReportedHook {
  /** `signal` or `http`. */
  readonly hook: string;
  /** `ok`, `failed` or `none`. */
  readonly outcome: string;
  readonly why: string;
}

export type AgentReading =
  | { readonly kind: 'read'; readonly report: AgentReport }
  /** It was asked, or should have been. */
  | { readonly kind: 'unread'; readonly why: string; readonly isTimeout?: true }
  /** There is none that could answer: it has not started, it has ended, or it only runs at the start. */
  | { readonly kind: 'unasked' };
