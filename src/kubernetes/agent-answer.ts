import {
  type AgentReading,
  type AgentReport,
  type ReportedCertificate,
  type ReportedError,
} from '../status/agent-report.ts';
import { type PodReference } from '../telemetry/pod-events.ts';
import { type ApiEndpoint } from './api-endpoint.ts';
import { AnswerTooLarge, connectionsTo, exchange, type Incoming } from './exchange.ts';
import { type Json, listOf, objectOf, textOf, textsOf } from './json.ts';

/** An agent tells some two KiB, a name in 300 bytes: what is much larger is no status. */
const maximumAnswerBytes = 64 * 1024;
const timeLimitMs = 5_000;
const longestText = 8 * 1024;
const mostTexts = 250;

/**
 * Asks agents for their status through the API server (pods/proxy). What comes back is another tenant's
 * word: limited in size and time, and only what has the right form is kept.
 */
export function agentAnswers(
  endpoint: ApiEndpoint,
  maximumConnections: number,
): (pod: PodReference, port: number) => Promise<AgentReading> {
  const connections = connectionsTo(endpoint, maximumConnections);
  return async (pod, port) => {
    const path = `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}/pods/${encodeURIComponent(pod.name)}:${port}/proxy/status`;
    const limit = AbortSignal.timeout(timeLimitMs);
    try {
      const outgoing = {
        url: endpoint.serverUrl + path,
        method: 'GET',
        headers: {
          accept: 'application/json',
          'user-agent': 'podseal',
          ...(await endpoint.headers()),
        },
        body: undefined,
      };
      const answer = await exchange(outgoing, await connections(), maximumAnswerBytes, limit);
      return readAnswer(answer, pod);
    } catch (error) {
      if (!limit.aborted) return unread(reasonOf(error));
      return { ...unread(`no answer within ${timeLimitMs / 1000} s`), isTimeout: true };
    }
  };
}

function unread(why: string): { readonly kind: 'unread'; readonly why: string } {
  return { kind: 'unread', why };
}

function reasonOf(error: unknown): string {
  if (error instanceof AnswerTooLarge) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  return `the API server does not answer: ${code ?? message}`;
}

/** Throws nothing: whatever the answer is, it says why it cannot be read. */
export function readAnswer({ status, body }: Incoming, pod: PodReference): AgentReading {
  const answer = parsed(body);
  if (status !== 200) return unread(refusal(status, answer));
  const report = answer && reportOf(answer);
  if (!report) return unread('what answers on that port does not tell a status of Podseal');
  const who = objectOf(answer['pod']);
  if (who['uid'] === pod.uid) return { kind: 'read', report };
  const other = `${text(who['namespace'], 63)}/${text(who['name'], 253)}`;
  return unread(`another pod answers on that port: ${JSON.stringify(other)}`);
}

/** A Status of the API server, or whatever a pod answers. */
function refusal(status: number, answer: Json | undefined): string {
  const said = text(answer?.['message'], 500);
  if (status === 403 && answer?.['reason'] === 'Forbidden')
    return 'you may not get pods/proxy: apply examples/rbac/status.yaml';
  if (status === 404 && said === '') return 'it has no page /status: is it an older version?';
  return said === '' ? `the answer was ${status}` : said;
}

function parsed(body: Buffer): Json | undefined {
  try {
    return objectOf(JSON.parse(body.toString('utf8')));
  } catch {
    return undefined;
  }
}

function reportOf(answer: Json): AgentReport | undefined {
  const { ready, certificate, pending, lastError } = answer;
  if (typeof ready !== 'boolean') return undefined;
  const { request, since } = objectOf(pending);
  const pendingSince = time(since);
  return {
    ready,
    reasons: texts(answer['reasons'], 500),
    expired: answer['expired'] === true,
    certificate: certificateOf(objectOf(certificate)),
    pending: pendingSince && { request: text(request, 253), since: pendingSince },
    lastError: errorOf(objectOf(lastError)),
    signerName: text(answer['signerName'], 571),
    hooks: listOf(answer['hooks'])
      .slice(0, mostTexts)
      .map(objectOf)
      .map((each) => ({
        hook: text(each['hook'], 20),
        outcome: text(each['outcome'], 20),
        why: text(each['why'], 500),
      })),
    application: text(answer['application'], 20),
    version: text(answer['version'], 40),
  };
}

function certificateOf(told: Json): ReportedCertificate | undefined {
  const [notBefore, notAfter] = [time(told['notBefore']), time(told['notAfter'])];
  const renewalAt = time(told['renewalAt']);
  if (!notBefore || !notAfter || !renewalAt) return undefined;
  return {
    names: texts(told['names'], 300),
    issuer: text(told['issuer'], 500),
    serial: text(told['serial'], 64),
    fingerprint: text(told['fingerprint'], 64),
    notBefore,
    notAfter,
    renewalAt,
  };
}

function errorOf(told: Json): ReportedError | undefined {
  const [at, again] = [time(told['at']), time(told['again'])];
  if (!at || !again) return undefined;
  return {
    code: text(told['code'], 60),
    message: text(told['message'], longestText),
    hint: text(told['hint'], 1_000),
    at,
    again,
  };
}

function text(value: unknown, longest: number): string {
  return (textOf(value) ?? '').slice(0, longest);
}

function texts(value: unknown, longest: number): readonly string[] {
  return textsOf(value)
    .slice(0, mostTexts)
    .map((each) => each.slice(0, longest));
}

function time(value: unknown): Date | undefined {
  const date = new Date(textOf(value) ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
