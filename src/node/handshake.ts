import { connect, createSecureContext, type SecureContext } from 'node:tls';
import { type NewestSet } from '../application/newest-set.ts';
import { type Handshake } from '../application/serving.ts';

const timeoutMs = 5_000;

/** Handshakes with the application, as a client that has the certificate of the set. */
export function tlsHandshake(): Handshake {
  // A context is native memory that V8 does not count: one for each set.
  let last: { readonly id: string; readonly context: SecureContext } | undefined;
  const contextOf = (set: NewestSet): SecureContext => {
    if (last?.id !== set.id) last = { id: set.id, context: newContext(set) };
    return last.context;
  };
  return ({ host, port }, set, stop) =>
    new Promise((resolve, reject) => {
      const socket = connect({
        host,
        port,
        secureContext: contextOf(set),
        ...(set.dnsName === undefined ? {} : { servername: set.dnsName }),
        // Whatever is served is looked at, not trusted: nothing is sent.
        rejectUnauthorized: false,
      });
      const end = (): void => {
        socket.destroy(new Error('the look was called off'));
      };
      const timer = setTimeout(
        () => socket.destroy(new Error(`no handshake within ${timeoutMs / 1000} s`)),
        timeoutMs,
      );
      stop.addEventListener('abort', end, { once: true });
      if (stop.aborted) end();
      socket.on('secureConnect', () => {
        const served = socket.getPeerX509Certificate();
        if (served) resolve(served.fingerprint256.replaceAll(':', '').toLowerCase());
        else reject(new Error('no certificate is served'));
        // The server has not seen the end of the handshake yet: it closes once it has, or the timer does.
        socket.resume();
        socket.end();
      });
      socket.on('error', reject);
      socket.on('close', () => {
        clearTimeout(timer);
        stop.removeEventListener('abort', end);
        // After a verdict this changes nothing.
        reject(new Error('the connection was closed'));
      });
    });
}

/** With a bundle of its own: the platform's roots would be read otherwise, for nothing. */
function newContext({ keyPem, chainPem, bundlePem }: NewestSet): SecureContext {
  return createSecureContext({ key: keyPem, cert: chainPem, ca: bundlePem });
}
