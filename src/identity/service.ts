import { isDnsLabel } from './dns-name.ts';
import { readIpAddress } from './ip-address.ts';

/** What names and addresses follow from, of a Kubernetes Service. */
export interface Service {
  readonly name: string;
  /** Label to value, all of which must be equal; empty: the Service selects no pod. */
  readonly selector: Readonly<Record<string, string>>;
  /** Canonical text; empty for a headless Service. */
  readonly clusterIPs: readonly string[];
  readonly headless: boolean;
}

/** Whether the Service selects a pod with these labels. `{}` selects nothing (kubernetes-facts: EndpointSlices would be hand-made). */
export function selects(service: Service, labels: ReadonlyMap<string, string>): boolean {
  const pairs = Object.entries(service.selector);
  return pairs.length > 0 && pairs.every(([key, value]) => labels.get(key) === value);
}

/**
 * One line of services.json. The file is a JSON array with one Service per line, so that it can be
 * read line by line in constant memory; the lines `[` and `]` hold no Service (undefined).
 * Throws an Error that says what is wrong with the line.
 */
export function parseServiceLine(line: string): Service | undefined {
  const text = line.trim().replace(/^\[/, '').replace(/\]$/, '').replace(/,$/, '').trim();
  if (text === '') return undefined;
  const value = parseObject(text);
  const { name, selector, clusterIPs, headless } = value;
  if (typeof name !== 'string' || !isDnsLabel(name))
    throw new Error(`${JSON.stringify(name)} is no name of a Service`);
  return {
    name,
    selector: readSelector(selector),
    clusterIPs: readClusterIPs(clusterIPs),
    headless: headless === true,
  };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Error(`this line is not a JSON object: ${JSON.stringify(text.slice(0, 80))}`);
}

function readSelector(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw new Error('its selector is no map');
  const entries = Object.entries(value);
  if (entries.some(([, each]) => typeof each !== 'string'))
    throw new Error('its selector holds a value that is no text');
  return Object.fromEntries(entries);
}

function readClusterIPs(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Error('its clusterIPs is no list');
  return value
    .filter((each) => each !== 'None' && each !== '')
    .map((each) => {
      const read = readIpAddress(String(each));
      if ('problem' in read) throw new Error(`cluster IP ${JSON.stringify(each)}: ${read.problem}`);
      return read.address;
    });
}
