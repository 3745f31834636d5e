import { Agent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { readGapMs } from '../src/certificates/read-gap.ts';
import { exchange } from '../src/kubernetes/exchange.ts';

/**
 * The pods of a burst, in a process of their own: its CPU is then seen apart from what serves them.
 * All ask at once, and each reads its answer with the agent's gaps. They share a few connections that
 * stand before the clock starts, where each pod would have its own: a thousand TLS handshakes would
 * measure this machine's OpenSSL, and a thousand Nodes would leave no CPU for the API server.
 */

/** One pod's request. */
export interface Order {
  readonly name: string;
  /** The pod's. */
  readonly token: string;
  /** The signing request, JSON. */
  readonly body: string;
  /** What the plain client writes as certificate, base64; unused when a signer does. */
  readonly certificate: string;
}

/** What a plain client does for each request as soon as it was created, at best as a controller could. */
export type PlainClient = 'nothing' | 'approves' | 'approves and writes the certificate';

export interface Burst {
  readonly serverUrl: string;
  readonly caPem: string;
  /** For creates; as many more for reads, and for each kind of write of the plain client. */
  readonly connections: number;
  readonly plainClient: PlainClient;
  /** The plain client's. */
  readonly token: string;
  readonly orders: readonly Order[];
}

export interface Answer {
  /** From the common start until the certificate was read. */
  readonly ms: number;
  /** PEM. */
  readonly chain: string;
}

export type FromRequesters =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'done';
      readonly answers: readonly Answer[];
      readonly refusedWith429: number;
    }
  | { readonly kind: 'failed'; readonly why: string };

export type ToRequesters =
  { readonly kind: 'prepare'; readonly burst: Burst } | { readonly kind: 'go' };

const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const maximumAnswerBytes = 1024 * 1024;
const patienceMs = 300_000;

interface Call {
  readonly method: 'GET' | 'POST' | 'PATCH';
  readonly path: string;
  readonly token: string;
  readonly body?: string;
}

/** So many keep-alive connections; calls wait for a free one in the order in which they came. */
interface Connections {
  /** Opens all of them. */
  open(token: string): Promise<void>;
  /** The answer's body; after 429 it is asked again, as Retry-After says. */
  call(call: Call): Promise<string>;
  readonly refusedWith429: number;
  close(): void;
}

function connectionsTo({ serverUrl, caPem, connections }: Burst): Connections {
  const agent = new Agent({ ca: caPem, keepAlive: true, maxSockets: connections });
  const waiting: (() => void)[] = [];
  let free = connections;
  let refusedWith429 = 0;
  const once = async ({ method, path, token, body }: Call) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const headers = {
      accept: 'application/json',
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': type }),
    };
    const outgoing = { url: serverUrl + path, method, headers, body };
    try {
      return await exchange(outgoing, agent, maximumAnswerBytes);
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
  const call = async (asked: Call): Promise<string> => {
    for (;;) {
      const { status, headers, body } = await once(asked);
      if (status < 300) return body.toString();
      if (status !== 429)
        throw new Error(`Cannot ${asked.method} ${asked.path}: ${status} ${body.toString()}`);
      refusedWith429++;
      await sleep(Number(headers['retry-after'] ?? 1) * 1000);
    }
  };
  return {
    async open(token) {
      const one = (): Promise<string> => call({ method: 'GET', path: '/version', token });
      await Promise.all(Array.from({ length: connections }, one));
    },
    call,
    get refusedWith429() {
      return refusedWith429;
    },
    close: () => agent.destroy(),
  };
}

interface Prepared {
  /** Every pod at once. */
  go(): Promise<readonly Answer[]>;
  refusedWith429(): number;
  close(): void;
}

async function prepare(burst: Burst): Promise<Prepared> {
  const { plainClient, token } = burst;
  const [creates, reads] = [connectionsTo(burst), connectionsTo(burst)];
  const [approvals, certificates] = [connectionsTo(burst), connectionsTo(burst)];
  const all = [creates, reads, ...(plainClient === 'nothing' ? [] : [approvals, certificates])];
  await Promise.all(all.map((each) => each.open(token)));

  const write = (connections: Connections, path: string, status: object): Promise<string> =>
    connections.call({ method: 'PATCH', path, token, body: JSON.stringify({ status }) });
  const serve = async ({ name, certificate }: Order): Promise<void> => {
    if (plainClient === 'nothing') return;
    const approved = { type: 'Approved', status: 'True', reason: 'Bench', message: 'bench' };
    await write(approvals, `${requests}/${name}/approval`, { conditions: [approved] });
    if (plainClient === 'approves and writes the certificate')
      await write(certificates, `${requests}/${name}/status`, { certificate });
  };
  const answered = async ({ name, token }: Order, startedAt: number): Promise<string> => {
    for (;;) {
      const ageMs = performance.now() - startedAt;
      if (ageMs > patienceMs) throw new Error(`Cannot wait longer for ${name}: it is not issued`);
      await sleep(readGapMs(ageMs, Math.random()));
      const text = await reads.call({ method: 'GET', path: `${requests}/${name}`, token });
      const chain = certificateIn(text, name);
      if (chain !== undefined) return chain;
    }
  };
  const ask = async (order: Order, startedAt: number): Promise<Answer> => {
    const { token, body } = order;
    await creates.call({ method: 'POST', path: requests, token, body });
    // The plain client is somebody else: the pod does not wait for it, but its failure is the burst's.
    const [chain] = await Promise.all([answered(order, startedAt), serve(order)]);
    return { ms: performance.now() - startedAt, chain };
  };
  return {
    go() {
      const startedAt = performance.now();
      return Promise.all(burst.orders.map((order) => ask(order, startedAt)));
    },
    refusedWith429: () => all.reduce((sum, each) => sum + each.refusedWith429, 0),
    close: () => all.forEach((each) => each.close()),
  };
}

/** Undefined: not yet. Throws an Error when it never will be. */
function certificateIn(text: string, name: string): string | undefined {
  const { status } = JSON.parse(text) as {
    status: { certificate?: string; conditions?: { type: string; message?: string }[] };
  };
  const refusal = status.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
  if (refusal) throw new Error(`${name} is ${refusal.type}: ${refusal.message ?? ''}`);
  return status.certificate && Buffer.from(status.certificate, 'base64').toString();
}

const tell = (message: FromRequesters): unknown => process.send?.(message);
let prepared: Prepared | undefined;
process.on('message', (message: ToRequesters) => {
  const step = async (): Promise<void> => {
    if (message.kind === 'prepare') {
      prepared = await prepare(message.burst);
      tell({ kind: 'ready' });
    } else if (prepared) {
      const answers = await prepared.go();
      tell({ kind: 'done', answers, refusedWith429: prepared.refusedWith429() });
      prepared.close();
    }
  };
  step().catch((error: unknown) => {
    tell({ kind: 'failed', why: error instanceof Error ? error.message : String(error) });
  });
});
// The bench is gone: nobody reads our answers.
process.on('disconnect', () => process.exit());
