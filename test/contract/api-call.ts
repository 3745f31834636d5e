import { Agent, request as httpsRequest } from 'node:https';
import { createInterface } from 'node:readline';

/** A token as bearer; undefined sends no Authorization header. */
export interface Call {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly token?: string | undefined;
  /** Sent as JSON, or as it is when it is a string. */
  readonly body?: unknown;
  /** application/json by default; null sends none. */
  readonly contentType?: string | null;
}

export interface Answer {
  readonly code: number;
  /** Parsed, or the text when it is no JSON. */
  readonly body: unknown;
}

/** One line of a watch. */
export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

export interface OpenWatch {
  /** So far, in order. */
  readonly events: readonly WatchEvent[];
  /** Resolves when the server has ended it. */
  readonly ended: Promise<void>;
  stop(): void;
}

export interface Caller {
  call(call: Call): Promise<Answer>;
  /** Resolves when the server has begun to answer; rejects unless with 200. */
  watch(path: string, token: string): Promise<OpenWatch>;
  close(): void;
}

/** Raw HTTPS calls with nothing of a client library in between: the contract is the API's own. */
export function caller(serverUrl: string, caPem: string): Caller {
  const agent = new Agent({ keepAlive: true, ca: caPem });
  return {
    call: ({ method, path, token, body, contentType = 'application/json' }) =>
      new Promise((resolve, reject) => {
        const text = typeof body === 'string' ? body : (JSON.stringify(body) as string | undefined);
        const headers = {
          accept: 'application/json',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(text === undefined || contentType === null ? {} : { 'content-type': contentType }),
          // Node leaves it out for a DELETE, and the body would be read as the next request.
          ...(text === undefined ? {} : { 'content-length': Buffer.byteLength(text) }),
        };
        const outgoing = httpsRequest(
          `${serverUrl}${path}`,
          { agent, method, headers },
          (incoming) => {
            const chunks: Buffer[] = [];
            incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
            incoming.on('error', reject);
            incoming.on('end', () =>
              resolve({
                code: incoming.statusCode ?? 0,
                body: parsed(Buffer.concat(chunks).toString()),
              }),
            );
          },
        );
        outgoing.setTimeout(15_000, () =>
          outgoing.destroy(new Error(`Cannot ${method} ${path}: no answer in 15 s`)),
        );
        outgoing.on('error', reject);
        outgoing.end(text);
      }),
    watch: (path, token) =>
      new Promise((resolve, reject) => {
        const headers = { accept: 'application/json', authorization: `Bearer ${token}` };
        const outgoing = httpsRequest(`${serverUrl}${path}`, { agent, headers }, (incoming) => {
          const events: WatchEvent[] = [];
          const lines = createInterface({ input: incoming });
          // We stopped it, or the server broke it off: what came stands in `events`.
          lines.on('error', () => undefined);
          lines.on('line', (line) => {
            if (line !== '') events.push(JSON.parse(line) as WatchEvent);
          });
          const ended = new Promise<void>((over) => lines.on('close', over));
          if (incoming.statusCode === 200)
            resolve({ events, ended, stop: () => outgoing.destroy() });
          else reject(new Error(`Cannot watch ${path}: ${incoming.statusCode}`));
        });
        outgoing.on('error', reject);
        outgoing.end();
      }),
    close: () => agent.destroy(),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
