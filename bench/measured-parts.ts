import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiClient } from '../test/cluster/api-client.ts';

/** The process number of each program that is measured, by its name. */
export type Parts = Readonly<Record<string, number>>;

/** By part: milliseconds of CPU, user and system. */
export type CpuMs = Readonly<Record<string, number>>;

/** CPU that each part has used since it was started; a clock tick of Linux is 10 ms. */
export function cpuOf(parts: Parts): CpuMs {
  return Object.fromEntries(
    Object.entries(parts).map(([name, pid]) => {
      // Fields 14 and 15; the name in field 2 may hold blanks and parentheses.
      const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) (?=[A-Z] )/);
      const fields = rest.split(' ').map(Number);
      return [name, ((fields[11] ?? NaN) + (fields[12] ?? NaN)) * 10];
    }),
  );
}

export function cpuSince(before: CpuMs, parts: Parts): CpuMs {
  const now = cpuOf(parts);
  return Object.fromEntries(
    Object.entries(now).map(([name, ms]) => [name, ms - (before[name] ?? 0)]),
  );
}

/** Waits until the parts together have used less than 15 % of a core for so long; half a minute at most. */
export async function quiet(parts: Parts, forMs = 500): Promise<void> {
  const lookMs = 500;
  const until = Date.now() + 30_000;
  for (let quietMs = 0; quietMs < forMs && Date.now() < until;) {
    const before = cpuOf(parts);
    await sleep(lookMs);
    const used = Object.values(cpuSince(before, parts)).reduce((sum, ms) => sum + ms, 0);
    quietMs = used < 0.15 * lookMs ? quietMs + lookMs : 0;
  }
}

/** How often each kind of call was made: `PATCH certificatesigningrequests/approval`. */
export type ApiCallCounts = ReadonlyMap<string, number>;

/** Counted by the API server itself since its start; a watch counts when it ends. */
export async function apiCallCounts(api: ApiClient): Promise<ApiCallCounts> {
  const text = String(await api.must('GET', '/metrics'));
  const counts = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, labels = '', value] = /^apiserver_request_total\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (value === undefined) continue;
    const label = (name: string): string =>
      new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
    const [resource, subresource] = [label('resource'), label('subresource')];
    // Our own reading of these figures, and probes of the API server, are none of a program's calls.
    if (resource === '') continue;
    const kind = `${label('verb')} ${resource}${subresource === '' ? '' : `/${subresource}`}`;
    counts.set(kind, (counts.get(kind) ?? 0) + Number(value));
  }
  return counts;
}

export function callsSince(before: ApiCallCounts, now: ApiCallCounts): ApiCallCounts {
  const since = [...now].map(([kind, count]) => [kind, count - (before.get(kind) ?? 0)] as const);
  return new Map(since.filter(([, count]) => count > 0));
}
