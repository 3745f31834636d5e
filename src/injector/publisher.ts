import { joined } from '../controller/joined.ts';
import { type PublicationView, publishedNames } from './publication-view.ts';
import { bringAbout } from './bring-about.ts';
import { type PublicationsWorld } from './publications-world.ts';

/** Live reads and writes of one namespace; those who want the same at the same time share them. All reject with PodsealErrors. */
export interface Publisher {
  /** The view learns what the API has now. */
  listServices(namespace: string): Promise<void>;
  readStanding(namespace: string): Promise<void>;
  readOwner(): Promise<void>;
  /** Brings what stands in the namespace to what the view wants. */
  publish(namespace: string): Promise<void>;
  /** Digest of services.json as this replica wrote it last; undefined: it did not. */
  lastWritten(namespace: string): string | undefined;
  forget(namespace: string): void;
}

export function publisher(
  world: Pick<PublicationsWorld, 'servicesOf' | 'configMaps' | 'webhooks' | 'metrics' | 'log'>,
  view: PublicationView,
): Publisher {
  const { configMaps, metrics, log } = world;
  const { followers } = view;
  const written = new Map<string, string>();
  const readOwner = joined(async () => {
    const found = await world.webhooks.read();
    if (found) followers.webhooks.put(found);
  });
  const publishOne = async (
    wanted: ReturnType<PublicationView['wanted']>[number],
  ): Promise<void> => {
    const { namespace, name, digest } = wanted;
    const standing = await bringAbout(wanted, view.standing(wanted), configMaps, (write) => {
      metrics.add('podseal_injector_publications_total', { config_map: name, write });
      const what = JSON.stringify(`${namespace}/${name}`);
      log('info', 'publication.written', `ConfigMap ${what} is current`, { write });
    });
    if (!standing) return;
    followers.configMaps[name].put(standing);
    if (name === 'podseal-services') written.set(namespace, digest);
  };
  return {
    listServices: joined(async (namespace) =>
      view.learnServices(namespace, await world.servicesOf(namespace)),
    ),
    readStanding: joined(async (namespace) => {
      for (const name of publishedNames) {
        const found = await configMaps.read({ namespace, name });
        const known = view.standing({ namespace, name });
        if (found) followers.configMaps[name].put(found);
        else if (known) followers.configMaps[name].remove(known);
      }
    }),
    readOwner: () => readOwner(''),
    publish: joined(async (namespace) => {
      await Promise.all(view.wanted(namespace).map(publishOne));
    }),
    lastWritten: (namespace) => written.get(namespace),
    forget: (namespace) => void written.delete(namespace),
  };
}
