import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { createInterface } from 'node:readline';
import { KubeConfig } from '@kubernetes/client-node';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { type StoredRequest } from './asking.ts';

/** With what was asked, base64. */
export interface AskedRequest extends StoredRequest {
  readonly spec: { readonly request: string };
}

/** What became of the signing requests of one signer name, event by event, as the API server itself tells it. */
export interface RequestHistory {
  /** The newest version of each, by uid; also of those that are gone. */
  readonly requests: ReadonlyMap<string, AskedRequest>;
  readonly issued: () => number;
  /** What must never happen. */
  readonly violations: readonly string[];
  close(): void;
}

interface WatchEvent {
  readonly type: string;
  readonly object: AskedRequest & { readonly metadata: { readonly resourceVersion: string } };
}

/** Begins before any of these requests is made. */
export async function requestHistory(
  plane: ControlPlane,
  signerName: string,
): Promise<RequestHistory> {
  const requests = new Map<string, AskedRequest>();
  const violations: string[] = [];
  let issued = 0;
  const note = ({ type, object }: WatchEvent): void => {
    if (type === 'BOOKMARK') return;
    const { name, uid } = object.metadata;
    const types = (object.status.conditions ?? []).map((condition) => condition.type);
    if (types.length > 1) violations.push(`${name} is ${types.join(' and ')}`);
    const before = requests.get(uid)?.status.certificate;
    const { certificate } = object.status;
    if (before !== undefined && before !== certificate)
      violations.push(`${name} has another certificate than before`);
    if (before === undefined && certificate !== undefined) issued++;
    if (type === 'ERROR') violations.push(`the history broke off: ${JSON.stringify(object)}`);
    requests.set(uid, object);
  };
  const config = new KubeConfig();
  config.loadFromFile(plane.kubeconfig);
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const agent = new Agent({ ca: plane.caPem });
  let isOver = false;
  let seen = '0';
  const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  const watchOnce = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const query = new URLSearchParams({
        watch: 'true',
        allowWatchBookmarks: 'true',
        fieldSelector: `spec.signerName=${signerName}`,
        resourceVersion: seen,
      });
      const url = `${plane.serverUrl}${path}?${query.toString()}`;
      const outgoing = httpsRequest(url, { ...options, agent }, (incoming) => {
        const lines = createInterface({ input: incoming });
        lines.on('line', (line) => {
          const event = JSON.parse(line) as WatchEvent;
          note(event);
          seen = event.object.metadata.resourceVersion;
        });
        // Said by `close` below.
        lines.on('error', () => undefined);
        incoming.on('error', () => undefined);
        incoming.on('close', () => {
          // The API server ends watches that do not keep up, as on a busy machine: on from what was seen.
          if (!isOver) watchOnce().catch((error: unknown) => violations.push(String(error)));
        });
        if (incoming.statusCode === 200) resolve();
        else reject(new Error(`Cannot watch signing requests: ${incoming.statusCode ?? 0}`));
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  await watchOnce();
  return {
    requests,
    issued: () => issued,
    violations,
    close() {
      isOver = true;
      agent.destroy();
    },
  };
}
