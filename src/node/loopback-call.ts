import { request as httpRequest } from 'node:http';
import { type CallLoopback } from '../application/http-hook.ts';
import { formatDuration } from '../runtime/duration.ts';

/** Each call over a connection of its own, which ends with it. */
export const callLoopback: CallLoopback = ({ method, url }, { timeoutMs, stop }) =>
  new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, agent: false, signal: stop }, (reply) => {
      reply.on('error', reject);
      reply.on('end', () => resolve(reply.statusCode ?? 0));
      reply.resume();
    });
    const timer = setTimeout(
      () => request.destroy(new Error(`no answer within ${formatDuration(timeoutMs)}`)),
      timeoutMs,
    );
    request.on('error', reject);
    // Asked for by nobody; unheard it would end the connection, and say nothing.
    request.on('upgrade', (reply, socket) => {
      socket.destroy();
      resolve(reply.statusCode ?? 0);
    });
    request.on('close', () => clearTimeout(timer));
    request.end();
  });
