import { createServer } from 'node:http';
import { PodsealError } from '../errors.ts';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Where to listen; port 0 takes a free one. */
export interface ListenAddress {
  /** Undefined: every address of the pod. */
  readonly host: string | undefined;
  readonly port: number;
}

/**
 * Serves plain HTTP until `stop`: probes and metrics hold no secret, and a kubelet's probe has no
 * client certificate. Resolves with the port once it listens; throws LISTEN_FAILED.
 */
export function serveHttp(
  listen: ListenAddress,
  handler: (path: string) => Answer,
  stop: AbortSignal,
): Promise<number> {
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000 },
    (request, reply) => {
      const isRead = request.method === 'GET' || request.method === 'HEAD';
      const answer = isRead
        ? handler((request.url ?? '/').replace(/\?.*$/, ''))
        : { status: 405, contentType: 'text/plain; charset=utf-8', body: 'only GET and HEAD\n' };
      reply.writeHead(answer.status, { 'content-type': answer.contentType });
      reply.end(request.method === 'HEAD' ? undefined : answer.body);
    },
  );
  server.maxConnections = 64;
  stop.addEventListener('abort', () => {
    server.close();
    server.closeAllConnections();
  });
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const host = listen.host ?? '';
      const where = `${host.includes(':') ? `[${host}]` : host}:${listen.port}`;
      reject(
        new PodsealError(
          'LISTEN_FAILED',
          `Cannot listen on "${where}": ${cause.code ?? cause.message}`,
          {
            hint: 'Choose another address with PODSEAL_LISTEN, for example ":9810", or "off".',
            cause,
          },
        ),
      );
    });
    server.listen(listen.port, listen.host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : listen.port);
    });
  });
}
