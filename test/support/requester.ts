import { type OutgoingHttpHeaders } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { type ApiAnswer } from '../cluster/api-client.ts';

/** Somebody with a token, or a user that an administrator plays. */
export type ApiUser = { readonly token: string } | ImpersonatedUser;

export interface ImpersonatedUser {
  readonly user: string;
  /** None: those of a service account follow from its name. */
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** A call of the API. */
export interface SentCall {
  readonly method: string;
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of a patch. */
  readonly contentType?: string;
}

export interface Requester {
  send(user: ApiUser, call: SentCall): Promise<ApiAnswer>;
  post(user: ApiUser, path: string, object: unknown): Promise<ApiAnswer>;
  close(): void;
}

/** Calls the API as anybody. The token's owner must have the right to impersonate. */
export function requester(serverUrl: string, caPem: string, impersonatorToken: string): Requester {
  const agent = new Agent({ keepAlive: true, ca: caPem });
  const send: Requester['send'] = (user, { method, path, body, contentType }) =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = {
        ...identity(user, impersonatorToken),
        accept: 'application/json',
        'content-type': contentType ?? 'application/json',
        'content-length': Buffer.byteLength(text),
      };
      const options = { agent, method, headers };
      const outgoing = httpsRequest(`${serverUrl}${path}`, options, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const answer = JSON.parse(Buffer.concat(chunks).toString()) as unknown;
          resolve({ status: incoming.statusCode ?? 0, body: answer });
        });
      });
      outgoing.setTimeout(15_000, () =>
        outgoing.destroy(new Error(`Cannot ${method} ${path}: no answer in 15 s`)),
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  return {
    send,
    post: (user, path, body) => send(user, { method: 'POST', path, body }),
    close: () => agent.destroy(),
  };
}

function identity(user: ApiUser, impersonatorToken: string): OutgoingHttpHeaders {
  if ('token' in user) return { authorization: `Bearer ${user.token}` };
  const extra = Object.entries(user.extra).filter(([, values]) => values.length > 0);
  return {
    authorization: `Bearer ${impersonatorToken}`,
    'impersonate-user': user.user,
    // A header for each value.
    ...(user.groups.length === 0 ? {} : { 'impersonate-group': [...user.groups] }),
    ...Object.fromEntries(
      extra.map(([key, values]) => [`impersonate-extra-${encodeURIComponent(key)}`, [...values]]),
    ),
  };
}
