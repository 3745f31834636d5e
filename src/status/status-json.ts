import { inAscii, parseDenial } from '../certificates/denial.ts';
import { mendOf } from './mend.ts';
import { newestError } from './newest-error.ts';
import { isFine, type PodStatus, reportOf } from './pod-status.ts';

import { whyOf } from './why.ts';

/** The same for programs: an array with an object for each pod, null for what is not known. Pure ASCII. */
export function statusJson(statuses: readonly PodStatus[], now: Date): string {
  const records = statuses.map((status) => record(status, now));
  return `${JSON.stringify(records, undefined, 2).split('\n').map(inAscii).join('\n')}\n`;
}

function record(status: PodStatus, now: Date): unknown {
  const { pod, state, reading, clues } = status;
  const { request } = clues;
  const certificate = reportOf(status)?.certificate;
  return {
    namespace: pod.namespace,
    name: pod.name,
    uid: pod.uid,
    state,
    fine: isFine(status),
    secondsLeft: certificate
      ? Math.floor((certificate.notAfter.getTime() - now.getTime()) / 1000)
      : null,
    lastError: newestError(status)?.code ?? null,
    why: whyOf(status, now),
    mend: mendOf(status),
    request: request
      ? {
          name: request.name,
          standing: request.standing,
          denial: (request.standing === 'denied' ? parseDenial(request.message) : null) ?? null,
        }
      : null,
    unread: reading.kind === 'unread' ? reading.why : null,
    agent: withNulls(reportOf(status)),
  };
}

/** What there is not as null, so that every agent has the same fields. */
function withNulls(report: ReturnType<typeof reportOf>): unknown {
  if (!report) return null;
  const { certificate, pending, lastError } = report;
  return {
    ...report,
    certificate: certificate ?? null,
    pending: pending ?? null,
    lastError: lastError ?? null,
  };
}
