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

export interface Requester {
  post(user: ApiUser, path: string, object: unknown): Promise<ApiAnswer>;
  close(): void;
}

/** Posts objects as anybody. The token's owner must have the right to impersonate. */
export function requester(serverUrl: string, caPem: string, impersonatorToken: string): Requester {
  const agent = new Agent({ keepAlive: true, ca: caPem });
  return {
    post: (user, path, object) =>
      new Promise((resolve, reject) => {
        const text = JSON.stringify(object);
        const headers = {
          ...identity(user, impersonatorToken),
          accept: 'application/json',
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        };
        const options = { agent, method: 'POST', headers };
        const outgoing = httpsRequest(`${serverUrl}${path}`, options, (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const body = JSON.parse(Buffer.concat(chunks).toString()) as unknown;
            resolve({ status: incoming.statusCode ?? 0, body });
          });
        });
        outgoing.setTimeout(15_000, () =>
          outgoing.destroy(new Error(`Cannot POST ${path}: no answer in 15 s`)),
        );
        outgoing.on('error', reject);
        outgoing.end(text);
      }),
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
