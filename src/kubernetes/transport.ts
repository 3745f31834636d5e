import {
  ResponseContext,
  type PromiseHttpLibrary,
  type RequestContext,
} from '@kubernetes/client-node';
import { unreachable } from './api-error.ts';
import { type ApiEndpoint } from './api-endpoint.ts';
import { connectionsTo, exchange, type ObserveCall } from './exchange.ts';

/** A CertificateSigningRequest has a few KiB; what is larger is no answer of ours. */
const maximumAnswerBytes = 4 * 1024 * 1024;

/**
 * HTTP for the generated client over node:https. The client's own transport opens a TLS connection
 * per call and has no time limit (docs/adr/0005). Authentication is added here, per call, and once
 * again after a 401, when the token has just been rotated.
 */
export function httpsTransport(
  endpoint: ApiEndpoint,
  stop: AbortSignal,
  observe: ObserveCall,
): PromiseHttpLibrary {
  const connections = connectionsTo(endpoint, 2);
  const call = async (context: RequestContext): Promise<ResponseContext> => {
    const headers = { ...context.getHeaders(), ...(await endpoint.headers()) };
    const method = context.getHttpMethod();
    const body = context.getBody() as string | undefined;
    const outgoing = { url: context.getUrl(), method, headers, body };
    try {
      const answer = await exchange(outgoing, await connections(), maximumAnswerBytes, stop);
      observe(method, answer.status);
      return new ResponseContext(answer.status, answer.headers, bodyOf(answer.body));
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

/** The client's own body decodes through TextDecoder, which costs a millisecond to load. */
function bodyOf(bytes: Buffer): ResponseContext['body'] {
  return {
    text: () => Promise.resolve(bytes.toString('utf8')),
    binary: () => Promise.resolve(bytes),
    stream: () => null,
  };
}
