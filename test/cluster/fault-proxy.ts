import { createServer, Agent, request as httpsRequest } from 'node:https';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { type Socket } from 'node:net';

/** What goes wrong with a call. */
export type Fault =
  | { readonly kind: 'latency'; readonly ms: number }
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterSeconds?: number }
  /** This body with status 200, as somebody in between may say it. */
  | { readonly kind: 'say'; readonly body: string }
  /** The connection is reset (TCP RST) before the call reaches the API server. */
  | { readonly kind: 'reset' }
  /** Accepted, never answered. */
  | { readonly kind: 'hang' }
  /** The call is done, and its answer is lost. */
  | { readonly kind: 'lose-answer' }
  /** An answer, such as a watch, ends mid-stream: after so long. */
  | { readonly kind: 'cut'; readonly afterMs: number }
  /** An answer ends mid-stream: after so many bytes of its body. */
  | { readonly kind: 'cut-after-bytes'; readonly bytes: number }
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
  /** Of them, those that are open. */
  readonly openConnections: () => number;
  /** Replaces all rules. */
  set(rules: readonly FaultRule[]): void;
  /** Ends every connection, as a load balancer that is restarted. */
  disconnect(): void;
  /** Presents another pair to whoever connects from now on. */
  present(servingPair: ServingPair): void;
  close(): Promise<void>;
}

export interface ProxyTarget {
  readonly serverUrl: string;
  /** Verifies the API server; PEM. */
  readonly caPem: string;
  /** Presented to clients, so that the CA they have verifies the proxy too; PEM. */
  readonly servingPair: ServingPair;
}

interface ServingPair {
  readonly cert: string;
  readonly key: string;
}

/**
 * A TLS proxy in front of the API server that makes faults on demand. It ends TLS, so clients must
 * authenticate by token: a client certificate does not come through.
 */
export async function startFaultProxy(target: ProxyTarget): Promise<FaultProxy> {
  const agent = new Agent({ ca: target.caPem, keepAlive: true });
  const calls: string[] = [];
  const sockets = new Map<number, Socket>();
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
    // TLS hides the TCP socket, the only one that can be reset.
    const reset = (): void => {
      sockets.get(incoming.socket.remotePort ?? 0)?.resetAndDestroy();
    };
    void answer({ incoming, reply, target, agent, fault, note, reset });
  });
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections++;
    const port = socket.remotePort ?? 0;
    sockets.set(port, socket);
    socket.on('close', () => sockets.delete(port));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    host: '127.0.0.1',
    port,
    calls,
    connections: () => connections,
    openConnections: () => sockets.size,
    set(next) {
      rules = next.map((rule) => ({ rule, left: rule.times ?? Infinity }));
    },
    disconnect: () => sockets.forEach((socket) => socket.destroy()),
    present: (servingPair) => server.setSecureContext({ ...servingPair }),
    async close() {
      for (const socket of sockets.values()) socket.destroy();
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
  readonly reset: () => void;
}

async function answer(exchange: Exchange): Promise<void> {
  const { incoming, reply, fault, note, reset } = exchange;
  switch (fault?.kind) {
    case 'reset':
      note(0);
      reset();
      return;
    case 'hang':
      note(0);
      incoming.resume();
      return;
    case 'say':
      note(200);
      incoming.resume();
      reply.end(fault.body);
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
    // A watch that has nothing to say yet must still be seen to have begun.
    reply.flushHeaders();
    if (fault?.kind === 'cut-after-bytes') cutAfter(fault.bytes, response, reply);
    else response.pipe(reply);
    // When the API server dies mid-answer, so must the answer.
    response.on('error', () => incoming.socket.destroy());
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

function cutAfter(bytes: number, response: IncomingMessage, reply: ServerResponse): void {
  let left = bytes;
  response.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, left);
    left -= part.length;
    // Destroyed only after what may pass has been written out.
    reply.write(part, () => {
      if (left === 0) reply.socket?.destroy();
    });
  });
  response.on('end', () => {
    if (left > 0) reply.end();
  });
}
