import { eventWriter } from '../controller/event-writer.ts';
import { type Follower } from '../controller/list-watch.ts';
import { type WebhookConfiguration } from '../injection/webhook-configuration.ts';
import { doorbell } from '../runtime/doorbell.ts';
import { keepCaBundle, needsBundle } from './ca-bundle.ts';
import { type Ensure, ensureFor } from './ensure.ts';
import { keepCurrent } from './keep-current.ts';
import { publicationView, publishedNames } from './publication-view.ts';
import {
  type PublicationsConfig,
  type PublicationsReplica,
  type PublicationsWorld,
} from './publications-world.ts';
import { publisher } from './publisher.ts';
import { runRounds } from './rounds.ts';
import { trustSource } from './trust-source.ts';

/**
 * What the injector publishes: in each namespace that uses Podseal the ConfigMaps `podseal-services`
 * and `podseal-trust`, and in its own webhook configuration the caBundle.
 *
 * `publications(config, world, replica)` tells the replica what to follow: call it before `replica.run`.
 * Every replica answers `ensure`; `lead` is the work of the one that leads.
 */
export interface Publications {
  /**
   * Before a pod with these labels is admitted: resolves when both ConfigMaps stand in its namespace with
   * the content of now; at once, and without a call, where they do already. Never rejects and takes two
   * seconds at most: resolves to warnings for whoever creates the pod about what could not be done.
   * It writes, so it is not for a dry run.
   */
  readonly ensure: Ensure;
  /**
   * Keeps all of it current, restores what was changed, takes back what no pod needs, and reports pods that
   * slipped through; until `while_` is aborted.
   */
  lead(while_: AbortSignal): Promise<void>;
  /** Beside what the replica misses: what has fallen silent. */
  reasonsNotReady(): readonly string[];
  updateGauges(): void;
}

/** Over what a watch needs to be begun anew. */
const graceMs = 30_000;

export function publications(
  config: PublicationsConfig,
  world: PublicationsWorld,
  replica: PublicationsReplica,
): Publications {
  const { clock, random, log, metrics, configMaps, webhooks } = world;
  const bell = doorbell();
  let isLeading = false;
  const look = (namespace: string): void => keeper.look(namespace);
  const lookAtAll = (): void => {
    for (const namespace of view.all()) look(namespace);
  };
  const trust = trustSource(log, () => {
    bell.ring();
    lookAtAll();
  });
  const bundle = (): string | undefined => trust.bundle();
  const view = publicationView(config.namespace, {
    bundle,
    onChange: look,
    onChangeOfAll: lookAtAll,
  });
  const publishing = publisher(world, view);
  const keeper = keepCurrent({ config, world, replica, view, publisher: publishing });
  const events = eventWriter({
    clock,
    random,
    write: (pod, event) => world.writeEvent(pod, event),
    isBusy: () => keeper.isBusy,
    onFailure: (error) => replica.failed(error),
  });
  const { followers } = view;
  const published = publishedNames.map((name) => configMaps.listings[name]);
  replica.follows(world.namespaces, followers.namespaces);
  replica.follows(world.services, view.services.follower);
  for (const name of publishedNames)
    replica.follows(configMaps.listings[name], followers.configMaps[name]);
  replica.follows(world.trust, trust.follower);
  replica.follows(
    webhooks.listing,
    ringing(followers.webhooks, () => bell.ring()),
  );

  const isSilent = (listing: { readonly what: string }): boolean =>
    replica.silentMs(listing) > config.follow.idleMs + graceMs;
  const isUnheard = (listing: { readonly what: string }): boolean =>
    replica.missing().includes(listing.what) || isSilent(listing);
  return {
    ensure: ensureFor({
      clock,
      ownNamespace: config.namespace,
      view,
      publisher: publishing,
      isUnheard: (objects) =>
        objects === 'services' ? isUnheard(world.services) : published.some(isUnheard),
      hasTrust: () => bundle() !== undefined,
      onFailure: (error) => replica.failed(error),
    }),
    async lead(while_) {
      isLeading = true;
      const caBundle = {
        webhook: () => view.webhook(),
        bundle,
        learn: (configuration: WebhookConfiguration) => followers.webhooks.put(configuration),
        bell,
        webhooks,
      };
      await Promise.all([
        keeper.run(while_),
        keepCaBundle(caBundle, world, replica, while_),
        runRounds({ config, world, replica, view, events, look }, while_),
        events.run(while_),
      ]);
      isLeading = false;
    },
    reasonsNotReady: () =>
      [world.namespaces, world.services, ...published]
        .filter(({ what }) => !replica.missing().includes(what))
        .filter(isSilent)
        .map(({ what }) => `nothing heard for minutes: ${what}`),
    updateGauges() {
      const kept = isLeading ? [...view.all()].filter((each) => view.isWanted(each)) : [];
      metrics.set('podseal_injector_namespaces', kept.length);
      metrics.set('podseal_injector_namespaces_too_large', keeper.tooLarge);
      const webhook = view.webhook();
      const pem = bundle();
      const isTrusted = webhook !== undefined && pem !== undefined && !needsBundle(webhook, pem);
      metrics.set('podseal_injector_ca_bundle_current', isTrusted ? 1 : 0);
    },
  };
}

function ringing<T>(follower: Follower<T>, ring: () => void): Follower<T> {
  return {
    replace(items) {
      follower.replace(items);
      ring();
    },
    put(item) {
      follower.put(item);
      ring();
    },
    remove(item) {
      follower.remove(item);
      ring();
    },
  };
}
