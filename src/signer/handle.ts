import { type Issuance } from '../certificates/decisions.ts';
import { formatDenial } from '../certificates/denial.ts';
import { type ObservedRequest, standingOf } from '../certificates/observed-request.ts';
import { type Outcome } from '../controller/run-workers.ts';
import { PodsealError } from '../errors.ts';
import { boundPodOf } from '../identity/requester.ts';
import { allNames } from '../identity/subject-names.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type Clock } from '../runtime/clock.ts';
import { type ControllerMetrics } from '../telemetry/controller-metrics.ts';
import { type Log } from '../telemetry/log.ts';
import { type PodEvent, type PodReference } from '../telemetry/pod-events.ts';
import { type Asked, type GrantableUsage, grantableUsages, readContent } from '../vetting/asked.ts';
import { type ContentRuleId, contentRules } from '../vetting/content-rules.ts';
import { type Finding } from '../vetting/finding.ts';
import { certificateProfile } from './profile.ts';
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
  return Object.entries(contentRules).flatMap(([id, check]) => {
    const rule = id as ContentRuleId;
    return without.includes(rule) ? [] : check(asked).map((finding) => ({ rule, ...finding }));
  });
}

/** How long to wait when there is no CA to sign with. */
const noCaGapMs = 1_000;

/**
 * Issues one approved request, or marks it Failed. Throws PodsealErrors of the API; then nothing was
 * written, and it is handled again.
 */
export async function handleRequest(
  request: ObservedRequest,
  world: HandleWorld,
): Promise<Outcome> {
  if (standingOf(request) !== 'approved' || !world.config.signerNames.includes(request.signerName))
    return { kind: 'done' };
  const ca = world.ca();
  if (!ca) return { kind: 'again', afterMs: noCaGapMs };
  const asked = askedOf(request, ca, world.config);
  const violations = violationsOf(asked);
  return violations.length > 0
    ? fail(request, violations, world)
    : issue({ request, asked, ca }, world);
}

function askedOf(request: ObservedRequest, ca: SigningCa, config: SignerConfig): Asked {
  return {
    request,
    content: readContent(request.request),
    caConstraints: ca.constraints,
    limits: {
      keyAlgorithms: ['ECDSAP256', 'ECDSAP384', 'ED25519', 'RSA2048', 'RSA3072', 'RSA4096'],
      usages: grantableUsages,
      maximumLifetimeMs: config.maximumLifetimeMs,
      maximumNames: 250,
    },
  };
}

interface Issuing {
  readonly request: ObservedRequest;
  readonly asked: Asked;
  readonly ca: SigningCa;
}

async function issue({ request, asked, ca }: Issuing, world: HandleWorld): Promise<Outcome> {
  const { config, clock, metrics } = world;
  if (asked.content.kind !== 'read') return { kind: 'done' };
  const content = asked.content.value;
  const template = certificateProfile(
    content,
    {
      // The rules have seen to it that there is no other.
      usages: request.usages as readonly GrantableUsage[],
      expirationSeconds: request.expirationSeconds,
    },
    { ...config, issuerValidity: ca.authority.certificate.validity },
    { now: clock.now(), serial: world.randomBytes(16) },
  );
  const leaf = ca.authority.sign(template);
  try {
    await world.issuance.issue(request, ca.authority.chainOf(leaf));
  } catch (error) {
    return writtenByOthers(error, request, world, () =>
      metrics.add('podseal_signer_in_vain_total', {}),
    );
  }
  metrics.add('podseal_signer_certificates_total', {});
  const seconds = (clock.now().getTime() - request.createdAt.getTime()) / 1000;
  metrics.observe('podseal_signer_issue_seconds', Math.max(0, seconds));
  const serial = Buffer.from(template.serial).toString('hex').toUpperCase();
  const fingerprint = sha256Hex(leaf);
  const notAfter = template.validity.notAfter.toISOString();
  world.log('info', 'certificate.issued', `Issued ${request.name}`, {
    request: request.name,
    signerName: request.signerName,
    pod: shownPod(request),
    names: allNames(content.names),
    serial,
    fingerprint,
    notAfter,
  });
  tellPod(request, world, {
    type: 'Normal',
    reason: 'CertificateIssued',
    message: `Issued ${request.name}: serial ${serial}, valid until ${notAfter}`,
  });
  return { kind: 'done' };
}

async function fail(
  request: ObservedRequest,
  violations: readonly Violation[],
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
      reasons: message.split('\n'),
    },
  );
  tellPod(request, world, {
    type: 'Warning',
    reason: 'CertificateFailed',
    message: `Cannot sign ${request.name}:\n${message}`.slice(0, 1000),
  });
  return { kind: 'done' };
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
  const now = await world.issuance.read(request.name);
  const isStillOpen = now?.uid === request.uid && standingOf(now) === 'approved';
  note();
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
