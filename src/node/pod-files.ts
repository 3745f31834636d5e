import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDownwardMap } from '../identity/pod-files.ts';
import { parseServiceLine, selects, type Service } from '../identity/service.ts';
import { type ServiceSources } from '../identity/service-source.ts';
import { linesWith } from './lines-with.ts';

/** The text of a file, or undefined when it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** A downward API file as a map; undefined while it is missing or broken. */
export function readDownwardMap(path: string): ReadonlyMap<string, string> | undefined {
  const text = readText(path);
  if (text === undefined) return undefined;
  try {
    return parseDownwardMap(text);
  } catch {
    return undefined;
  }
}

export function labelsPath(podInfoDirectory: string): string {
  return join(podInfoDirectory, 'labels');
}

export function annotationsPath(podInfoDirectory: string): string {
  return join(podInfoDirectory, 'annotations');
}

/**
 * The Services of services.json that select a pod with these labels or are named. A line is parsed
 * only when it holds the value of a label or one of the names, and forgotten at once otherwise: 2,000
 * Services must cost the agent neither memory nor time.
 */
export function readServices(
  path: string | undefined,
  labels: ReadonlyMap<string, string> | undefined,
  names: readonly string[],
): ServiceSources['file'] {
  if (path === undefined) return { kind: 'none' };
  const clues = [...new Set([...names, ...(labels?.values() ?? [])])].map((text) =>
    JSON.stringify(text),
  );
  const isOurs = (service: Service): boolean =>
    (labels !== undefined && selects(service, labels)) || names.includes(service.name);
  const services: Service[] = [];
  try {
    const { lines, lastCharacter } = linesWith(path, clues);
    if (lastCharacter !== ']') throw new Error('the list does not end with ]');
    for (const line of lines) {
      const service = parseServiceLine(line);
      if (service && isOurs(service)) services.push(service);
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist yet' : (code ?? message);
    return {
      kind: 'unreadable',
      why: `the Services file ${JSON.stringify(path)} cannot be used: ${why}`,
    };
  }
  return { kind: 'read', services };
}
