import { type Issuance } from '../certificates/decisions.ts';
import { formatDenial, inAscii } from '../certificates/denial.ts';
import { type ObservedRequest, standingOf } from '../certificates/observed-request.ts';
import { type Outcome } from '../controller/run-workers.ts';
import { PodsealError } from '../errors.ts';
import { boundPodOf } from '../identity/requester.ts';
import { shownNames, type SubjectNames } from '../identity/subject-names.ts';
import { type CertificateTemplate } from '../pki/issue-certificate.ts';
import { keyAlgorithms } from '../pki/key-pair.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type Clock } from '../runtime/clock.ts';
import { type ControllerMetrics } from '../telemetry/controller-metrics.ts';
import { type Log } from '../telemetry/log.ts';
import { type PodEvent, type PodReference } from '../telemetry/pod-events.ts';
import { type Asked, type GrantableUsage, grantableUsages, readContent } from '../vetting/asked.ts';
import { type ContentRuleId, contentRules } from '../vetting/content-rules.ts';
import { type Finding } from '../vetting/finding.ts';
import { certificateProfile, type ProfileLimits } from './profile.ts';
import { type SigningCa } from './signing-ca.ts';
import { type SignerConfig } from './world.ts';

export interface HandleWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: ControllerMetrics;
  readonly issuance: Issuance;
  readonly config: SignerConfig;
  randomBytes(count: number): Uint8Array;
  /** The CA that signs now; undefined: there is none yet. */
  ca(): SigningCa | undefined;
  recordEvent(pod: PodReference, event: PodEvent): void;
}

type Violation = Finding & { readonly rule: ContentRuleId };

/** What of an approved request keeps it from being signed; the signer's own check, whoever approved. */
export function violationsOf(
  asked: Asked,
  without: readonly ContentRuleId[] = [],
): readonly Violation[] {
  const violations: Violation[] = [];
  for (const [rule, check] of ruleEntries)
    if (!without.includes(rule))
      for (const finding of check(asked)) violations.push({ rule, ...finding });
  return violations;
}

const ruleEntries = Object.entries(contentRules) as readonly [
  ContentRuleId,
  (asked: Asked) => readonly Finding[],
][];

/** What an approved request gets: a leaf (DER), or the reasons against one. */
export type Answer =
  | {
      readonly kind: 'issue';
      readonly names: SubjectNames;
      readonly template: CertificateTemplate;
      readonly leaf: Buffer;
    }
  | {
      readonly kind: 'fail';
      readonly violations: readonly Violation[];
      /** Undefined: they cannot be read. */
      readonly names: SubjectNames | undefined;
    };

export type AnswerLimits = Omit<ProfileLimits, 'issuerValidity'>;

/** Decides and signs; nothing is read or written. `serial` is 16 random bytes. */
export function answerTo(
  request: ObservedRequest,
  ca: SigningCa,
  limits: AnswerLimits,
  moment: { readonly now: Date; readonly serial: Uint8Array },
): Answer {
  const content = readContent(request.request);
  const asked: Asked = {
    request,
    content,
    caConstraints: ca.constraints,
    limits: { ...anyKey, ...limits },
  };
  const violations = violationsOf(asked);
  if (content.kind !== 'read') return { kind: 'fail', violations, names: undefined };
  const { names } = content.value;
  if (violations.length > 0) return { kind: 'fail', violations, names };
  const template = certificateProfile(
    content.value,
    {
      // The rules have seen to it that there is no other.
      usages: request.usages as readonly GrantableUsage[],
      expirationSeconds: request.expirationSeconds,
    },
    { ...limits, issuerValidity: ca.validity },
    moment,
  );
  const leaf = ca.authority.sign(template);
  return { kind: 'issue', names, template, leaf };
}

/** What of the rules' limits is the approver's policy alone. */
const anyKey = { keyAlgorithms, usages: grantableUsages, maximumNames: 250 } as const;

/** How long to wait when there is no CA to sign with. */
const noCaGapMs = 1_000;

/**
 * Issues one approved request, or marks it Failed. Throws PodsealErrors of the API; then it is not
 * known to be written, and is handled again.
 */
export async function handleRequest(
  request: ObservedRequest,
  world: HandleWorld,
): Promise<Outcome> {
  if (standingOf(request) !== 'approved' || !world.config.signerNames.includes(request.signerName))
    return { kind: 'done' };
  const ca = world.ca();
  if (!ca) return { kind: 'again', afterMs: noCaGapMs };
  const moment = { now: world.clock.now(), serial: world.randomBytes(16) };
  const answer = answerTo(request, ca, world.config, moment);
  return answer.kind === 'fail'
    ? fail(request, answer, world)
    : issue(request, answer, ca.authority.chainOf(answer.leaf), world);
}

async function issue(
  request: ObservedRequest,
  { names, template, leaf }: Extract<Answer, { kind: 'issue' }>,
  chainPem: string,
  world: HandleWorld,
): Promise<Outcome> {
  const { clock, metrics } = world;
  const serial = Buffer.from(template.serial).toString('hex').toUpperCase();
  const notAfter = template.validity.notAfter.toISOString();
  const fields = {
    request: request.name,
    signerName: request.signerName,
    pod: shownPod(request),
    names: shownNames(names),
    serial,
    fingerprint: sha256Hex(leaf),
    notAfter,
  };
  try {
    await world.issuance.issue(request, chainPem);
  } catch (error) {
    // Every certificate that may be out there stands in the log.
    if (isUnanswered(error))
      world.log('warn', 'certificate.unconfirmed', `No answer about ${request.name}`, fields);
    return writtenByOthers(error, request, world, () =>
      metrics.add('podseal_signer_in_vain_total', {}),
    );
  }
  metrics.add('podseal_signer_certificates_total', {});
  const seconds = (clock.now().getTime() - request.createdAt.getTime()) / 1000;
  metrics.observe('podseal_signer_issue_seconds', Math.max(0, seconds));
  world.log('info', 'certificate.issued', `Issued ${request.name}`, fields);
  tellPod(request, world, {
    type: 'Normal',
    reason: 'CertificateIssued',
    message: `Issued ${inAscii(request.name)}: serial ${serial}, valid until ${notAfter}`,
  });
  return { kind: 'done' };
}

async function fail(
  request: ObservedRequest,
  { violations, names }: Extract<Answer, { kind: 'fail' }>,
  world: HandleWorld,
): Promise<Outcome> {
  const message = formatDenial({
    reasons: violations,
    allowed: Object.fromEntries(
      violations.flatMap(({ rule, allowed }) => (allowed ? [[rule, allowed]] : [])),
    ),
    more: 0,
  });
  try {
    await world.issuance.fail(request, message);
  } catch (error) {
    return writtenByOthers(error, request, world, () => undefined);
  }
  for (const rule of new Set(violations.map((each) => each.rule)))
    world.metrics.add('podseal_signer_failed_total', { rule });
  world.log(
    'warn',
    'request.failed',
    `Cannot sign ${request.name}: it was approved, and breaks rules`,
    {
      request: request.name,
      signerName: request.signerName,
      requester: request.requester.username,
      pod: shownPod(request),
      names: names && shownNames(names),
      reasons: message.split('\n'),
    },
  );
  tellPod(request, world, {
    type: 'Warning',
    reason: 'CertificateFailed',
    message: `Cannot sign ${inAscii(request.name)}:\n${message}`.slice(0, 1000),
  });
  return { kind: 'done' };
}

/** Whether the write may have been made all the same; who is told when to come again was not served. */
function isUnanswered(error: unknown): boolean {
  if (!(error instanceof PodsealError)) return false;
  return error.code === 'API_UNREACHABLE' && error.retryAfterMs === undefined;
}

/** After a write that was refused: what is there now decides. */
async function writtenByOthers(
  error: unknown,
  request: ObservedRequest,
  world: HandleWorld,
  note: () => void,
): Promise<Outcome> {
  if (!(error instanceof PodsealError)) throw error;
  // API_REFUSED: a certificate that is there already cannot be changed (kubernetes-facts 1.3).
  const isTaken = ['API_NOT_FOUND', 'API_CONFLICT', 'API_REFUSED'].includes(error.code);
  if (!isTaken) throw error;
  note();
  const now = await world.issuance.read(request.name);
  const isStillOpen = now?.uid === request.uid && standingOf(now) === 'approved';
  if (!isStillOpen) return { kind: 'done' };
  if (error.code === 'API_REFUSED') throw error;
  return handleRequest(now, world);
}

function shownPod(request: ObservedRequest): string | undefined {
  const requester = boundPodOf(request.requester);
  return requester.kind === 'pod' ? `${requester.pod.namespace}/${requester.pod.name}` : undefined;
}

function tellPod(request: ObservedRequest, world: HandleWorld, event: PodEvent): void {
  const requester = boundPodOf(request.requester);
  if (requester.kind === 'pod') world.recordEvent(requester.pod, event);
}
