import { type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { createSecureContext } from 'node:tls';
import { type ApiEndpoint } from './api-endpoint.ts';

/** One HTTP call as it goes over the wire. */
export interface Outgoing {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Text as UTF-8. */
  readonly body: string | Buffer | undefined;
}

export interface Incoming {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Told about each answered or failed (status 0) call. */
export type ObserveCall = (method: string, status: number) => void;

/** Whole call, connecting included. An API server under load answers in a second or says 429. */
const timeLimitMs = 10_000;
/** The API server closes connections that idle for longer; a call that meets the close would fail. */
const idleMs = 60_000;

/**
 * Keep-alive connections to the API server, made anew only when the TLS material changes: each secure
 * context is native memory that V8 does not count (docs/adr/0005).
 */
export function connectionsTo(endpoint: ApiEndpoint, maxSockets: number): () => Promise<Agent> {
  let made: { readonly key: string; readonly agent: Agent } | undefined;
  return async () => {
    const { key, material } = await endpoint.tls();
    if (made?.key === key) return made.agent;
    // What is under way ends in peace; connections that wait for work end now, the others after idling.
    for (const socket of Object.values(made?.agent.freeSockets ?? {}).flat()) socket?.destroy();
    const secureContext = createSecureContext(material);
    const agent = new Agent({
      ...material,
      // Else there would be one for each connection.
      secureContext,
      keepAlive: true,
      maxSockets,
      timeout: idleMs,
    });
    made = { key, agent };
    return agent;
  };
}

/** Sends one call and collects its answer, at most `maximumBytes` of it. Rejects with what node:https says, or why it was ended. */
export function exchange(
  outgoing: Outgoing,
  agent: Agent,
  maximumBytes: number,
  stop?: AbortSignal,
): Promise<Incoming> {
  return new Promise((resolve, reject) => {
    const request = requestOf(outgoing, agent);
    request.on('response', (incoming) => {
      collect(incoming, maximumBytes).then((body) => {
        settle();
        resolve({ status: incoming.statusCode ?? 0, headers: headersOf(incoming), body });
      }, fail);
    });
    const timer = setTimeout(() => fail(tooLate()), timeLimitMs);
    const onStop = (): void => fail(new Error('stopped'));
    const settle = (): void => {
      clearTimeout(timer);
      stop?.removeEventListener('abort', onStop);
    };
    function fail(error: Error): void {
      settle();
      request.destroy();
      reject(error);
    }
    request.on('error', fail);
    stop?.addEventListener('abort', onStop, { once: true });
    if (stop?.aborted) onStop();
    else request.end(outgoing.body);
  });
}

/** Begins a call whose answer goes on until `stop`; resolves when its head is there, and rejects like `exchange`. */
export function openStream(
  outgoing: Outgoing,
  agent: Agent,
  stop: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = requestOf(outgoing, agent, stop);
    const timer = setTimeout(() => request.destroy(tooLate()), timeLimitMs);
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.on('response', (incoming) => {
      clearTimeout(timer);
      // Broken off before somebody reads: the reader hears of it by its end.
      incoming.on('error', () => undefined);
      resolve(incoming);
    });
    // It may be silent for longer than an idle connection.
    request.setTimeout(0);
    request.end(outgoing.body);
  });
}

function requestOf(outgoing: Outgoing, agent: Agent, signal?: AbortSignal): ClientRequest {
  const { url, method, headers, body } = outgoing;
  // Without its length node:http sends the body of a DELETE after the end of the request.
  const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
  const options = { method, headers: { ...headers, ...length }, agent };
  return httpsRequest(url, signal ? { ...options, signal } : options);
}

export function headersOf(incoming: IncomingMessage): Readonly<Record<string, string>> {
  return incoming.headers as Record<string, string>;
}

/** Not the network's fault, and not mended by asking again. */
export class AnswerTooLarge extends Error {}

/** The whole body, at most `maximumBytes` of it. */
export function collect(incoming: IncomingMessage, maximumBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    incoming.on('data', (chunk: Buffer) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > maximumBytes)
        incoming.destroy(new AnswerTooLarge(`the answer is larger than ${maximumBytes} bytes`));
    });
    incoming.on('error', reject);
    incoming.on('end', () => resolve(Buffer.concat(chunks)));
  });
}

function tooLate(): Error {
  return new Error(`no answer within ${timeLimitMs / 1000} s`);
}
