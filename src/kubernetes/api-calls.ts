import { PodsealError } from '../errors.ts';
import { type ApiEndpoint } from './api-endpoint.ts';
import { type Attempted, refusalError, unreachable } from './api-error.ts';
import {
  AnswerTooLarge,
  collect,
  connectionsTo,
  exchange,
  headersOf,
  type Incoming,
  type ObserveCall,
  openStream,
  type Outgoing,
} from './exchange.ts';
import { frames, jsonLines, readStream } from './answer-stream.ts';
import { isProtobuf, protobufType, readProtobuf, readWatchEvent, type Shape } from './protobuf.ts';

/** One call of the API by a controller. */
export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Sent as JSON; bytes are protobuf and sent as they are. */
  readonly body?: unknown;
  /** A form of the answer other than plain JSON: metadata alone, say. */
  readonly accept?: string;
  /** How to read the object, or the list, when the server can answer in protobuf; without, JSON is asked for. */
  readonly shape?: Shape;
  readonly attempted: Attempted;
}

/**
 * The API as controllers call it: plain JSON, because the generated client drops every field that its
 * models do not know, and costs several times the CPU (docs/adr/0005, 0011); or protobuf, for the kinds
 * that come in bursts (docs/adr/0020).
 */
export interface ApiCalls {
  /** The parsed answer, in either encoding the same. Throws API_UNREACHABLE, API_FORBIDDEN, API_NOT_FOUND, API_CONFLICT, API_EXPIRED, API_TOO_LARGE or API_REFUSED. */
  call(call: ApiCall): Promise<unknown>;
  /** Each event of a watch, as its line of JSON has it, until the server ends it or `stop`; throws like `call`. */
  watch(call: ApiCall, onLine: (line: unknown) => void, stop: AbortSignal): Promise<void>;
}

export interface ApiCallsOptions {
  /** How many calls may be under way at once; watches come on top. */
  readonly maximumConnections: number;
  readonly observe: ObserveCall;
}

/** A page of a list (listing.ts asks for smaller ones when it is larger), or one object. */
const maximumAnswerBytes = 16 * 1024 * 1024;

export function apiCalls(source: ApiEndpoint, options: ApiCallsOptions): ApiCalls {
  const { observe } = options;
  const { endpoint, refresh } = remembered(source);
  const connections = connectionsTo(endpoint, options.maximumConnections);
  const watches = connectionsTo(endpoint, Infinity);
  const outgoing = async (call: ApiCall): Promise<Outgoing> => {
    const body = bodyOf(call);
    return {
      url: endpoint.serverUrl + call.path,
      method: call.method,
      headers: {
        accept: call.accept ?? (call.shape ? eitherType : 'application/json'),
        'user-agent': 'podseal',
        ...(body === undefined ? {} : { 'content-type': contentTypeOf(call) }),
        ...(await endpoint.headers()),
      },
      body,
    };
  };
  const once = async (call: ApiCall): Promise<Incoming> => {
    try {
      const answer = await exchange(await outgoing(call), await connections(), maximumAnswerBytes);
      observe(call.method, answer.status);
      return answer;
    } catch (cause) {
      observe(call.method, 0);
      if (cause instanceof AnswerTooLarge) throw tooLarge(call, cause);
      refresh();
      throw unreachable(endpoint.serverUrl, cause);
    }
  };
  return {
    async call(call) {
      const first = await once(call);
      if (first.status !== 401) return readAnswer(first, call);
      // The token has just been rotated, perhaps.
      refresh();
      return readAnswer(await once(call), call);
    },
    async watch(call, onLine, stop) {
      let isAnswered = false;
      try {
        const incoming = await openStream(await outgoing(call), await watches(), stop);
        isAnswered = true;
        const { statusCode: status = 0 } = incoming;
        observe('WATCH', status);
        if (status !== 200) {
          const body = await collect(incoming, maximumAnswerBytes);
          throw refusalOf({ status, headers: headersOf(incoming), body }, call);
        }
        const { shape } = call;
        const isInFrames = incoming.headers['content-type']?.startsWith(protobufType);
        const splitter =
          shape && isInFrames
            ? frames(maximumAnswerBytes, (frame) => onLine(readWatchEvent(shape, frame)))
            : jsonLines(maximumAnswerBytes, onLine);
        await readStream(incoming, splitter);
      } catch (cause) {
        if (stop.aborted) return;
        if (!isAnswered) observe('WATCH', 0);
        refresh();
        throw unreachable(endpoint.serverUrl, cause);
      }
    },
  };
}

/** Reading token and ca.crt for each call costs a fourth of the call. */
const rememberMs = 1_000;

/** The endpoint with its credentials read once a second, or after `refresh`. */
function remembered(source: ApiEndpoint): {
  readonly endpoint: ApiEndpoint;
  readonly refresh: () => void;
} {
  const tls = kept(() => source.tls());
  const headers = kept(() => source.headers());
  return {
    endpoint: { ...source, tls: () => tls.read(), headers: () => headers.read() },
    refresh() {
      tls.forget();
      headers.forget();
    },
  };
}

function kept<T>(read: () => Promise<T>): { read(): Promise<T>; forget(): void } {
  let last: { readonly value: T; readonly untilMs: number } | undefined;
  return {
    async read() {
      if (last && performance.now() < last.untilMs) return last.value;
      const value = await read();
      last = { value, untilMs: performance.now() + rememberMs };
      return value;
    },
    forget: () => (last = undefined),
  };
}

const eitherType = `${protobufType},application/json`;

const contentTypes = {
  GET: 'application/json',
  POST: 'application/json',
  PUT: 'application/json',
  PATCH: 'application/merge-patch+json',
  DELETE: 'application/json',
} as const;

function bodyOf({ body }: ApiCall): string | Buffer | undefined {
  return body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body);
}

function contentTypeOf({ method, body }: ApiCall): string {
  return Buffer.isBuffer(body) ? protobufType : contentTypes[method];
}

function readAnswer(answer: Incoming, call: ApiCall): unknown {
  if (answer.status >= 300) throw refusalOf(answer, call);
  try {
    return parsed(answer.body, call.shape);
  } catch {
    // A proxy's page: not an answer of the API server.
    throw refusalError({ ...answer, status: 502, body: undefined }, call.attempted);
  }
}

function tooLarge({ attempted }: ApiCall, { message }: AnswerTooLarge): PodsealError {
  return new PodsealError(
    'API_TOO_LARGE',
    `Cannot ${attempted.verb} ${attempted.what}: ${message}`,
    {
      hint: 'Lists are asked for in smaller pages. A single object of that size is no object of Kubernetes.',
    },
  );
}

function parsed(body: Buffer, shape: Shape = {}): unknown {
  return isProtobuf(body)
    ? readProtobuf(shape, body)
    : (JSON.parse(body.toString('utf8')) as unknown);
}

function refusalOf(answer: Incoming, call: ApiCall): PodsealError {
  let body: unknown;
  try {
    body = parsed(answer.body);
  } catch {
    // A proxy's page: its status alone counts.
  }
  return refusalError({ ...answer, body }, call.attempted);
}
