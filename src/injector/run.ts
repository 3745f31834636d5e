import { type Controller } from '../controller/controller.ts';
import { replica } from '../controller/replica.ts';
import { asPodsealError } from '../errors.ts';
import { type Answer, plainText } from '../runtime/web.ts';
import { askingRights } from './asking-rights.ts';
import { type InjectionSettings } from './inject.ts';
import { publications } from './publications.ts';
import { answerReview, readReview, type ReviewRequest } from './review.ts';
import { type InjectorConfig, type InjectorWorld } from './world.ts';

export interface Injector extends Controller {
  /** Answers the text of an AdmissionReview. Never rejects. */
  review(text: string): Promise<Answer>;
}

/** An API server is upgraded now and then. */
const settingsAgainMs = 300_000;
const settingsRetryMs = 2_000;

/** Adds the agent to pods, and publishes what they read. Every replica answers; the one with the lease publishes. */
export function injector(config: InjectorConfig, world: InjectorWorld): Injector {
  const { clock, log, metrics } = world;
  const copy = replica(config, world);
  const published = publications(config, world, copy);
  const askingWarnings = askingRights(world);
  let settings: InjectionSettings | undefined;

  const followSettings = async (stop: AbortSignal): Promise<void> => {
    while (!stop.aborted) {
      try {
        settings = await world.injectionSettings();
        await clock.pause(settingsAgainMs, stop);
      } catch (thrown) {
        copy.failed(asPodsealError(thrown));
        await clock.pause(settingsRetryMs, stop);
      }
    }
  };

  const answerText = async (text: string): Promise<Answer> => {
    let request: ReviewRequest;
    try {
      request = readReview(text);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return plainText(400, `Cannot read the review: ${why}\n`);
    }
    // Whoever calls before it is ready goes on without it, as failurePolicy says.
    if (!settings)
      return plainText(503, 'not ready: the version of the API server is not known yet\n');
    const { outcome, body } = await answerReview(request, {
      settings,
      prepare: published.ensure,
      askingWarnings,
    });
    metrics.add('podseal_injector_reviews_total', { outcome });
    const { namespace, pod, isDryRun } = request;
    log('debug', 'pod.reviewed', `A pod was ${outcome}`, {
      namespace,
      // A pod of a ReplicaSet has no name yet.
      pod: pod.metadata.name ?? pod.metadata.generateName,
      outcome,
      isDryRun,
    });
    return { status: 200, contentType: 'application/json', body: JSON.stringify(body) };
  };
  return {
    async review(text) {
      const startedMs = clock.uptimeMs();
      const answer = await answerText(text);
      metrics.observe('podseal_injector_review_seconds', (clock.uptimeMs() - startedMs) / 1000);
      return answer;
    },
    reasonsNotReady: () => [
      ...copy.missing().map((what) => `not listed yet: ${what}`),
      ...published.reasonsNotReady(),
      ...(settings ? [] : ['the version of the API server is not known yet']),
    ],
    updateGauges: () => published.updateGauges(),
    async run(stop) {
      const lead = (while_: AbortSignal): Promise<void> => published.lead(while_);
      await Promise.all([copy.run(lead, stop), followSettings(stop)]);
    },
  };
}
