import { asPodsealError, type PodsealError } from '../errors.ts';
import {
  type WebhookConfiguration,
  type WebhookConfigurations,
} from '../injection/webhook-configuration.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Doorbell } from '../runtime/doorbell.ts';
import { type PublicationsWorld, type PublicationsReplica } from './publications-world.ts';

/**
 * The webhook's own certificate is one of Podseal's, so what the API server is to trust when it calls
 * the webhook is Podseal's bundle. Whether some webhook of the configuration has another.
 */
export function needsBundle({ caBundles }: WebhookConfiguration, bundlePem: string): boolean {
  return caBundles.some((each) => each !== bundlePem);
}

export interface CaBundleSources {
  webhook(): WebhookConfiguration | undefined;
  bundle(): string | undefined;
  /** What the API has now; the watch will say so too. */
  learn(configuration: WebhookConfiguration): void;
  /** Rung when either changes. */
  readonly bell: Doorbell;
  readonly webhooks: Pick<WebhookConfigurations, 'setCaBundle'>;
}

const backoff = { firstMs: 200, maximumMs: 15_000 };
/** The bell rings when there is something to do. */
const idleMs = 3_600_000;

/** Keeps every caBundle of the configuration equal to the bundle until `stop`, also after somebody applied it without. */
export async function keepCaBundle(
  sources: CaBundleSources,
  world: Pick<PublicationsWorld, 'clock' | 'random' | 'log'>,
  { failed }: Pick<PublicationsReplica, 'failed'>,
  stop: AbortSignal,
): Promise<void> {
  const { clock, random, log } = world;
  const attempt = async (): Promise<PodsealError | undefined> => {
    const configuration = sources.webhook();
    const bundlePem = sources.bundle();
    if (!configuration || bundlePem === undefined) return undefined;
    if (!needsBundle(configuration, bundlePem)) return undefined;
    try {
      sources.learn(await sources.webhooks.setCaBundle(configuration, bundlePem));
      log('info', 'webhook.trusted', 'The API server trusts the webhook by the newest bundle');
      return undefined;
    } catch (thrown) {
      return asPodsealError(thrown);
    }
  };
  for (let failures = 0; !stop.aborted;) {
    const { signal, release } = sources.bell.nextRing(stop);
    const error = await attempt();
    // Somebody else wrote: the watch tells what.
    if (error && error.code !== 'API_CONFLICT') failed(error);
    failures = error ? failures + 1 : 0;
    const waitMs = error ? backoffMs(failures, backoff, random.fraction()) : idleMs;
    await clock.pause(Math.max(waitMs, error?.retryAfterMs ?? 0), signal);
    release();
  }
}
