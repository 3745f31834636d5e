import { asPodsealError, type PodsealError } from '../errors.ts';
import { type Clock } from '../runtime/clock.ts';
import { type PublicationView } from './publication-view.ts';
import { type Publisher } from './publisher.ts';
import { tooLargeMessage } from './services-file.ts';
import { isSpared } from './slipped-through.ts';

export interface EnsureContext {
  readonly clock: Clock;
  readonly ownNamespace: string;
  readonly view: PublicationView;
  readonly publisher: Publisher;
  /** Whether nothing is known, or only what was true long ago. */
  isUnheard(objects: 'services' | 'config-maps'): boolean;
  hasTrust(): boolean;
  onFailure(error: PodsealError): void;
}

/** `promised`: names of Services that the pod waits for. */
export type Ensure = (
  namespace: string,
  labels: ReadonlyMap<string, string>,
  promised?: readonly string[],
) => Promise<readonly string[]>;

/** The API server waits for five seconds, and the answer has to be made after it. */
const patienceMs = 2_000;

/** The watch may be behind a namespace that was made a moment before its pod. */
const unknownMs = 1_000;
const lookAgainMs = 50;

/** What `Publications.ensure` promises. */
export function ensureFor(context: EnsureContext): Ensure {
  const { clock, ownNamespace, view, publisher } = context;
  const isSettled = (namespace: string, labels: ReadonlyMap<string, string>): boolean =>
    view.webhook() !== undefined &&
    !context.isUnheard('services') &&
    !context.isUnheard('config-maps') &&
    // The watch may be behind a Service that was made a moment before its pod.
    view.services.anySelects(namespace, labels) &&
    view.isCurrent(namespace);
  const settle = async (namespace: string): Promise<string | undefined> => {
    try {
      if (!view.webhook()) await publisher.readOwner();
      if (context.isUnheard('config-maps')) await publisher.readStanding(namespace);
      await publisher.listServices(namespace);
      if (!view.isCurrent(namespace)) await publisher.publish(namespace);
      return undefined;
    } catch (thrown) {
      const error = asPodsealError(thrown);
      context.onFailure(error);
      return error.message;
    }
  };
  return async (namespace, labels, promised = []) => {
    // Only somebody else than the API server would ask.
    if (isSpared(namespace, ownNamespace)) return [];
    // Whoever reaches the webhook can make up names: no call and no memory for one that there is not.
    if (!(await becomesKnown(namespace, context)))
      return [
        `podseal: namespace ${JSON.stringify(namespace)} is not known yet; the pod waits until Services and trust bundle are published there`,
      ];
    if (view.isTerminating(namespace)) return [];
    const waitsFor = (): readonly string[] =>
      view.services.unselecting(namespace, labels, promised);
    if (isSettled(namespace, labels) && waitsFor().length === 0)
      return warningsFor(namespace, context);
    const done = new AbortController();
    const late = clock
      .pause(patienceMs, done.signal)
      .then(() => `nothing was heard of the API server for ${patienceMs / 1000} s`);
    const problem = await Promise.race([settle(namespace), late]);
    done.abort();
    const waits = waitsFor().map(
      (name) =>
        `podseal: the pod waits for Service ${JSON.stringify(name)} to select it, as its annotation podseal.dev/services promises`,
    );
    return [...warningsFor(namespace, context, problem), ...waits];
  };
}

async function becomesKnown(
  namespace: string,
  { clock, view }: Pick<EnsureContext, 'clock' | 'view'>,
): Promise<boolean> {
  const patience = new AbortController();
  for (const startedMs = clock.uptimeMs(); !view.isKnown(namespace);) {
    if (clock.uptimeMs() - startedMs >= unknownMs) return false;
    await clock.pause(lookAgainMs, patience.signal);
  }
  return true;
}

/** The API server cuts each after 256 characters. */
function warningsFor(
  namespace: string,
  context: EnsureContext,
  problem?: string,
): readonly string[] {
  const { view, ownNamespace } = context;
  const fileProblem = tooLargeMessage(namespace, view.fileBytes(namespace));
  return [
    ...(problem === undefined ? [] : [`the pod may have to wait: ${problem}`]),
    ...(view.webhook()
      ? []
      : [
          'nothing is published: the injector has no MutatingWebhookConfiguration (deploy/injector.yaml)',
        ]),
    ...(context.hasTrust()
      ? []
      : [
          `the pod waits for the trust bundle, which the signer has not put into ConfigMap "${ownNamespace}/podseal-trust" yet`,
        ]),
    ...(fileProblem === undefined ? [] : [fileProblem]),
  ].map((warning) => `podseal: ${warning}`);
}
