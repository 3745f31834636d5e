import { type Server } from 'node:net';
import { PodsealError } from '../errors.ts';
import { type ListenAddress } from '../runtime/web.ts';

/** Resolves with the port once the server listens; throws LISTEN_FAILED with the hint. */
export function listening(server: Server, listen: ListenAddress, hint: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const host = listen.host ?? '';
      const where = `${host.includes(':') ? `[${host}]` : host}:${listen.port}`;
      const why = cause.code ?? cause.message;
      reject(
        new PodsealError('LISTEN_FAILED', `Cannot listen on "${where}": ${why}`, { hint, cause }),
      );
    });
    server.listen(listen.port, listen.host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : listen.port);
    });
  });
}
