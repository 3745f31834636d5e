import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { type Attempted } from '../../src/application/hook.ts';
import { httpHook, type HttpCall } from '../../src/application/http-hook.ts';
import { callLoopback } from '../../src/node/loopback-call.ts';

/** An application that answers as told; resolves with its URL. */
async function application(
  context: TestContext,
  answer: (request: IncomingMessage, reply: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const never = new AbortController().signal;

const attempt = (
  url: string,
  limits: { timeoutMs?: number; stop?: AbortSignal; method?: HttpCall['method'] } = {},
): Promise<Attempted> =>
  httpHook(
    { method: limits.method ?? 'POST', url },
    limits.timeoutMs ?? 10_000,
    callLoopback,
  ).attempt(limits.stop ?? never);

const whyOf = (attempted: Attempted): string =>
  attempted.kind === 'done' ? '' : `${attempted.kind}: ${attempted.why}; ${attempted.hint}`;

describe('httpHook() over callLoopback()', { timeout: 30_000 }, () => {
  test('an application that wants another protocol is an answer that failed, not one to wait for', async (context) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', () =>
        socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
        ),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    context.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    match(whyOf(await attempt(`http://127.0.0.1:${port}/reload`)), /^failed: .*it answered 101/);
  });

  test('makes the call once, without a body, and closes its connection', async (context) => {
    const seen: unknown[] = [];
    const url = await application(context, (request, reply) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const { method, headers } = request;
        seen.push([method, request.url, body, headers['content-length'], headers.connection]);
        reply.writeHead(204).end();
      });
    });
    deepEqual(await attempt(`${url}/-/reload?all=1`), {
      kind: 'done',
      what: `POST ${url}/-/reload answered 204`,
    });
    deepEqual(seen, [['POST', '/-/reload?all=1', '', '0', 'close']]);
  });

  test('any other answer is a failure that names it, and the query is not repeated', async (context) => {
    const url = await application(context, (_, reply) => reply.writeHead(500).end('a secret'));
    const why = whyOf(await attempt(`${url}/load?token=hidden`, { method: 'PUT' }));
    match(why, /^failed: Cannot have the application reload by PUT http:.*\/load: it answered 500/);
    ok(!/hidden|a secret/.test(why));
  });

  test('a redirection is not followed', async (context) => {
    const asked: (string | undefined)[] = [];
    const url = await application(context, (request, reply) => {
      asked.push(request.url);
      reply.writeHead(307, { location: '/elsewhere' }).end();
    });
    match(whyOf(await attempt(`${url}/load`)), /it answered 307/);
    deepEqual(asked, ['/load']);
  });

  test('nobody there: absent', async (context) => {
    const url = await application(context, () => undefined);
    const gone = url.replace(/:\d+$/, ':1');
    match(whyOf(await attempt(gone)), /^absent: .*nobody listens there; .*inside the pod\?/);
  });

  test('no answer, and an answer without an end: over when the time is', async (context) => {
    const silent = await application(context, () => undefined);
    match(whyOf(await attempt(silent, { timeoutMs: 1_000 })), /^failed: .*no answer within 1s/);
    const endless = await application(context, (_, reply) => {
      reply.writeHead(200).write('more to come');
    });
    match(whyOf(await attempt(endless, { timeoutMs: 1_000 })), /no answer within 1s/);
  });

  test('ends early when there is a newer set', async (context) => {
    const stop = new AbortController();
    const url = await application(context, () => stop.abort());
    const why = whyOf(await attempt(url, { stop: stop.signal, timeoutMs: 60_000 }));
    match(why, /^failed: /);
    doesNotMatch(why, /no answer/);
  });

  test('an answer that breaks off is a failure', async (context) => {
    const url = await application(context, (_, reply) => {
      reply.writeHead(200, { 'content-length': 100 });
      reply.write('half', () => reply.destroy());
    });
    equal((await attempt(url)).kind, 'failed');
  });
});
