import { equal, match, ok } from 'node:assert/strict';
import { Agent, request } from 'node:https';
import { connect, type PeerCertificate } from 'node:tls';
import { test, type TestContext } from 'node:test';
import { diskVolume } from '../../src/node/disk-volume.ts';
import { serveWebhook, type WebhookServer } from '../../src/node/webhook-server.ts';
import { certificatesPem } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { dnsNames, newCa, newKey, newLeaf } from '../support/certificate-builders.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { until } from '../support/until.ts';

const host = 'podseal-injector.podseal-system.svc';
const validity = {
  notBefore: new Date(Date.now() - 60_000),
  notAfter: new Date(Date.now() + 3_600_000),
};
const ca = newCa({ validity: { ...validity, notAfter: new Date(Date.now() + 7_200_000) } });

/** Puts a new certificate where the agent would; returns its serial number. */
function publish(directory: string): string {
  const keyPair = newKey();
  const leaf = newLeaf(ca, { keyPair, names: dnsNames(host), validity });
  diskVolume(directory).publish(
    [
      { name: 'tls.key', content: privateKeyPem(keyPair), mode: 0o400 },
      { name: 'tls.crt', content: certificatesPem([leaf]), mode: 0o444 },
      { name: 'ca.crt', content: ca.pem, mode: 0o444 },
    ],
    { requestName: 'podseal-1', receivedAt: new Date().toISOString(), renewAnnotation: undefined },
  );
  return leaf.x509.serialNumber;
}

interface Scene {
  readonly directory: string;
  readonly port: number;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
  readonly seen: { certificates: number; problems: string[] };
}

async function scene(context: TestContext, changes: Partial<WebhookServer> = {}): Promise<Scene> {
  const directory = temporaryDirectory(context);
  publish(directory);
  const stop = new AbortController();
  const seen = { certificates: 0, problems: [] as string[] };
  const { port, ended } = await serveWebhook(
    {
      certificateDirectory: directory,
      listen: { host: '127.0.0.1', port: 0 },
      path: '/inject',
      answer: (body) =>
        Promise.resolve({ status: 200, contentType: 'application/json', body: `{"got":${body}}` }),
      onCertificate: () => {
        seen.certificates++;
      },
      onProblem: (why) => {
        seen.problems.push(why);
      },
      ...changes,
    },
    stop.signal,
  );
  context.after(() => stop.abort());
  return { directory, port, stop, ended, seen };
}

/** A resumed session shows no certificate. */
const wholeHandshakes = { maxCachedSessions: 0 };

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly serial: string;
  readonly keepAlive: string;
}

function call(
  port: number,
  agent: Agent,
  { path = '/inject', method = 'POST', body = '{}' } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, servername: host, ca: ca.pem, agent, path, method };
    const sent = request(options, (answer) => {
      const peer = (
        answer.socket as unknown as { getPeerCertificate(): PeerCertificate }
      ).getPeerCertificate();
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          body: text,
          serial: peer.serialNumber,
          keepAlive: String(answer.headers['keep-alive'] ?? ''),
        }),
      );
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(method === 'POST' ? body : undefined);
  });
}

test('no call fails while the certificate is replaced again and again', async (context) => {
  const { directory, port, seen } = await scene(context);
  const kept = new Agent({ keepAlive: true, maxSockets: 8, ...wholeHandshakes });
  const fresh = new Agent({ keepAlive: false, maxSockets: 8, ...wholeHandshakes });
  context.after(() => kept.destroy());
  const serials = new Set<string>();
  const rounds = Array.from({ length: 300 }, async (_, i) => {
    const { status, serial } = await call(port, i % 2 === 0 ? kept : fresh);
    equal(status, 200);
    serials.add(serial);
  });
  let last = '';
  const rotations = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      last = publish(directory);
      await until('the new certificate to be served', async () => {
        return (await call(port, fresh)).serial === last;
      });
    }
  };
  await Promise.all([...rounds, rotations()]);
  equal((await call(port, fresh)).serial, last);
  ok(seen.certificates >= 5);
  equal(seen.problems.length, 0, seen.problems.join());
});

test('idle connections are left to the caller to close', async (context) => {
  const { port } = await scene(context);
  const agent = new Agent({ keepAlive: true });
  context.after(() => agent.destroy());
  const { keepAlive } = await call(port, agent);
  const [, seconds] = /timeout=(\d+)/.exec(keepAlive) ?? [];
  // Go closes its own after 90 s.
  ok(Number(seconds) > 90, keepAlive);
});

test('what cannot be used leaves the certificate as it was', async (context) => {
  const { directory, port, seen } = await scene(context);
  const agent = new Agent(wholeHandshakes);
  const before = (await call(port, agent)).serial;
  diskVolume(directory).publish(
    [
      { name: 'tls.key', content: 'no key', mode: 0o400 },
      { name: 'tls.crt', content: 'no certificate', mode: 0o444 },
    ],
    { requestName: 'podseal-2', receivedAt: new Date().toISOString(), renewAnnotation: undefined },
  );
  await until('the problem to be told', () => seen.problems.length > 0);
  equal((await call(port, agent)).serial, before);
});

test('other paths, methods and sizes are refused, and a failure is an answer', async (context) => {
  const { port } = await scene(context, {
    answer: () => Promise.reject(new Error('out of order')),
  });
  const agent = new Agent(wholeHandshakes);
  equal((await call(port, agent, { path: '/else' })).status, 404);
  equal((await call(port, agent, { method: 'GET' })).status, 405);
  const large = await call(port, agent, { body: 'x'.repeat(4 * 1024 * 1024 + 1) }).then(
    ({ status }) => status,
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  // The answer, or the connection that ends while we still send.
  ok([413, 'EPIPE', 'ECONNRESET'].includes(large ?? ''), String(large));
  const failed = await call(port, agent);
  equal(failed.status, 500);
  match(failed.body, /out of order/);
});

test('callers that send much and do not end have no more memory than there is', async (context) => {
  const { port } = await scene(context);
  const agent = new Agent({ ...wholeHandshakes, maxSockets: 50 });
  context.after(() => agent.destroy());
  const options = { host: '127.0.0.1', port, servername: host, ca: ca.pem, agent, path: '/inject' };
  const almostAll = Buffer.alloc(4 * 1024 * 1024 - 1, 'x');
  let refused = 0;
  const hostile = Array.from({ length: 20 }, () => {
    const sent = request({ ...options, method: 'POST' }, (answer) => answer.resume());
    // They never end by themselves.
    sent.on('close', () => refused++);
    sent.on('error', () => undefined);
    sent.write(almostAll);
    return sent;
  });
  // 32 MiB are not more than eight of them.
  await until('twelve to be refused', () => refused >= 12);
  for (const each of hostile) each.destroy();
  await until('what they held to be given back', async () => {
    return (await call(port, agent, { body: 'x'.repeat(3 * 1024 * 1024) })).status === 200;
  });
});

test('at the end, calls are still answered until the endpoints know', async (context) => {
  const { port, stop, ended } = await scene(context);
  const agent = new Agent(wholeHandshakes);
  stop.abort();
  equal((await call(port, agent)).status, 200);
  await ended;
  await new Promise<void>((resolve) => {
    connect({ host: '127.0.0.1', port }).once('error', () => resolve());
  });
});

test('without a certificate it says where one is missing', async (context) => {
  const directory = temporaryDirectory(context);
  const error: unknown = await scene(context, { certificateDirectory: directory }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  ok(error instanceof Error && error.message.includes(directory));
});
