import { type HookReport } from '../application/hook.ts';
import { type Application } from '../application/serving.ts';
import { PodsealError } from '../errors.ts';
import { allNames } from '../identity/subject-names.ts';
import { oneLine, subjectNamesIn } from '../pki/certificate.ts';
import { later } from '../runtime/clock.ts';
import { type CurrentSet } from '../volume/current.ts';
import { type PendingRequest } from '../volume/volume.ts';
import { lookAgainMs, namesToAskFor, type Look } from './look.ts';
import { renewalOf } from './plan.ts';
import { type Status } from './status.ts';

/** Who answers. */
export interface Respondent {
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly signerName: string;
  readonly version: string;
}

/** An attempt that failed. */
export interface Failure {
  readonly error: PodsealError;
  readonly at: Date;
  /** When it is tried again. */
  readonly again: Date;
}

/** What the agent knows at one moment. */
export interface AgentState {
  readonly seen: Look;
  readonly status: Status;
  readonly pending: PendingRequest | undefined;
  /** The newest failure since the last certificate. */
  readonly failure: Failure | undefined;
  readonly now: Date;
}

/** The answer at `/status`, which `podseal status` reads: times in ISO 8601, null for what there is not. Holds no secret. */
export interface StatusReport {
  readonly pod: Respondent['pod'];
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly expired: boolean;
  readonly certificate: ReportedCertificate | null;
  readonly pending: { readonly request: string; readonly since: string } | null;
  readonly lastError: ReportedError | null;
  readonly signerName: string;
  readonly hooks: readonly HookReport[];
  readonly application: Application;
  readonly version: string;
}

export interface ReportedCertificate {
  /** DNS names, addresses, URIs. */
  readonly names: readonly string[];
  readonly issuer: string;
  readonly serial: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly renewalAt: string;
}

export interface ReportedError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly at: string;
  readonly again: string;
}

export function statusReport(
  respondent: Respondent,
  state: AgentState,
  telling: { readonly hooks: readonly HookReport[]; readonly application: Application },
): StatusReport {
  const { seen, status, pending } = state;
  const failure = unknownNames(state) ?? state.failure;
  const { namespace, name, uid } = respondent.pod;
  return {
    pod: { namespace, name, uid },
    ready: status.ready,
    reasons: status.reasons,
    expired: status.expired,
    certificate: seen.current.kind === 'usable' ? reported(seen.current.set) : null,
    pending: pending ? { request: pending.name, since: pending.createdAt } : null,
    lastError: failure ? reportedError(failure) : null,
    signerName: respondent.signerName,
    hooks: telling.hooks,
    application: telling.application,
    version: respondent.version,
  };
}

function reported({ leaf, ...set }: CurrentSet): ReportedCertificate {
  return {
    names: allNames(subjectNamesIn(leaf)),
    issuer: oneLine(leaf.x509.issuer),
    serial: leaf.serial,
    fingerprint: leaf.fingerprint,
    notBefore: leaf.validity.notBefore.toISOString(),
    notAfter: leaf.validity.notAfter.toISOString(),
    renewalAt: renewalOf({ leaf, ...set }).toISOString(),
  };
}

/** Nothing has failed while names are waited for, and yet it is what stands in the way. */
function unknownNames({ seen, now }: AgentState): Failure | undefined {
  if (seen.names.kind === 'known' || namesToAskFor(seen)) return undefined;
  const error = new PodsealError(
    'NAMES_UNKNOWN',
    `Cannot tell the names of the pod yet: ${seen.names.why}`,
    { hint: 'Is the file mounted, and does a Service of that name select the pod?' },
  );
  return { error, at: now, again: later(now, lookAgainMs) };
}

function reportedError({ error, at, again }: Failure): ReportedError {
  return {
    code: error.code,
    message: error.message,
    hint: error.hint ?? '',
    at: at.toISOString(),
    again: again.toISOString(),
  };
}
