import { createServer, type Server } from 'node:http';
import { type Socket } from 'node:net';
import { type Answer, type ListenAddress, plainText } from '../runtime/web.ts';
import { listening } from './listening.ts';

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
      const refusal = plainText(405, 'only GET and HEAD\n');
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
  return listening(
    server,
    listen,
    'Choose another address with PODSEAL_LISTEN, for example ":9810", or "off".',
  );
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
