import { createServer, type Server } from 'node:http';
import { type Socket } from 'node:net';
import { PodsealError } from '../errors.ts';
import { type Answer, type ListenAddress } from '../runtime/web.ts';

const plainText = 'text/plain; charset=utf-8';
const maximumConnections = 64;

/**
 * Serves plain HTTP until `stop`: probes and metrics hold no secret, and a kubelet's probe has no
 * client certificate. Resolves with the port once it listens; throws LISTEN_FAILED.
 */
export function serveHttp(
  listen: ListenAddress,
  handler: (path: string) => Answer | Promise<Answer>,
  stop: AbortSignal,
): Promise<number> {
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000 },
    (request, reply) => {
      const isRead = request.method === 'GET' || request.method === 'HEAD';
      const refusal = { status: 405, contentType: plainText, body: 'only GET and HEAD\n' };
      const path = (request.url ?? '/').replace(/\?.*$/, '');
      void Promise.resolve(isRead ? handler(path) : refusal).then((answer) => {
        reply.writeHead(answer.status, { 'content-type': answer.contentType });
        reply.end(request.method === 'HEAD' ? undefined : answer.body);
      });
    },
  );
  endTheOldest(server);
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

/**
 * Anybody can connect. Were the newest turned away, who holds many open would keep the kubelet's probes
 * out, and a container that is well would be ended.
 */
function endTheOldest(server: Server): void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    const [oldest] = open;
    if (open.size <= maximumConnections) return;
    // At once: it may take its time to close.
    if (oldest) open.delete(oldest);
    oldest?.destroy();
  });
}
