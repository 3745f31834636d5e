import { equal } from 'node:assert/strict';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { serveHttp } from '../../src/node/web-server.ts';
import { until } from '../support/until.ts';

const port = async (stop: AbortSignal): Promise<number> =>
  serveHttp(
    { host: '127.0.0.1', port: 0 },
    () => ({ status: 200, contentType: 'text/plain', body: 'ok\n' }),
    stop,
  );

const statusOf = (port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    // As a kubelet probes: with a connection of its own.
    get({ host: '127.0.0.1', port, path: '/healthz', agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    }).on('error', reject);
  });

test('connections that say nothing keep no probe from being answered', async (context) => {
  const stop = new AbortController();
  context.after(() => stop.abort());
  const listening = await port(stop.signal);
  const open = new Set<Socket>();
  const silent = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: listening }, resolve);
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => open.delete(socket));
    });
  context.after(() => {
    for (const each of open) each.destroy();
  });
  for (let i = 0; i < 100; i++) await silent();
  for (let i = 0; i < 5; i++) equal(await statusOf(listening), 200);
  await until('no more than 64 to be open', () => open.size <= 64);
});
