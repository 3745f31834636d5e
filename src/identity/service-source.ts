import { selects, type Service } from './service.ts';
import { type OwnService } from './wanted-names.ts';

/** What the sources of Service names say right now. Undefined: that source is not given. */
export interface ServiceSources {
  /** PODSEAL_SERVICES; an empty list means "none" and is an answer. */
  readonly setting: readonly string[] | undefined;
  /** The annotation `podseal.dev/services`: a promise that these names will become provable. */
  readonly annotation: readonly string[] | undefined;
  /** The pod's labels, once the downward API's file was read. */
  readonly labels: ReadonlyMap<string, string> | undefined;
  readonly file:
    | { readonly kind: 'none' }
    | { readonly kind: 'unreadable'; readonly why: string }
    | { readonly kind: 'read'; readonly services: readonly Service[] };
}

export type OwnServices =
  | { readonly kind: 'known'; readonly services: readonly OwnService[]; readonly source: string }
  /** Not known yet; `unconfigured` when no source could ever say. */
  | { readonly kind: 'unknown'; readonly why: string; readonly unconfigured: boolean };

/**
 * The Services the pod belongs to, by the first source that is given: setting, annotation, then the
 * selectors in services.json against the pod's labels. Unknown is not none: a source that cannot be
 * read yet never yields a certificate without names.
 */
export function ownServices(sources: ServiceSources): OwnServices {
  if (sources.setting) return known(named(sources.setting, sources), 'PODSEAL_SERVICES');
  if (sources.annotation) return promised(sources.annotation, sources);
  return selected(sources);
}

function known(services: readonly OwnService[], source: string): OwnServices {
  return { kind: 'known', services, source };
}

function unknown(why: string): OwnServices {
  return { kind: 'unknown', why, unconfigured: false };
}

/** Services given by name, with what the file knows of them. */
function named(names: readonly string[], sources: ServiceSources): OwnService[] {
  const listed = sources.file.kind === 'read' ? sources.file.services : [];
  return names.map(
    (name) =>
      listed.find((service) => service.name === name) ?? {
        name,
        clusterIPs: [],
        headless: undefined,
      },
  );
}

function promised(names: readonly string[], sources: ServiceSources): OwnServices {
  const source = 'annotation podseal.dev/services';
  if (sources.file.kind === 'none') return known(named(names, sources), source);
  if (sources.file.kind === 'unreadable') return unknown(sources.file.why);
  const { labels } = sources;
  if (!labels) return unknown('the file with the labels of the pod is not there yet');
  const { services } = sources.file;
  const waiting = names.filter(
    (name) => !services.some((service) => service.name === name && selects(service, labels)),
  );
  if (waiting.length === 0) return known(named(names, sources), source);
  return unknown(
    `the ${source} promises ${waiting.map((name) => JSON.stringify(name)).join(', ')}, ` +
      'and no Service of that name selects the pod yet',
  );
}

function selected(sources: ServiceSources): OwnServices {
  switch (sources.file.kind) {
    case 'none':
      return {
        kind: 'unknown',
        why: 'no source of Service names is configured',
        unconfigured: true,
      };
    case 'unreadable':
      return unknown(sources.file.why);
    case 'read': {
      const { labels } = sources;
      if (!labels) return unknown('the file with the labels of the pod is not there yet');
      return known(
        sources.file.services.filter((service) => selects(service, labels)),
        'selectors in services.json',
      );
    }
  }
}
