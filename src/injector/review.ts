import { isDnsLabel } from '../identity/dns-name.ts';
import { annotationPrefix } from './annotations.ts';
import { inject, type Injection, type InjectionSettings } from './inject.ts';
import { podPatch } from './json-patch.ts';
import { isObjectName } from './object-name.ts';
import { type PodObject } from './pod-object.ts';

/** The one kind of call that the webhook is configured for (admission.k8s.io/v1 AdmissionReview). */
export interface ReviewRequest {
  readonly uid: string;
  readonly namespace: string;
  readonly isDryRun: boolean;
  readonly pod: PodObject;
}

export interface ReviewAnswer {
  readonly outcome: 'injected' | 'left' | 'refused';
  /** The AdmissionReview to send back. */
  readonly body: unknown;
}

/** What a review needs beside the pod. */
export interface ReviewWorld {
  readonly settings: InjectionSettings;
  /**
   * Makes sure that the namespace has what its agents read. Never rejects: the pod waits for what is
   * missing, and the warnings returned say for what.
   */
  prepare(
    namespace: string,
    labels: ReadonlyMap<string, string>,
    promisedServices: readonly string[],
  ): Promise<readonly string[]>;
  /** Warns where the service account may not ask for certificates. Never rejects. */
  askingWarnings(namespace: string, serviceAccount: string): Promise<readonly string[]>;
}

/** Throws an Error that says what is wrong where it is no review of a pod's creation. */
export function readReview(text: string): ReviewRequest {
  const review = objectOf(JSON.parse(text), 'the body');
  const request = objectOf(review['request'], 'request');
  const { uid, namespace } = request;
  const object = objectOf(request['object'], 'request.object');
  if (review['apiVersion'] !== 'admission.k8s.io/v1' || typeof uid !== 'string')
    throw new Error('it is no AdmissionReview of admission.k8s.io/v1');
  const kind = objectOf(request['kind'], 'request.kind');
  const { kind: name, group } = kind;
  if (name !== 'Pod' || group !== '' || request['operation'] !== 'CREATE')
    throw new Error(
      `it is about ${String(request['operation'])} of ${String(name)}; the webhook is for CREATE of Pod alone`,
    );
  const metadata = object['metadata'] === undefined ? {} : objectOf(object['metadata'], 'metadata');
  const spec = objectOf(object['spec'], 'spec');
  if (!Array.isArray(spec['containers'])) throw new Error('spec.containers is no list');
  checkNames(namespace, spec['serviceAccountName'] ?? 'default');
  return {
    uid,
    namespace,
    isDryRun: request['dryRun'] === true,
    pod: { ...object, metadata, spec } as unknown as PodObject,
  };
}

/** Whoever reaches the webhook can make them up, and they go into calls and memories of ours. */
function checkNames(namespace: unknown, serviceAccount: unknown): asserts namespace is string {
  if (typeof namespace !== 'string' || !isDnsLabel(namespace))
    throw new Error('request.namespace is no name of a namespace');
  if (typeof serviceAccount !== 'string' || !isObjectName(serviceAccount))
    throw new Error('spec.serviceAccountName is no name of a service account');
}

function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${what} is no object`);
  return value as Readonly<Record<string, unknown>>;
}

/** Decides about one pod; on a dry run nothing is written anywhere. */
export async function answerReview(
  request: ReviewRequest,
  world: ReviewWorld,
): Promise<ReviewAnswer> {
  const { pod } = request;
  const injection = inject(pod, world.settings);
  switch (injection.kind) {
    case 'left':
      return {
        outcome: 'left',
        body: review(request.uid, { allowed: true, warnings: injection.warnings }),
      };
    case 'refused':
      return {
        outcome: 'refused',
        body: review(request.uid, {
          allowed: false,
          status: { code: 422, reason: 'Invalid', message: refusal(injection.problems) },
        }),
      };
    case 'injected': {
      const warnings = await warningsAbout(request, injection, world);
      const patch = podPatch(pod, told(injection.pod, warnings));
      return {
        outcome: 'injected',
        body: review(request.uid, {
          allowed: true,
          ...(patch.length === 0
            ? {}
            : { patchType: 'JSONPatch', patch: base64(JSON.stringify(patch)) }),
          warnings,
        }),
      };
    }
  }
}

async function warningsAbout(
  { pod, namespace, isDryRun }: ReviewRequest,
  injection: Extract<Injection, { kind: 'injected' }>,
  world: ReviewWorld,
): Promise<readonly string[]> {
  const labels = new Map(Object.entries(pod.metadata.labels ?? {}));
  const [unprepared, unasked] = await Promise.all([
    isDryRun ? [] : world.prepare(namespace, labels, injection.promisedServices),
    world.askingWarnings(namespace, pod.spec.serviceAccountName ?? 'default'),
  ]);
  return [...injection.warnings, ...unprepared, ...unasked].slice(0, mostWarnings);
}

/** A pod can have thousands of problems: all its annotations have 256 KiB together, and nobody reads more. */
const longestTold = 4_096;
const mostWarnings = 50;

/**
 * The pod with the warnings as an annotation: whoever creates pods through a Deployment sees no warning,
 * but `kubectl describe pod` shows it.
 */
function told(pod: PodObject, warnings: readonly string[]): PodObject {
  const key = `${annotationPrefix}warnings`;
  const { [key]: before, ...others } = pod.metadata.annotations ?? {};
  // Copied from another pod, or from an earlier pass over this one.
  if (warnings.length === 0 && before === undefined) return pod;
  const told = warnings.length === 0 ? {} : { [key]: warnings.join('\n').slice(0, longestTold) };
  return { ...pod, metadata: { ...pod.metadata, annotations: { ...others, ...told } } };
}

function refusal(problems: readonly string[]): string {
  const [first = '', ...more] = problems;
  const all =
    more.length === 0
      ? `podseal: ${first}`
      : `podseal: ${problems.length} problems: ${problems.map((each, i) => `(${i + 1}) ${each}`).join('; ')}`;
  return all.slice(0, longestTold);
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

/** Clients print no more than 4096 bytes of warnings, and the API server cuts each at 256. */
function review(uid: string, response: Readonly<Record<string, unknown>>): unknown {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: { uid, ...response },
  };
}
