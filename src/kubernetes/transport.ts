import {
  ResponseContext,
  type PromiseHttpLibrary,
  type RequestContext,
} from '@kubernetes/client-node';
import { type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { unreachable } from './api-error.ts';
import { type ApiEndpoint } from './api-endpoint.ts';

/** Whole call, connecting included. An API server under load answers in a second or says 429. */
const timeLimitMs = 10_000;
/** A CertificateSigningRequest has a few KiB; what is larger is no answer of ours. */
const maximumAnswerBytes = 4 * 1024 * 1024;

/** Told about each answered or failed (status 0) call. */
export type ObserveCall = (method: string, status: number) => void;

/**
 * HTTP for the generated client over node:https. The client's own transport opens a TLS connection
 * per call and has no time limit (docs/adr/0005). One keep-alive Agent, made anew only when the TLS
 * material changes: each secure context is native memory that V8 does not count. Authentication is
 * added here, per call, and once again after a 401, when the token has just been rotated.
 */
export function httpsTransport(
  endpoint: ApiEndpoint,
  stop: AbortSignal,
  observe: ObserveCall,
): PromiseHttpLibrary {
  let agent: { readonly key: string; readonly agent: Agent } | undefined;
  const agentNow = async (): Promise<Agent> => {
    const { key, material } = await endpoint.tls();
    if (agent?.key === key) return agent.agent;
    agent?.agent.destroy();
    agent = {
      key,
      agent: new Agent({ ...material, keepAlive: true, maxSockets: 2, timeout: 60_000 }),
    };
    return agent.agent;
  };
  const call = async (context: RequestContext): Promise<ResponseContext> => {
    const headers = { ...context.getHeaders(), ...(await endpoint.headers()) };
    const method = context.getHttpMethod();
    try {
      const answer = await exchange(context, headers, await agentNow(), stop);
      observe(method, answer.httpStatusCode);
      return answer;
    } catch (cause) {
      observe(method, 0);
      throw unreachable(endpoint.serverUrl, cause);
    }
  };
  return {
    async send(context) {
      const answer = await call(context);
      return answer.httpStatusCode === 401 ? call(context) : answer;
    },
  };
}

function exchange(
  context: RequestContext,
  headers: Record<string, string>,
  agent: Agent,
  stop: AbortSignal,
): Promise<ResponseContext> {
  return new Promise((resolve, reject) => {
    const method = context.getHttpMethod();
    const outgoing = httpsRequest(context.getUrl(), { method, headers, agent }, (incoming) => {
      collect(incoming).then((body) => {
        settle();
        const headers = incoming.headers as Record<string, string>;
        resolve(new ResponseContext(incoming.statusCode ?? 0, headers, bodyOf(body)));
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
      outgoing.destroy();
      reject(error);
    }
    outgoing.on('error', fail);
    stop.addEventListener('abort', onStop, { once: true });
    if (stop.aborted) onStop();
    else outgoing.end(context.getBody() as string | undefined);
  });
}

/** The client's own body decodes through TextDecoder, which costs a millisecond to load. */
function bodyOf(bytes: Buffer): ResponseContext['body'] {
  return {
    text: () => Promise.resolve(bytes.toString('utf8')),
    binary: () => Promise.resolve(bytes),
    stream: () => null,
  };
}

async function collect(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maximumAnswerBytes)
      throw new Error(`the answer is larger than ${maximumAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
