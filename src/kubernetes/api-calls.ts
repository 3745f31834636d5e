import { createInterface } from 'node:readline';
import { request as httpsRequest } from 'node:https';
import { type IncomingMessage } from 'node:http';
import { type ApiEndpoint } from './api-endpoint.ts';
import { type Attempted, refusalError, unreachable } from './api-error.ts';
import {
  connectionsTo,
  exchange,
  type Incoming,
  type ObserveCall,
  type Outgoing,
} from './exchange.ts';

/** One call of the API by a controller. */
export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly attempted: Attempted;
}

/**
 * The API as controllers call it: plain JSON, because the generated client drops every field that its
 * models do not know, and costs several times the CPU (docs/adr/0005, 0011).
 */
export interface ApiCalls {
  /** The parsed answer. Throws API_UNREACHABLE, API_FORBIDDEN, API_NOT_FOUND, API_CONFLICT, API_EXPIRED or API_REFUSED. */
  call(call: ApiCall): Promise<unknown>;
  /** Each line of a watch as parsed JSON, until the server ends it or `stop`; throws like `call`. */
  watch(call: ApiCall, onLine: (line: unknown) => void, stop: AbortSignal): Promise<void>;
}

export interface ApiCallsOptions {
  /** How many calls may be under way at once; watches come on top. */
  readonly maximumConnections: number;
  readonly observe: ObserveCall;
  readonly stop: AbortSignal;
}

/** A page of 500 objects of the largest kind that is listed. */
const maximumAnswerBytes = 64 * 1024 * 1024;

export function apiCalls(endpoint: ApiEndpoint, options: ApiCallsOptions): ApiCalls {
  const { observe, stop } = options;
  const connections = connectionsTo(endpoint, options.maximumConnections);
  const watches = connectionsTo(endpoint, Infinity);
  const outgoing = async (call: ApiCall): Promise<Outgoing> => {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    return {
      url: endpoint.serverUrl + call.path,
      method: call.method,
      headers: {
        accept: 'application/json',
        'user-agent': 'podseal',
        ...(body === undefined ? {} : { 'content-type': contentTypes[call.method] }),
        ...(await endpoint.headers()),
      },
      body,
    };
  };
  const once = async (call: ApiCall): Promise<Incoming> => {
    try {
      const agent = await connections();
      const answer = await exchange(await outgoing(call), agent, maximumAnswerBytes, stop);
      observe(call.method, answer.status);
      return answer;
    } catch (cause) {
      observe(call.method, 0);
      throw unreachable(endpoint.serverUrl, cause);
    }
  };
  return {
    async call(call) {
      const first = await once(call);
      // The token has just been rotated, perhaps.
      const answer = first.status === 401 ? await once(call) : first;
      return readAnswer(answer, call);
    },
    async watch(call, onLine, until) {
      const sent = await outgoing(call);
      const ended = AbortSignal.any([until, stop]);
      const incoming = await opened(sent, await watches(), ended).catch((cause: unknown) => {
        if (ended.aborted) return undefined;
        observe('WATCH', 0);
        throw unreachable(endpoint.serverUrl, cause);
      });
      if (!incoming) return;
      observe('WATCH', incoming.statusCode ?? 0);
      if (incoming.statusCode !== 200) return refuse(incoming, call);
      try {
        for await (const line of createInterface({ input: incoming, crlfDelay: Infinity }))
          if (line !== '') onLine(JSON.parse(line));
      } catch (cause) {
        if (ended.aborted) return;
        throw unreachable(endpoint.serverUrl, cause);
      }
      if (!incoming.complete && !ended.aborted)
        throw unreachable(endpoint.serverUrl, new Error('the watch broke off'));
    },
  };
}

const contentTypes = {
  GET: 'application/json',
  POST: 'application/json',
  PUT: 'application/json',
  PATCH: 'application/merge-patch+json',
  DELETE: 'application/json',
} as const;

function readAnswer(answer: Incoming, call: ApiCall): unknown {
  const text = answer.body.toString('utf8');
  if (answer.status >= 300) throw refusalError({ ...answer, body: text }, call.attempted);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // A proxy's page: not an answer of the API server.
    throw refusalError({ ...answer, status: 502, body: undefined }, call.attempted);
  }
}

function opened(
  outgoing: Outgoing,
  agent: Parameters<typeof exchange>[1],
  stop: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { url, method, headers } = outgoing;
    const request = httpsRequest(url, { method, headers, agent, signal: stop }, (incoming) => {
      // Broken off later: the reader of its lines hears of it.
      incoming.on('error', () => undefined);
      resolve(incoming);
    });
    request.on('error', reject);
    request.setTimeout(0);
    request.end();
  });
}

async function refuse(incoming: IncomingMessage, call: ApiCall): Promise<never> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks).subarray(0, 65_536).toString('utf8');
  const headers = incoming.headers as Record<string, string>;
  throw refusalError({ status: incoming.statusCode ?? 0, body, headers }, call.attempted);
}
