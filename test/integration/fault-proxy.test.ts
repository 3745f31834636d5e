import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, createServer, request as httpsRequest } from 'node:https';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeCredentials } from '../cluster/credentials.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { until } from '../support/until.ts';

/** Everything a client saw of one call; `end` is the error's code when the answer broke off. */
interface Seen {
  status?: number;
  headers?: IncomingMessage['headers'];
  body: string;
  end?: string;
}

const directory = mkdtempSync(join(tmpdir(), 'podseal-proxy-'));
const pem = (name: string): string => readFileSync(join(directory, name), 'utf8');
/** What reached the server behind the proxy: `METHOD /path BODY AUTHORIZATION`. */
let reached: string[] = [];
let serverUrl = '';

/** Answers at once, except to a watch: it says "a", and "b" when /say is called. */
function answerAsServer(): (incoming: IncomingMessage, reply: ServerResponse) => void {
  const watches: ServerResponse[] = [];
  return (incoming, reply) => {
    let body = '';
    incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming;
      reached.push(`${method} ${url} ${body} ${headers.authorization ?? ''}`.trim());
      if (url === '/say') for (const watch of watches) watch.write('b');
      if (url.startsWith('/watch')) {
        watches.push(reply);
        reply.write('a');
      } else
        reply.writeHead(method === 'POST' ? 201 : 200, { 'x-from': 'server' }).end('0123456789');
    });
  };
}

async function proxyFor(context: TestContext): Promise<FaultProxy> {
  reached = [];
  const servingPair = { cert: pem('apiserver.crt'), key: pem('apiserver.key') };
  const proxy = await startFaultProxy({ serverUrl, caPem: pem('ca.crt'), servingPair });
  context.after(() => proxy.close());
  return proxy;
}

/** Starts a call with a connection of its own; what is seen of it grows while it goes on. */
function call(url: string, method = 'GET', body = ''): Seen {
  const seen: Seen = { body: '' };
  const headers = { authorization: 'Bearer of-the-pod' };
  const agent = new Agent({ ca: pem('ca.crt') });
  const finish = (error?: NodeJS.ErrnoException): void => {
    seen.end ??= error ? (error.code ?? error.message) : 'complete';
    agent.destroy();
  };
  const outgoing = httpsRequest(url, { method, headers, agent }, (incoming) => {
    seen.status = incoming.statusCode ?? 0;
    seen.headers = incoming.headers;
    incoming.on('data', (chunk: Buffer) => (seen.body += chunk.toString()));
    incoming.on('error', finish);
    incoming.on('end', () => finish());
  });
  outgoing.on('error', finish);
  outgoing.end(body);
  return seen;
}

const urlOf = (proxy: FaultProxy, path: string): string =>
  `https://${proxy.host}:${proxy.port}${path}`;

async function called(url: string, method?: string, body?: string): Promise<Seen> {
  const seen = call(url, method, body);
  await until(`the end of ${url}`, () => seen.end);
  return seen;
}

describe('the proxy that makes faults', { timeout: 60_000 }, () => {
  const server = createServer(answerAsServer());
  before(async () => {
    await makeCredentials(directory, { ipAddresses: [] });
    server.setSecureContext({ cert: pem('apiserver.crt'), key: pem('apiserver.key') });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    serverUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });

  test('without a rule it passes everything, and counts it', async (context) => {
    const proxy = await proxyFor(context);
    const seen = await called(urlOf(proxy, '/things?limit=1'), 'POST', 'hello');
    equal(seen.status, 201);
    equal(seen.body, '0123456789');
    equal(seen.headers?.['x-from'], 'server');
    deepEqual(reached, ['POST /things?limit=1 hello Bearer of-the-pod']);
    deepEqual(proxy.calls, ['POST /things?limit=1 201']);
    equal(proxy.connections(), 1);
    await until('its connection to close', () => proxy.openConnections() === 0);
  });

  test('a rule befalls the calls that it matches, as often as it says', async (context) => {
    const proxy = await proxyFor(context);
    const fault: Fault = { kind: 'status', status: 429, retryAfterSeconds: 7 };
    proxy.set([{ fault, when: /^GET \/busy/, times: 2 }]);
    equal((await called(urlOf(proxy, '/other'))).status, 200);
    const busy = await called(urlOf(proxy, '/busy'));
    equal(busy.status, 429);
    equal(busy.headers?.['retry-after'], '7');
    match(busy.body, /"kind":"Status"/);
    equal((await called(urlOf(proxy, '/busy'), 'POST')).status, 201);
    equal((await called(urlOf(proxy, '/busy'))).status, 429);
    equal((await called(urlOf(proxy, '/busy'))).status, 200);
    deepEqual(reached.length, 3, 'what the proxy answered itself did not reach the server');
  });

  test('an error of the server, with no Retry-After', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'status', status: 503 } }]);
    const seen = await called(urlOf(proxy, '/'));
    equal(seen.status, 503);
    equal(seen.headers?.['retry-after'], undefined);
  });

  test('say: what somebody in between might', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'say', body: '<html>' } }]);
    const seen = await called(urlOf(proxy, '/'), 'POST', 'lost');
    deepEqual([seen.status, seen.body, reached], [200, '<html>', []]);
  });

  test('disconnect: what is under way ends, and new connections are taken', async (context) => {
    const proxy = await proxyFor(context);
    const seen = call(urlOf(proxy, '/watch'));
    await until('it to begin', () => seen.body === 'a');
    proxy.disconnect();
    await until('its end', () => seen.end);
    equal(seen.end, 'ECONNRESET');
    equal((await called(urlOf(proxy, '/'))).status, 200);
  });

  test('another pair is presented to new connections', async (context) => {
    const proxy = await proxyFor(context);
    equal((await called(urlOf(proxy, '/'))).status, 200);
    const other = temporaryDirectory(context);
    await makeCredentials(other, { ipAddresses: [] });
    const otherPem = (name: string): string => readFileSync(join(other, name), 'utf8');
    proxy.present({ cert: otherPem('apiserver.crt'), key: otherPem('apiserver.key') });
    match((await called(urlOf(proxy, '/'))).end ?? '', /SIGNATURE|CERT/);
    equal(reached.length, 1);
  });

  test('latency: the same answer, later', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'latency', ms: 300 } }]);
    const startedAt = Date.now();
    equal((await called(urlOf(proxy, '/'))).status, 200);
    ok(Date.now() - startedAt >= 290);
  });

  test('reset: the call never reaches the server', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'reset' } }]);
    const seen = await called(urlOf(proxy, '/'), 'POST', 'lost');
    equal(seen.status, undefined);
    equal(seen.end, 'ECONNRESET');
    deepEqual(reached, []);
    deepEqual(proxy.calls, ['POST / 0']);
  });

  test('lose-answer: the server has done it, and the client does not know', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'lose-answer' } }]);
    const seen = await called(urlOf(proxy, '/'), 'POST', 'done');
    equal(seen.status, undefined);
    equal(seen.end, 'ECONNRESET');
    deepEqual(reached, ['POST / done Bearer of-the-pod']);
  });

  test('hang: accepted and never answered', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'hang' } }]);
    const seen = call(urlOf(proxy, '/'));
    await until('the call to arrive', () => proxy.calls.length === 1);
    await sleep(200);
    deepEqual(seen, { body: '' });
    deepEqual(reached, []);
    await proxy.close();
    await until('the end with the proxy', () => seen.end);
  });

  test('cut: a watch breaks off mid-stream', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'cut', afterMs: 200 } }]);
    const seen = await called(urlOf(proxy, '/watch'));
    equal(seen.status, 200);
    equal(seen.body, 'a');
    equal(seen.end, 'ECONNRESET');
  });

  test('cut-after-bytes: exactly so much of the answer comes through', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'cut-after-bytes', bytes: 4 } }]);
    const seen = await called(urlOf(proxy, '/'));
    equal(seen.body, '0123');
    equal(seen.end, 'ECONNRESET');
  });

  test('silence: a watch stays open and says nothing more', async (context) => {
    const proxy = await proxyFor(context);
    proxy.set([{ fault: { kind: 'silence', afterMs: 100 }, when: /silent/ }]);
    const silent = call(urlOf(proxy, '/watch?silent'));
    const other = call(urlOf(proxy, '/watch?other'));
    await until('both to begin', () => silent.body === 'a' && other.body === 'a');
    await sleep(300);
    await called(urlOf(proxy, '/say'));
    await until('the other watch to hear it', () => other.body === 'ab');
    deepEqual({ body: silent.body, end: silent.end }, { body: 'a', end: undefined });
  });

  test('the death of the server breaks the answer off', async (context) => {
    const proxy = await proxyFor(context);
    const seen = call(urlOf(proxy, '/watch'));
    await until('it to begin', () => seen.body === 'a');
    server.closeAllConnections();
    await until('its end', () => seen.end);
    equal(seen.end, 'ECONNRESET');
  });

  test('after close nobody listens', async (context) => {
    const proxy = await proxyFor(context);
    await proxy.close();
    await rejects(fetch(urlOf(proxy, '/')));
  });
});
