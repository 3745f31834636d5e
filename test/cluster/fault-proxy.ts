import { createServer, Agent, request as httpsRequest } from 'node:https';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { type Duplex } from 'node:stream';

/** What goes wrong with a call. */
export type Fault =
  | { readonly kind: 'latency'; readonly ms: number }
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterSeconds?: number }
  /** The connection is reset before the call reaches the API server. */
  | { readonly kind: 'reset' }
  /** Accepted, never answered. */
  | { readonly kind: 'hang' }
  /** The call is done, and its answer is lost. */
  | { readonly kind: 'lose-answer' }
  /** A watch ends after so long, mid-stream. */
  | { readonly kind: 'cut'; readonly afterMs: number }
  /** A watch stays open and says nothing more after so long. */
  | { readonly kind: 'silence'; readonly afterMs: number };

export interface FaultRule {
  readonly fault: Fault;
  /** Matched against `METHOD /path?query`; every call by default. */
  readonly when?: RegExp;
  /** How many calls it befalls; without limit by default. */
  readonly times?: number;
}

export interface FaultProxy {
  readonly host: string;
  readonly port: number;
  /** `METHOD /path STATUS` of each call answered, in order; status 0 for calls that got none. */
  readonly calls: readonly string[];
  /** TLS connections accepted so far. */
  readonly connections: () => number;
  /** Replaces all rules. */
  set(rules: readonly FaultRule[]): void;
  close(): Promise<void>;
}

export interface ProxyTarget {
  readonly serverUrl: string;
  /** Verifies the API server; PEM. */
  readonly caPem: string;
  /** Presented to clients, so that the CA they have verifies the proxy too; PEM. */
  readonly servingPair: { readonly cert: string; readonly key: string };
}

/**
 * A TLS proxy in front of the API server that makes faults on demand. It ends TLS, so clients must
 * authenticate by token: a client certificate does not come through.
 */
export async function startFaultProxy(target: ProxyTarget): Promise<FaultProxy> {
  const agent = new Agent({ ca: target.caPem, keepAlive: true });
  const calls: string[] = [];
  const sockets = new Set<Duplex>();
  let rules: { rule: FaultRule; left: number }[] = [];
  const faultFor = (call: string): Fault | undefined => {
    const found = rules.find(({ rule, left }) => left > 0 && (rule.when?.test(call) ?? true));
    if (found) found.left--;
    return found?.rule.fault;
  };
  const server = createServer({ ...target.servingPair }, (incoming, reply) => {
    const call = `${incoming.method ?? ''} ${incoming.url ?? ''}`;
    const note = (status: number): void => {
      calls.push(`${call} ${status}`);
    };
    const fault = faultFor(call);
    void answer({ incoming, reply, target, agent, fault, note });
  });
  let connections = 0;
  server.on('connection', (socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    host: '127.0.0.1',
    port,
    calls,
    connections: () => connections,
    set(next) {
      rules = next.map((rule) => ({ rule, left: rule.times ?? Infinity }));
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly reply: ServerResponse;
  readonly target: ProxyTarget;
  readonly agent: Agent;
  readonly fault: Fault | undefined;
  readonly note: (status: number) => void;
}

async function answer(exchange: Exchange): Promise<void> {
  const { incoming, reply, fault, note } = exchange;
  switch (fault?.kind) {
    case 'reset':
      note(0);
      incoming.socket.destroy();
      return;
    case 'hang':
      note(0);
      incoming.resume();
      return;
    case 'status': {
      note(fault.status);
      incoming.resume();
      const after = fault.retryAfterSeconds;
      reply.writeHead(fault.status, {
        'content-type': 'application/json',
        ...(after === undefined ? {} : { 'retry-after': String(after) }),
      });
      reply.end(
        JSON.stringify({
          kind: 'Status',
          apiVersion: 'v1',
          status: 'Failure',
          reason: 'Injected',
          message: 'injected fault',
          code: fault.status,
        }),
      );
      return;
    }
    case 'latency':
      await new Promise((resolve) => setTimeout(resolve, fault.ms));
      forward(exchange);
      return;
    default:
      forward(exchange);
  }
}

function forward({ incoming, reply, target, agent, fault, note }: Exchange): void {
  const { method, headers } = incoming;
  const outgoing = httpsRequest(`${target.serverUrl}${incoming.url ?? ''}`, {
    method,
    headers,
    agent,
  });
  outgoing.on('response', (response) => {
    if (fault?.kind === 'lose-answer') {
      note(0);
      response.resume();
      incoming.socket.destroy();
      return;
    }
    note(response.statusCode ?? 0);
    reply.writeHead(response.statusCode ?? 502, response.headers);
    response.pipe(reply);
    if (fault?.kind === 'cut') setTimeout(() => incoming.socket.destroy(), fault.afterMs);
    if (fault?.kind === 'silence') setTimeout(() => response.unpipe(reply).resume(), fault.afterMs);
  });
  outgoing.on('error', () => {
    note(0);
    incoming.socket.destroy();
  });
  reply.on('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
}
