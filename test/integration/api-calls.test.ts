import { deepEqual, doesNotMatch, equal, match, ok, rejects } from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { getEventListeners } from 'node:events';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { type ErrorCode, PodsealError } from '../../src/errors.ts';
import { type ApiCall, apiCalls } from '../../src/kubernetes/api-calls.ts';
import { inClusterEndpoint } from '../../src/kubernetes/in-cluster.ts';
import { field, protobufObject, type Shape, text } from '../../src/kubernetes/protobuf.ts';
import { makeCredentials } from '../cluster/credentials.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { until } from '../support/until.ts';

interface Seen {
  readonly call: string;
  readonly body: string;
  readonly token: string;
  readonly reply: ServerResponse;
}

/** Two API servers' worth of credentials: `old` and `new`, for a CA that is rotated. */
const directory = mkdtempSync(join(tmpdir(), 'podseal-calls-'));
const pem = (of: 'old' | 'new', name: string): string =>
  readFileSync(join(directory, of, name), 'utf8');
const sockets = new Set<Socket>();
const seen: Seen[] = [];
let connections = 0;
let answer: (seen: Seen) => void = ({ reply }) => reply.end('{}');
let tokens: string[] = [];

function serve(incoming: IncomingMessage, reply: ServerResponse): void {
  let body = '';
  incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
  incoming.on('end', () => {
    const { method = '', url = '', headers } = incoming;
    const token = (headers.authorization ?? '').replace('Bearer ', '');
    const one = { call: `${method} ${url}`, body, token, reply };
    seen.push(one);
    if (tokens.includes(token)) answer(one);
    else reply.writeHead(401).end('{"kind":"Status","reason":"Unauthorized"}');
  });
}

const server = createServer(serve);
const call = (method: ApiCall['method'], path: string, body?: unknown): ApiCall => ({
  method,
  path,
  body,
  attempted: { verb: 'get', resource: 'things', what: 'thing "x"', rbac: 'apply x.yaml.' },
});

/** Calls of a service account whose files the test may change. */
function scene(context: TestContext, maximumConnections = 4) {
  const account = temporaryDirectory(context);
  const set = (name: 'token' | 'ca.crt', text: string): void =>
    writeFileSync(join(account, name), text);
  set('token', 'first');
  set('ca.crt', pem('old', 'ca.crt'));
  tokens = ['first'];
  seen.length = 0;
  connections = 0;
  answer = ({ reply }) => reply.end('{}');
  server.setSecureContext({ cert: pem('old', 'apiserver.crt'), key: pem('old', 'apiserver.key') });
  const observed: string[] = [];
  const { port } = server.address() as AddressInfo;
  const endpoint = inClusterEndpoint('127.0.0.1', String(port), account);
  const calls = apiCalls(endpoint, {
    maximumConnections,
    observe: (method, status) => observed.push(`${method} ${status}`),
  });
  context.after(() => sockets.forEach((socket) => socket.destroy()));
  return { calls, set, observed };
}

const isError =
  (code: ErrorCode, message: RegExp) =>
  (error: unknown): boolean => {
    ok(error instanceof PodsealError, String(error));
    equal(error.code, code);
    match(error.message, message);
    doesNotMatch(
      `${error.message} ${error.hint ?? ''}`,
      /html/i,
      "a page's text is in the message",
    );
    return true;
  };

describe('calls of the API by controllers', { timeout: 60_000 }, () => {
  before(async () => {
    await makeCredentials(join(directory, 'old'), { ipAddresses: [] });
    await makeCredentials(join(directory, 'new'), { ipAddresses: [] });
    server.on('connection', (socket: Socket) => {
      connections++;
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });

  test('connections are kept alive, and as many as was said', async (context) => {
    const warnings: string[] = [];
    const warn = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', warn);
    context.after(() => process.off('warning', warn));
    const { calls } = scene(context, 40);
    const all = Array.from({ length: 200 }, () => calls.call(call('GET', '/things')));
    await Promise.all(all);
    for (let i = 0; i < 100; i++) await calls.call(call('GET', '/things'));
    equal(seen.length, 300);
    equal(connections, 40);
    deepEqual(warnings, [], 'no listener is added per call to what lives long');
  });

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const)
    test(`the body of a ${method} arrives with it`, async (context) => {
      const { calls } = scene(context);
      const body = { preconditions: { uid: 'ü' } };
      await calls.call(call(method, '/things/x', body));
      await calls.call(call('GET', '/things/x'));
      deepEqual(
        seen.map((each) => `${each.call} ${each.body}`),
        [`${method} /things/x ${JSON.stringify(body)}`, 'GET /things/x '],
      );
      equal(connections, 1);
    });

  test('a rotated token is used at once when the old one is refused, and soon in any case', async (context) => {
    const { calls, set, observed } = scene(context);
    await calls.call(call('GET', '/1'));
    set('token', 'second');
    tokens = ['second'];
    await calls.call(call('GET', '/2'));
    deepEqual(observed, ['GET 200', 'GET 401', 'GET 200']);
    set('token', 'third');
    tokens = ['second', 'third'];
    await until('the third token to be used', async () => {
      await calls.call(call('GET', '/3'));
      return seen.at(-1)?.token === 'third';
    });
    deepEqual(new Set(observed.slice(3)), new Set(['GET 200']));
  });

  test('a token that stays refused is said', async (context) => {
    const { calls } = scene(context);
    tokens = [];
    await rejects(calls.call(call('GET', '/things')), isError('API_FORBIDDEN', /answered 401/));
    equal(seen.length, 2);
  });

  test('a CA that is rotated: what is under way ends in peace, then the new one is used', async (context) => {
    const { calls, set } = scene(context);
    let finish = (): void => undefined;
    answer = ({ call, reply }) => {
      if (call === 'GET /slow') finish = () => void reply.end('{"slow":true}');
      else reply.end('{}');
    };
    const lines: unknown[] = [];
    const stop = new AbortController();
    const slow = calls.call(call('GET', '/slow'));
    await until('it to arrive', () => seen.length === 1);
    answer = ({ reply }) => {
      reply.write('{"line":1}\n');
      finish = ((finishSlow) => () => {
        reply.write('{"line":2}\n');
        finishSlow();
      })(finish);
    };
    const watching = calls.watch(call('GET', '/watch'), (line) => lines.push(line), stop.signal);
    await until('the watch to begin', () => lines.length === 1);
    answer = ({ reply }) => reply.end('{}');
    set('ca.crt', pem('new', 'ca.crt'));
    server.setSecureContext({
      cert: pem('new', 'apiserver.crt'),
      key: pem('new', 'apiserver.key'),
    });
    await until('a connection by the new CA', async () => {
      const before = connections;
      // Who still has the old ca.crt in mind is refused once.
      await calls.call(call('GET', '/things')).catch(() => undefined);
      return connections > before && seen.at(-1)?.call === 'GET /things';
    });
    finish();
    deepEqual(await slow, { slow: true });
    await until('the second line', () => lines.length === 2);
    stop.abort();
    await watching;
  });

  test('a server that the CA does not verify: said, and ca.crt is read again at once', async (context) => {
    const { calls, set } = scene(context);
    set('ca.crt', pem('new', 'ca.crt'));
    await rejects(calls.call(call('GET', '/things')), isError('API_UNREACHABLE', /SIGNATURE|CERT/));
    set('ca.crt', pem('old', 'ca.crt'));
    await calls.call(call('GET', '/things'));
  });

  test("a proxy's page instead of an answer", async (context) => {
    const { calls } = scene(context);
    answer = ({ reply }) => reply.end('<html>Please log in</html>\n');
    await rejects(calls.call(call('GET', '/things')), isError('API_UNREACHABLE', /answered 502/));
    const stop = new AbortController();
    const watching = calls.watch(call('GET', '/watch'), () => undefined, stop.signal);
    await rejects(watching, isError('API_UNREACHABLE', /no JSON/));
  });

  test('an answer that never ends is not collected without end', async (context) => {
    const { calls } = scene(context);
    answer = ({ reply }) => {
      const more = (): void => {
        if (!reply.destroyed && reply.write('x'.repeat(1024 * 1024))) setImmediate(more);
        else if (!reply.destroyed) reply.once('drain', more);
      };
      more();
    };
    await rejects(calls.call(call('GET', '/things')), isError('API_TOO_LARGE', /larger than/));
    const stop = new AbortController();
    const watching = calls.watch(call('GET', '/watch'), () => undefined, stop.signal);
    await rejects(watching, isError('API_UNREACHABLE', /larger than/));
  });

  test('a watch: whole lines, however they come, in order, until the server ends it', async (context) => {
    const { calls } = scene(context);
    const text = '{"n":"a"}\r\n\n{"n":"ü€😀"}\n{"n":"c"}\n';
    answer = ({ reply }) => {
      const bytes = Buffer.from(text);
      const send = (at: number): void => {
        if (at >= bytes.length) reply.end();
        else reply.write(bytes.subarray(at, at + 1), () => setImmediate(send, at + 1));
      };
      send(0);
    };
    const lines: unknown[] = [];
    const { signal } = new AbortController();
    await calls.watch(call('GET', '/watch'), (line) => lines.push(line), signal);
    deepEqual(lines, [{ n: 'a' }, { n: 'ü€😀' }, { n: 'c' }]);
    equal(getEventListeners(signal, 'abort').length, 0);
  });

  describe('in protobuf, when it is asked for and the server has it', () => {
    const type = 'application/vnd.kubernetes.protobuf';
    const shape: Shape = { 1: ['name', text] };
    const thing = (name: string): Buffer =>
      protobufObject({ apiVersion: 'v1', kind: 'Thing' }, [field(1, name)]);
    const status = (...fields: Buffer[]): Buffer =>
      protobufObject({ apiVersion: 'v1', kind: 'Status' }, fields);
    const event = (name: string): Buffer => {
      const event = Buffer.concat([field(1, 'ADDED'), field(2, field(1, thing(name)))]);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(event.length);
      return Buffer.concat([length, event]);
    };
    const stop = new AbortController().signal;

    test('an object, and a refusal', async (context) => {
      const { calls } = scene(context);
      answer = ({ reply }) => reply.end(thing('ü'));
      deepEqual(await calls.call({ ...call('GET', '/things/x'), shape }), { name: 'ü' });
      answer = ({ reply }) =>
        reply.writeHead(409).end(status(field(4, 'Conflict'), field(3, 'somebody wrote')));
      const refused = calls.call({ ...call('PUT', '/things/x', thing('x')), shape });
      await rejects(refused, isError('API_CONFLICT', /answered 409 \(Conflict: somebody wrote\)/));
    });

    test('the server may answer in JSON all the same', async (context) => {
      const { calls } = scene(context);
      answer = ({ reply }) => reply.end('{"name":"y"}\n');
      deepEqual(await calls.call({ ...call('GET', '/things/y'), shape }), { name: 'y' });
      const lines: unknown[] = [];
      await calls.watch({ ...call('GET', '/watch'), shape }, (line) => lines.push(line), stop);
      deepEqual(lines, [{ name: 'y' }]);
    });

    test('it is asked for as Kubernetes does, and sent with its type', async (context) => {
      const { calls } = scene(context);
      const headers: unknown[] = [];
      answer = ({ reply }) => {
        const { accept, 'content-type': sent } = reply.req.headers;
        headers.push([accept, sent]);
        reply.end('{}');
      };
      await calls.call({ ...call('PUT', '/things/x', thing('x')), shape });
      await calls.call(call('PUT', '/things/x', { name: 'x' }));
      deepEqual(headers, [
        [`${type},application/json`, type],
        ['application/json', 'application/json'],
      ]);
      deepEqual(
        seen.map(({ body }) => body),
        [thing('x').toString(), '{"name":"x"}'],
      );
    });

    test('broken protobuf is no answer of an API server', async (context) => {
      const { calls } = scene(context);
      answer = ({ reply }) => reply.end(thing('x').subarray(0, -1));
      const asked = calls.call({ ...call('GET', '/things/x'), shape });
      await rejects(asked, isError('API_UNREACHABLE', /answered 502/));
    });

    test('a watch: whole frames, however they come, in order, until the server ends it', async (context) => {
      const { calls } = scene(context);
      const bytes = Buffer.concat([event('a'), event('ü€😀'), event('c'.repeat(300))]);
      for (const size of [1, 7, bytes.length]) {
        answer = ({ reply }) => {
          reply.setHeader('content-type', `${type};stream=watch`);
          const send = (at: number): void => {
            if (at >= bytes.length) reply.end();
            else reply.write(bytes.subarray(at, at + size), () => setImmediate(send, at + size));
          };
          send(0);
        };
        const lines: unknown[] = [];
        await calls.watch({ ...call('GET', '/watch'), shape }, (line) => lines.push(line), stop);
        deepEqual(
          lines,
          ['a', 'ü€😀', 'c'.repeat(300)].map((name) => ({ type: 'ADDED', object: { name } })),
        );
      }
    });

    for (const [how, sent, message] of [
      ['inside a frame', event('b').subarray(0, -1), /broke off/],
      ['with a frame of no end', Buffer.from('ffffffff00', 'hex'), /larger than/],
      ['with what is none', Buffer.from('<html>\n'), /larger than/],
      ['with a frame of something else', Buffer.from('00000003616263', 'hex'), /broken protobuf/],
    ] as const)
      test(`a watch that ends ${how}: what came whole counts, and it is said`, async (context) => {
        const { calls } = scene(context);
        answer = ({ reply }) => {
          reply.setHeader('content-type', `${type};stream=watch`);
          reply.write(event('a'), () => reply.end(sent));
        };
        const lines: unknown[] = [];
        const watch = { ...call('GET', '/watch'), shape };
        const watching = calls.watch(watch, (line) => lines.push(line), stop);
        await rejects(watching, isError('API_UNREACHABLE', message));
        deepEqual(lines, [{ type: 'ADDED', object: { name: 'a' } }]);
      });
  });

  for (const [how, end] of [
    ['in order, inside a line', (reply: ServerResponse) => void reply.end('{"n":"b')],
    ['inside a line', (reply: ServerResponse) => reply.write('{"n":"b', () => reply.destroy())],
    ['between lines', (reply: ServerResponse) => void reply.destroy()],
  ] as const)
    test(`a watch that breaks off ${how}: what came whole counts, and it is said`, async (context) => {
      const { calls } = scene(context);
      answer = ({ reply }) => void reply.write('{"n":"a"}\n', () => setTimeout(end, 50, reply));
      const lines: unknown[] = [];
      const stop = new AbortController();
      const watching = calls.watch(call('GET', '/watch'), (line) => lines.push(line), stop.signal);
      await rejects(watching, isError('API_UNREACHABLE', /broke off|ECONNRESET|aborted/));
      deepEqual(lines, [{ n: 'a' }]);
    });

  test('a watch that is told to stop ends, before its head and after, and closes its connection', async (context) => {
    const { calls } = scene(context);
    for (const begin of [() => undefined, (reply: ServerResponse) => reply.write('{"n":"a"}\n')]) {
      answer = ({ reply }) => void begin(reply);
      const stop = new AbortController();
      const before = seen.length;
      const watching = calls.watch(call('GET', '/watch'), () => undefined, stop.signal);
      await until('it to arrive', () => seen.length > before);
      stop.abort();
      await watching;
      await until('its connection to close', () => sockets.size === 0);
    }
  });

  test('a refused watch: the reason, and when to come again', async (context) => {
    const { calls } = scene(context);
    const { signal } = new AbortController();
    for (const [status, code] of [
      [410, 'API_EXPIRED'],
      [429, 'API_UNREACHABLE'],
      [403, 'API_FORBIDDEN'],
    ] as const) {
      answer = ({ reply }) =>
        reply.writeHead(status, { 'retry-after': '7' }).end('{"reason":"Because"}');
      const watching = calls.watch(call('GET', '/watch'), () => undefined, signal);
      await rejects(watching, (error: PodsealError) => {
        equal(error.retryAfterMs, 7_000);
        return isError(code, /Because/)(error);
      });
    }
    equal(getEventListeners(signal, 'abort').length, 0);
  });
});
