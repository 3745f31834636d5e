import { readFileSync, readlinkSync, watch } from 'node:fs';
import { createServer, request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';

/** An application that serves with the volume, and a client that trusts its ca.crt alone. */
export interface Traffic {
  readonly answered: () => number;
  readonly failures: () => readonly string[];
  /** Serial of the certificate that the client saw last. */
  readonly servedSerial: () => string;
  close(): Promise<void>;
}

/** A reader that resolves `..data` once sees one whole set. */
function readSet(directory: string): { key: string; cert: string; ca: string } {
  const set = join(directory, readlinkSync(join(directory, '..data')));
  const read = (name: string): string => readFileSync(join(set, name), 'utf8');
  return { key: read('tls.key'), cert: read('tls.crt'), ca: read('ca.crt') };
}

export async function startTraffic(directory: string, serverName: string): Promise<Traffic> {
  const { key, cert } = readSet(directory);
  const server = createServer({ key, cert }, (_, reply) => reply.end('hello\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  // What an application does by itself, or on a hook: take the new pair for new connections.
  const watcher = watch(directory, (_, file) => {
    if (file === '..data') server.setSecureContext(readSet(directory));
  });
  let answered = 0;
  let serial = '';
  const failures: string[] = [];
  const ask = (): Promise<void> =>
    new Promise((resolve) => {
      const { ca } = readSet(directory);
      const outgoing = httpsRequest(
        { host: '127.0.0.1', port, servername: serverName, ca, agent: false },
        (incoming) => {
          incoming.resume();
          incoming.on('end', () => {
            answered++;
            resolve();
          });
        },
      );
      outgoing.on('socket', (socket) =>
        socket.once('secureConnect', () => {
          if (!(socket instanceof TLSSocket)) return;
          const { raw } = socket.getPeerCertificate();
          serial = new X509Certificate(raw).serialNumber;
        }),
      );
      outgoing.on('error', (error) => {
        failures.push(error.message);
        resolve();
      });
      outgoing.end();
    });
  const closing = new AbortController();
  const asking = (async () => {
    while (!closing.signal.aborted) {
      await ask();
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  })();
  return {
    answered: () => answered,
    failures: () => failures,
    servedSerial: () => serial,
    async close() {
      closing.abort();
      await asking;
      watcher.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
