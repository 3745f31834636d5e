import { isDnsLabel } from '../identity/dns-name.ts';
import { type LiveService, provesNames } from '../identity/live-service.ts';

/**
 * A ConfigMap holds 1 MiB, of which the key and what else people put into it are a part (k8s.io/api
 * core/v1 MaxSecretSize).
 */
export const maximumFileBytes = 1_000_000;

/**
 * The text of services.json: a JSON array with one Service per line, so that the agent reads it line by
 * line and finds label values by their bytes (identity/service.ts, node/lines-with.ts). Only Services
 * that can prove a name; in the order of their names and keys, so that equal Services make equal bytes.
 */
export function servicesFile(services: readonly LiveService[]): string {
  const lines = services
    .filter((service) => provesNames(service) && Object.keys(service.selector).length > 0)
    // One line that cannot be read would take the file away.
    .filter(({ name }) => isDnsLabel(name))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, selector, clusterIPs, headless }) =>
      JSON.stringify({ name, selector: sorted(selector), clusterIPs, headless }),
    );
  return `[\n${lines.join(',\n')}${lines.length > 0 ? '\n' : ''}]\n`;
}

function sorted(map: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What is wrong with a file of so many bytes; undefined: it fits. Such a file is not written. */
export function tooLargeMessage(namespace: string, bytes: number): string | undefined {
  if (bytes <= maximumFileBytes) return undefined;
  return `the Services of namespace ${namespace} make ${bytes} bytes, more than ${maximumFileBytes}: ConfigMap podseal-services stays as it was, and agents see no newer Services; spread them over namespaces, or name them in PODSEAL_SERVICES`;
}
