import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';

export interface ApiAnswer {
  readonly status: number;
  /** Parsed JSON, or the text when it is none. */
  readonly body: unknown;
}

/** Plain calls of the Kubernetes API, for arranging tests: nothing of the product is used. */
export interface ApiClient {
  /** `body` is sent as JSON; `contentType` for patches. */
  request(method: string, path: string, body?: unknown, contentType?: string): Promise<ApiAnswer>;
  /** Like request; throws an Error with the API server's answer when the status is 300 or above. */
  must(method: string, path: string, body?: unknown, contentType?: string): Promise<unknown>;
  close(): void;
}

/** A client with the credentials of the kubeconfig's current context. */
export function apiClient(kubeconfigPath: string): ApiClient {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfigPath);
  const server = config.getCurrentCluster()?.server ?? '';
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const authenticated = config.applyToHTTPSOptions({}).then(() => undefined);
  const options: RequestOptions = { agent };
  const ready = authenticated.then(async () => {
    await config.applyToHTTPSOptions(options);
    options.agent = agent;
  });
  const once: ApiClient['request'] = async (method, path, body, contentType) => {
    await ready;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...(options.headers as Record<string, string> | undefined),
      accept: 'application/json',
      ...(text === undefined
        ? {}
        : {
            'content-type': contentType ?? 'application/json',
            // Without it Node sends a DELETE's body in a way that the API server ignores.
            'content-length': String(Buffer.byteLength(text)),
          }),
    };
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        `${server}${path}`,
        { ...options, method, headers },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('end', () => {
            const answer = Buffer.concat(chunks).toString();
            resolve({ status: incoming.statusCode ?? 0, body: parsed(answer) });
          });
        },
      );
      outgoing.setTimeout(15_000, () =>
        outgoing.destroy(new Error(`no answer to ${method} ${path}`)),
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  };
  const request: ApiClient['request'] = async (method, path, body, contentType) => {
    try {
      return await once(method, path, body, contentType);
    } catch (error) {
      // A connection kept alive across a restart of the API server; a read may be asked again.
      if (method !== 'GET' || (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
      return once(method, path, body, contentType);
    }
  };
  return {
    request,
    async must(method, path, body, contentType) {
      const answer = await request(method, path, body, contentType);
      if (answer.status >= 300)
        throw new Error(
          `Cannot ${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`,
        );
      return answer.body;
    },
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
