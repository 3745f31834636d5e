import { type Follower } from '../controller/list-watch.ts';
import { type LiveService, provablySelects } from '../identity/live-service.ts';

/** The Services of every namespace as list and watch tell them. */
export interface ServicesView {
  readonly follower: Follower<LiveService>;
  of(namespace: string): readonly LiveService[];
  /** Whether any of the namespace's Services selects a pod with these labels. */
  anySelects(namespace: string, labels: ReadonlyMap<string, string>): boolean;
  /** Those of the named Services that do not select a pod with these labels. */
  unselecting(
    namespace: string,
    labels: ReadonlyMap<string, string>,
    names: readonly string[],
  ): readonly string[];
  /** What a live list of one namespace said. The watch, which may be behind it, goes over all changes once more. */
  replaceIn(namespace: string, services: readonly LiveService[]): void;
}

/** `onChange` is called with each namespace whose Services may have changed. */
export function servicesView(onChange: (namespace: string) => void): ServicesView {
  const byNamespace = new Map<string, Map<string, LiveService>>();
  const put = (service: LiveService): void => {
    const { namespace, name } = service;
    const siblings = byNamespace.get(namespace) ?? new Map<string, LiveService>();
    byNamespace.set(namespace, siblings.set(name, service));
  };
  const remove = ({ namespace, name }: LiveService): void => {
    const siblings = byNamespace.get(namespace);
    siblings?.delete(name);
    if (siblings?.size === 0) byNamespace.delete(namespace);
  };
  const of = (namespace: string): readonly LiveService[] => [
    ...(byNamespace.get(namespace)?.values() ?? []),
  ];
  return {
    of,
    anySelects: (namespace, labels) =>
      of(namespace).some((service) => provablySelects(service, labels)),
    unselecting: (namespace, labels, names) =>
      names.filter((name) => {
        const service = byNamespace.get(namespace)?.get(name);
        return !service || !provablySelects(service, labels);
      }),
    replaceIn(namespace, services) {
      byNamespace.delete(namespace);
      for (const service of services) put(service);
    },
    follower: {
      replace(all) {
        const namespaces = new Set([...byNamespace.keys(), ...all.map((each) => each.namespace)]);
        byNamespace.clear();
        for (const service of all) put(service);
        for (const namespace of namespaces) onChange(namespace);
      },
      put(service) {
        put(service);
        onChange(service.namespace);
      },
      remove(service) {
        remove(service);
        onChange(service.namespace);
      },
    },
  };
}
