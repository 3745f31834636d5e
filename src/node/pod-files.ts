import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDownwardMap } from '../identity/pod-files.ts';
import { parseServiceLine, selects, type Service } from '../identity/service.ts';
import { type ServiceSources } from '../identity/service-source.ts';
import { readLines } from './read-lines.ts';

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
 * The Services of services.json that select a pod with these labels or are named; the others are
 * forgotten line by line, so that 2,000 Services cost the agent no memory.
 */
export function readServices(
  path: string | undefined,
  labels: ReadonlyMap<string, string> | undefined,
  names: readonly string[],
): ServiceSources['file'] {
  if (path === undefined) return { kind: 'none' };
  const services: Service[] = [];
  let lineNumber = 0;
  try {
    for (const line of readLines(path)) {
      lineNumber++;
      const service = parseServiceLine(line);
      if (service && ((labels && selects(service, labels)) || names.includes(service.name)))
        services.push(service);
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'it does not exist yet' : (code ?? `line ${lineNumber}: ${message}`);
    return {
      kind: 'unreadable',
      why: `the Services file ${JSON.stringify(path)} cannot be used: ${why}`,
    };
  }
  return { kind: 'read', services };
}
