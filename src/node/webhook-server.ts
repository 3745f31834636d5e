import { readFileSync, realpathSync } from 'node:fs';
import { createServer } from 'node:https';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { PodsealError } from '../errors.ts';
import { type Answer, type ListenAddress, plainText } from '../runtime/web.ts';
import { listening } from './listening.ts';
import { watchFiles } from './watch-files.ts';

export interface WebhookServer {
  /** Where a certificate is, as the agent publishes it: tls.crt, tls.key. */
  readonly certificateDirectory: string;
  readonly listen: ListenAddress;
  /** Answers the JSON text of a POST to `path`. */
  readonly path: string;
  readonly answer: (body: string) => Promise<Answer>;
  /** A new certificate is served from now on. */
  readonly onCertificate: () => void;
  /** What is on the volume cannot be used, or followed; what was served before goes on. */
  readonly onProblem: (why: string) => void;
}

/** An AdmissionReview holds one object, which etcd would refuse above 1.5 MiB. */
const maximumBodyBytes = 4 * 1024 * 1024;
/**
 * The bodies of all calls under way. Nobody has to say who he is, a pod takes several times the memory
 * of its text, and the container has 512 MiB (deploy/injector.yaml).
 */
const maximumHeldBytes = 32 * 1024 * 1024;
/** The files are read this often even when no watcher says anything. */
const readAgainMs = 30_000;
/**
 * The API server's client keeps idle connections for 90 s and does not repeat a POST on one that we
 * close at that moment: so it is the one to close.
 */
const keepAliveMs = 120_000;
/** Endpoints are told a second or two after a pod begins to end; until then calls still come. */
const drainMs = 5_000;

/**
 * Serves HTTPS until `stop`, with the certificate that is on the volume now: a new one is taken up for
 * new connections without a restart. Resolves with the port, and a promise of the end: calls under way
 * are answered first. Throws LISTEN_FAILED, also when there is no certificate.
 */
export async function serveWebhook(
  webhook: WebhookServer,
  stop: AbortSignal,
): Promise<{ readonly port: number; readonly ended: Promise<void> }> {
  let served = readPair(webhook.certificateDirectory);
  const held = { bytes: 0 };
  const server = createServer(
    { ...served, minVersion: 'TLSv1.2', requestTimeout: 30_000, headersTimeout: 10_000 },
    (request, reply) => {
      void respond(request, reply, webhook, held);
    },
  );
  server.keepAliveTimeout = keepAliveMs;
  const look = (): void => {
    try {
      const now = readPair(webhook.certificateDirectory);
      if (now.cert === served.cert && now.key === served.key) return;
      server.setSecureContext({ ...now, minVersion: 'TLSv1.2' });
      served = now;
      webhook.onCertificate();
    } catch (error) {
      webhook.onProblem(error instanceof Error ? error.message : String(error));
    }
  };
  watchFiles([join(webhook.certificateDirectory, 'tls.crt')], look, stop, webhook.onProblem);
  const timer = setInterval(look, readAgainMs);
  const ended = new Promise<void>((resolve) => {
    const drain = (): void => {
      clearInterval(timer);
      setTimeout(() => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }, drainMs);
    };
    if (stop.aborted) drain();
    else stop.addEventListener('abort', drain, { once: true });
  });
  const port = await listening(
    server,
    webhook.listen,
    'Choose another address with PODSEAL_WEBHOOK_LISTEN, for example ":9443".',
  );
  return { port, ended };
}

/** Both files of one set, whatever is published meanwhile. */
function readPair(directory: string): { readonly cert: string; readonly key: string } {
  try {
    const set = realpathSync(join(directory, '..data'));
    return {
      cert: readFileSync(join(set, 'tls.crt'), 'utf8'),
      key: readFileSync(join(set, 'tls.key'), 'utf8'),
    };
  } catch (cause) {
    throw new PodsealError(
      'LISTEN_FAILED',
      `Cannot serve without the certificate in ${JSON.stringify(directory)}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: "The agent of the injector's own pod puts it there before the injector starts; PODSEAL_DIR says where.",
        cause,
      },
    );
  }
}

async function respond(
  request: IncomingMessage,
  reply: ServerResponse,
  webhook: WebhookServer,
  held: { bytes: number },
): Promise<void> {
  try {
    const { status, contentType, body } = await answerTo(request, webhook, held);
    // What is left of a body that is too large is not read.
    if (status === 413 || status === 503) reply.setHeader('connection', 'close');
    reply.writeHead(status, { 'content-type': contentType }).end(body);
  } catch (error) {
    // The caller is gone, as after its time limit.
    if (reply.headersSent || reply.destroyed) reply.destroy();
    else reply.writeHead(500).end(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}

async function answerTo(
  request: IncomingMessage,
  { path, answer }: WebhookServer,
  held: { bytes: number },
): Promise<Answer> {
  if ((request.url ?? '').replace(/\?.*$/, '') !== path)
    return plainText(404, `there is ${path} alone\n`);
  if (request.method !== 'POST') return plainText(405, 'only POST\n');
  let bytes = 0;
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      const buffer = chunk as Buffer;
      chunks.push(buffer);
      bytes += buffer.length;
      held.bytes += buffer.length;
      if (bytes > maximumBodyBytes)
        return plainText(413, `a review has at most ${maximumBodyBytes} bytes\n`);
      if (held.bytes > maximumHeldBytes)
        return plainText(503, `the reviews under way have ${maximumHeldBytes} bytes together\n`);
    }
    return await answer(Buffer.concat(chunks).toString('utf8'));
  } finally {
    held.bytes -= bytes;
  }
}
