import { readdirSync, readFileSync } from 'node:fs';
import { type ApiClient } from '../cluster/api-client.ts';
import { until } from './until.ts';

/** Pods of a real node, and what they asked for. */

interface ContainerStatus {
  readonly name: string;
  readonly restartCount: number;
  readonly containerID?: string;
}

export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly initContainers?: readonly { readonly name: string; readonly image: string }[];
  };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

export async function podsIn(
  api: ApiClient,
  namespace: string,
  selector = '',
): Promise<readonly Pod[]> {
  const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`;
  return ((await api.must('GET', path)) as { items: readonly Pod[] }).items;
}

export function isReady({ metadata, status }: Pod): boolean {
  const { conditions = [] } = status;
  const isReady = conditions.some((each) => each.type === 'Ready' && each.status === 'True');
  return isReady && metadata.deletionTimestamp === undefined;
}

/**
 * Waits until all pods there are ready, and none is on its way out: as many as these. Throws an Error
 * with what the others, and their agents, say of themselves.
 */
export async function settled(
  api: ApiClient,
  namespace: string,
  count: number,
): Promise<readonly Pod[]> {
  let pods: readonly Pod[] = [];
  try {
    return await until(
      `${count} pods of ${namespace}, all ready`,
      async () => {
        pods = await podsIn(api, namespace);
        return pods.length === count && pods.every(isReady) && pods;
      },
      120,
    );
  } catch (cause) {
    const late = pods.filter((pod) => pods.length !== count || !isReady(pod));
    const accounts = await Promise.all(late.map((pod) => accountOf(api, namespace, pod)));
    throw new Error([String(cause), ...accounts].join('\n'), { cause });
  }
}

async function accountOf(api: ApiClient, namespace: string, pod: Pod): Promise<string> {
  const { metadata, status } = pod;
  const path = `/api/v1/namespaces/${namespace}/pods/${metadata.name}/log?container=podseal`;
  const { body: log } = await api.request('GET', path);
  const { phase, initContainerStatuses, containerStatuses } = status;
  const containers = [...(initContainerStatuses ?? []), ...(containerStatuses ?? [])];
  return `${metadata.name}, ${phase}: ${JSON.stringify(containers)}\n${String(log)}`;
}

/** The agent's container. */
export function agentOf({ metadata, status }: Pod): ContainerStatus {
  const found = status.initContainerStatuses?.find(({ name }) => name === 'podseal');
  if (!found) throw new Error(`Cannot find the agent of pod ${metadata.name}: it has none`);
  return found;
}

/** Kills every process of the container, as the kernel does when memory is short. */
export function killContainer({ name, containerID = '' }: ContainerStatus): void {
  const id = containerID.replace(/^.*:\/\//, '');
  const pids = readdirSync('/proc')
    .filter((each) => /^\d+$/.test(each))
    .filter((pid) => id !== '' && cgroupsOf(pid).includes(id));
  if (pids.length === 0) throw new Error(`Cannot kill container ${name}: it has no process`);
  for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
}

function cgroupsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return '';
  }
}

/** What became of a request. */
export interface Request {
  readonly name: string;
  readonly standing: 'pending' | 'approved' | 'denied' | 'failed' | 'issued';
}

/** The requests of the pod that has, or had, this uid. */
export async function requestsOf(api: ApiClient, uid: string): Promise<readonly Request[]> {
  const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  const { items } = (await api.must('GET', path)) as {
    items: readonly {
      metadata: { name: string };
      status: { certificate?: string; conditions?: readonly { type: string }[] };
    }[];
  };
  return items
    .filter(({ metadata }) => metadata.name.startsWith(`podseal-${uid}-`))
    .map(({ metadata: { name }, status: { certificate, conditions = [] } }) => {
      const is = (type: string): boolean => conditions.some((each) => each.type === type);
      if (certificate !== undefined) return { name, standing: 'issued' };
      if (is('Failed')) return { name, standing: 'failed' };
      if (is('Denied')) return { name, standing: 'denied' };
      return { name, standing: is('Approved') ? 'approved' : 'pending' };
    });
}
