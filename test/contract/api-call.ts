import { Agent, request as httpsRequest } from 'node:https';

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

export interface Caller {
  call(call: Call): Promise<Answer>;
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
