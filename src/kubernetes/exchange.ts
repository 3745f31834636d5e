import { type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { type ApiEndpoint } from './api-endpoint.ts';

/** One HTTP call as it goes over the wire. */
export interface Outgoing {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
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

/**
 * Keep-alive connections to the API server, made anew only when the TLS material changes: each secure
 * context is native memory that V8 does not count (docs/adr/0005).
 */
export function connectionsTo(endpoint: ApiEndpoint, maxSockets: number): () => Promise<Agent> {
  let made: { readonly key: string; readonly agent: Agent } | undefined;
  return async () => {
    const { key, material } = await endpoint.tls();
    if (made?.key === key) return made.agent;
    made?.agent.destroy();
    const agent = new Agent({ ...material, keepAlive: true, maxSockets, timeout: 60_000 });
    made = { key, agent };
    return agent;
  };
}

/** Sends one call and collects its answer, at most `maximumBytes` of it. Rejects with what node:https says, or why it was ended. */
export function exchange(
  outgoing: Outgoing,
  agent: Agent,
  maximumBytes: number,
  stop: AbortSignal,
): Promise<Incoming> {
  return new Promise((resolve, reject) => {
    const { url, method, headers } = outgoing;
    const request = httpsRequest(url, { method, headers, agent }, (incoming) => {
      collect(incoming, maximumBytes).then((body) => {
        settle();
        const answered = incoming.headers as Record<string, string>;
        resolve({ status: incoming.statusCode ?? 0, headers: answered, body });
      }, fail);
    });
    const timer = setTimeout(
      () => fail(new Error(`no answer within ${timeLimitMs / 1000} s`)),
      timeLimitMs,
    );
    const onStop = (): void => fail(new Error('stopped'));
    const settle = (): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', onStop);
    };
    function fail(error: Error): void {
      settle();
      request.destroy();
      reject(error);
    }
    request.on('error', fail);
    stop.addEventListener('abort', onStop, { once: true });
    if (stop.aborted) onStop();
    else request.end(outgoing.body);
  });
}

async function collect(incoming: IncomingMessage, maximumBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maximumBytes) throw new Error(`the answer is larger than ${maximumBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
