import { deepEqual, equal, rejects } from 'node:assert/strict';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { createServer, type TlsOptions } from 'node:tls';
import { type NewestSet } from '../../src/application/newest-set.ts';
import { tlsHandshake } from '../../src/node/handshake.ts';
import { certificatesPem } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { dnsNames, newCa, newKey, newLeaf } from '../support/certificate-builders.ts';

const ca = newCa();

function newSet(name: string, issuer = ca, minutesLeft = 60): NewestSet {
  const keyPair = newKey();
  const validity = {
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + minutesLeft * 60_000),
  };
  const leaf = newLeaf(issuer, { keyPair, names: dnsNames(name), validity });
  return {
    id: leaf.fingerprint,
    fingerprint: leaf.fingerprint,
    dnsName: name,
    keyPem: privateKeyPem(keyPair),
    chainPem: certificatesPem([leaf]),
    bundlePem: ca.pem,
  };
}

const volume = newSet('web.shop.svc');
const old = newSet('web.shop.svc');

async function listening(context: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

const serving = (context: TestContext, set: NewestSet, options: TlsOptions = {}): Promise<number> =>
  listening(context, createServer({ key: set.keyPem, cert: set.chainPem, ...options }));

const never = new AbortController().signal;
const look = (port: number, stop = never): Promise<string> =>
  tlsHandshake()({ host: '127.0.0.1', port }, volume, stop);

describe('tlsHandshake()', { timeout: 30_000 }, () => {
  test('gives the fingerprint of what is served, whatever it is', async (context) => {
    equal(await look(await serving(context, volume)), volume.fingerprint);
    equal(await look(await serving(context, old)), old.fingerprint);
    const foreign = newSet('elsewhere.example.com', newCa());
    equal(await look(await serving(context, foreign)), foreign.fingerprint);
    const expired = newSet('web.shop.svc', ca, -1);
    equal(await look(await serving(context, expired)), expired.fingerprint);
  });

  test('asks for the first DNS name', async (context) => {
    const asked: string[] = [];
    const port = await serving(context, old, {
      SNICallback(name, done) {
        asked.push(name);
        done(null);
      },
    });
    await look(port);
    deepEqual(asked, ['web.shop.svc']);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
    test(`shows its own certificate where clients must have one (${version})`, async (context) => {
      const server = createServer({
        key: old.keyPem,
        cert: old.chainPem,
        ca: ca.pem,
        requestCert: true,
        rejectUnauthorized: true,
        maxVersion: version,
      });
      const client = new Promise<string | undefined>((resolve, reject) => {
        server.on('secureConnection', (socket) =>
          resolve(socket.getPeerX509Certificate()?.fingerprint256),
        );
        server.on('tlsClientError', reject);
      });
      equal(await look(await listening(context, server)), old.fingerprint);
      equal((await client)?.replaceAll(':', '').toLowerCase(), volume.fingerprint);
    });

  test('says why it cannot see anything', async (context) => {
    await rejects(look(1), { code: 'ECONNREFUSED' });
    const plain = await listening(
      context,
      createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    );
    await rejects(look(plain), { code: 'ERR_SSL_WRONG_VERSION_NUMBER' });
    const closing = await listening(
      context,
      createTcpServer((socket) => socket.destroy()),
    );
    await rejects(look(closing), Error);
  });

  test('does not wait for ever, and ends early when there is a newer set', async (context) => {
    const silent = createTcpServer();
    const port = await listening(context, silent);
    await rejects(look(port), /no handshake within 5 s/);
    const stop = new AbortController();
    silent.once('connection', () => stop.abort());
    await rejects(look(port, stop.signal), /called off/);
    await rejects(look(port, stop.signal), /called off/);
  });
});
