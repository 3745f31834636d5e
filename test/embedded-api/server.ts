import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo } from 'node:net';
import { authenticate, authorizePath, type PolicyRule, type User } from './authorization.ts';
import { type ApiAnswer } from './api-request.ts';
import { discoveryAt, otherObjects, type OtherObjects, parseOtherPath } from './other-objects.ts';
import { answerResource, parseResourcePath } from './resource-requests.ts';
import { makeServingPair } from './serving-certificate.ts';
import { type Requester } from './signing-request-object.ts';
import { signingRequestStore, type SigningRequestStore } from './signing-requests.ts';
import {
  ApiFailure,
  badRequest,
  failureBody,
  methodNotAllowed,
  noSuchResource,
  tooLarge,
} from './status.ts';
import { newHistory, type Watch } from './watching.ts';

/** What a token bound to a pod says about the pod. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  readonly nodeName: string;
}

/**
 * As much of the Kubernetes API as certificates need, in this process, for demonstrations and fast
 * tests: signing requests with every rule, and other kinds as plain objects. `test/contract` holds it
 * against a real API server.
 */
export interface EmbeddedApi {
  readonly serverUrl: string;
  /** PEM. */
  readonly caPem: string;
  /** Returns a token as a kubelet mounts it into the pod; it may create and get signing requests. */
  addPod(facts: PodFacts): string;
  /** Returns the token of a user who may do everything. */
  addAdministrator(): string;
  /** A user with exactly the permissions of the rules. */
  addUser(token: string, user: Requester, rules: readonly PolicyRule[]): void;
  /** Ends open connections as well. */
  close(): Promise<void>;
}

/** Listens on 127.0.0.1; on a free port by default. `now` is what objects are stamped with. */
export async function startEmbeddedApi(
  options: { readonly port?: number; readonly now?: () => Date } = {},
): Promise<EmbeddedApi> {
  const { port = 0, now = () => new Date() } = options;
  const users = new Map<string, User>();
  const history = newHistory();
  const stores = {
    requests: signingRequestStore(now, history),
    others: otherObjects(now, history),
  };
  const serviceAccountUids = new Map<string, string>();
  const pair = makeServingPair(new Date());
  const server = createServer(
    { cert: pair.certificatePem, key: pair.keyPem },
    (request, response) => {
      answer(request, users, stores)
        .catch((error: unknown) => failed(error))
        .then((answered) => send(response, answered))
        // The client went away while we were answering.
        .catch(() => response.destroy());
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve);
  });
  const addUser: EmbeddedApi['addUser'] = (token, user, rules) => {
    users.set(token, { ...user, rules });
  };
  return {
    serverUrl: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caPem: pair.caPem,
    addUser,
    addPod(facts) {
      const account = `${facts.namespace}:${facts.serviceAccount}`;
      const uid = serviceAccountUids.get(account) ?? randomUUID();
      serviceAccountUids.set(account, uid);
      const token = newToken();
      addUser(token, podUser(facts, uid), [workload]);
      return token;
    },
    addAdministrator() {
      const token = newToken();
      const groups = ['system:masters', 'system:authenticated'];
      addUser(token, { username: 'admin', uid: 'admin', groups, extra: {} }, [everything]);
      return token;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

const workload: PolicyRule = {
  apiGroups: ['certificates.k8s.io'],
  resources: ['certificatesigningrequests'],
  verbs: ['create', 'get'],
};

const everything: PolicyRule = { apiGroups: ['*'], resources: ['*'], verbs: ['*'] };

const newToken = (): string => `embedded-${randomUUID()}`;

/** The user of a token bound to a pod (apiserver `pkg/authentication/serviceaccount`). */
function podUser(facts: PodFacts, serviceAccountUid: string): Requester {
  const { namespace, serviceAccount } = facts;
  const key = (name: string): string => `authentication.kubernetes.io/${name}`;
  return {
    username: `system:serviceaccount:${namespace}:${serviceAccount}`,
    uid: serviceAccountUid,
    groups: [
      'system:serviceaccounts',
      `system:serviceaccounts:${namespace}`,
      'system:authenticated',
    ],
    extra: {
      [key('credential-id')]: [`JTI=${randomUUID()}`],
      [key('node-name')]: [facts.nodeName],
      [key('node-uid')]: [randomUUID()],
      [key('pod-name')]: [facts.name],
      [key('pod-uid')]: [facts.uid],
    },
  };
}

interface Stores {
  readonly requests: SigningRequestStore;
  readonly others: OtherObjects;
}

async function answer(
  request: IncomingMessage,
  users: ReadonlyMap<string, User>,
  { requests, others }: Stores,
): Promise<ApiAnswer> {
  const { method = 'GET' } = request;
  const url = new URL(request.url ?? '/', 'https://api');
  const body = await readBody(request);
  const user = authenticate(request.headers.authorization, users);
  const path = decodePath(url.pathname);
  const contentType = request.headers['content-type'];
  const asked = { method, query: url.searchParams, contentType, body };
  const target = parseResourcePath(path);
  if (target) return answerResource({ ...asked, target }, user, requests);
  const other = parseOtherPath(path);
  if (other) return others.answer(asked, other, user);
  authorizePath(user, method, path);
  return answerPath(method, path);
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw badRequest(`invalid URL escape in ${path}`);
  }
}

function answerPath(method: string, path: string): ApiAnswer {
  const body =
    { '/version': version, '/healthz': 'ok', '/livez': 'ok', '/readyz': 'ok' }[path] ??
    discoveryAt(path);
  if (path.startsWith('/apis/certificates.k8s.io/v1/')) throw noSuchResource();
  if (body === undefined) return { code: 404, body: '404 page not found\n' };
  if (method !== 'GET') throw methodNotAllowed();
  return { code: 200, body };
}

const version = {
  major: '1',
  minor: '37',
  gitVersion: 'v1.37.2+embedded',
  platform: `${process.platform}/${process.arch}`,
};

const maximumBody = 3 * 1024 * 1024;

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= maximumBody) chunks.push(chunk);
  }
  if (length > maximumBody) throw tooLarge();
  return Buffer.concat(chunks);
}

function failed(error: unknown): ApiAnswer {
  if (error instanceof ApiFailure)
    return { code: error.status.code, body: failureBody(error.status) };
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 500, body: failureBody({ code: 500, reason: 'InternalError', message }) };
}

function send(response: ServerResponse, answered: ApiAnswer): void {
  if ('watch' in answered) {
    sendWatch(response, answered.watch);
    return;
  }
  const { code, body } = answered;
  const isText = typeof body === 'string';
  response.writeHead(code, { 'content-type': isText ? 'text/plain' : 'application/json' });
  response.end(isText ? body : JSON.stringify(body));
}

/** One JSON object a line, until the client goes away or the watch ends. */
function sendWatch(response: ServerResponse, watch: Watch): void {
  response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
  const stop = watch({
    send: (event) => response.write(`${JSON.stringify(event)}\n`),
    end: () => response.end(),
  });
  response.once('close', stop);
}
