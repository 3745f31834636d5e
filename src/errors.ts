/**
 * Every way in which a command can fail to do what it was asked. `exitCode` follows sysexits.h;
 * `again` says how a loop answers: at once with back-off (`soon`), with long pauses because a
 * person has to act (`slowly`), or not at all (`never`). docs/operations.md explains each to an operator.
 */
export const errorCodes = {
  USAGE: { exitCode: 64, again: 'never' },
  CONFIG_INVALID: { exitCode: 78, again: 'never' },
  IDENTITY_INCOMPLETE: { exitCode: 78, again: 'never' },
  TRUST_MISSING: { exitCode: 78, again: 'never' },
  NAMES_UNKNOWN: { exitCode: 75, again: 'soon' },
  API_UNREACHABLE: { exitCode: 69, again: 'soon' },
  API_FORBIDDEN: { exitCode: 77, again: 'slowly' },
  API_REFUSED: { exitCode: 76, again: 'slowly' },
  API_CONFLICT: { exitCode: 75, again: 'soon' },
  API_NOT_FOUND: { exitCode: 76, again: 'slowly' },
  API_EXPIRED: { exitCode: 75, again: 'soon' },
  API_TOO_LARGE: { exitCode: 76, again: 'slowly' },
  SIGNING_REQUEST_DENIED: { exitCode: 77, again: 'slowly' },
  SIGNING_REQUEST_FAILED: { exitCode: 75, again: 'slowly' },
  SIGNING_REQUEST_PENDING: { exitCode: 75, again: 'soon' },
  SIGNING_REQUEST_DELETED: { exitCode: 75, again: 'slowly' },
  SIGNING_REQUEST_REPLACED: { exitCode: 76, again: 'slowly' },
  CERTIFICATE_MALFORMED: { exitCode: 76, again: 'slowly' },
  CERTIFICATE_MISMATCH: { exitCode: 76, again: 'slowly' },
  CERTIFICATE_EXPIRED: { exitCode: 76, again: 'slowly' },
  CERTIFICATE_NOT_YET_VALID: { exitCode: 76, again: 'soon' },
  CERTIFICATE_UNTRUSTED: { exitCode: 76, again: 'soon' },
  VOLUME_UNWRITABLE: { exitCode: 73, again: 'soon' },
  LISTEN_FAILED: { exitCode: 71, again: 'never' },
  INVARIANT: { exitCode: 70, again: 'never' },
} as const satisfies Record<string, { exitCode: number; again: 'soon' | 'slowly' | 'never' }>;

export type ErrorCode = keyof typeof errorCodes;

/** What a `PodsealError` carries beside its message. */
export interface ErrorDetails {
  /** What the reader should do, one sentence or several lines. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** How long the API server asked us to stay away, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** The one error class: `message` says what could not be done and what was seen, `hint` what to do. */
export class PodsealError extends Error {
  override readonly name = 'PodsealError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Any thrown value as one of ours; what we did not foresee is a bug of ours (INVARIANT). */
export function asPodsealError(thrown: unknown): PodsealError {
  // By name: the parts of the program are bundled apart, each with this class of its own.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- same class, other bundle
  if (thrown instanceof Error && thrown.name === 'PodsealError') return thrown as PodsealError;
  const seen = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new PodsealError('INVARIANT', `Cannot go on: ${seen}`, {
    hint: 'This is a bug of Podseal; please report it with this message.',
    cause: thrown,
  });
}
