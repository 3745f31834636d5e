import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { apiClient, type ApiClient } from '../cluster/api-client.ts';
import { findBinaries } from '../cluster/binaries.ts';
import {
  importImage,
  type NodeOptions,
  requireNode,
  startNode,
  stopNode,
} from '../cluster/node.ts';
import { packPodsealImage, podsealImage } from '../cluster/podseal-image.ts';
import { type Started } from '../cluster/processes.ts';
import { until } from './until.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

/** Where deploy/ puts Podseal. */
export const podsealNamespace = 'podseal-system';

/** Why a node cannot be started here, or false: for `skip`, which prints it. */
export const nodeObstacle: string | false = await requireNode().then(
  () => false as const,
  (error: unknown) => String(error),
);

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string };
  }[];
}

interface PodStatus {
  readonly status: {
    readonly containerStatuses?: readonly {
      readonly state: { readonly terminated?: { readonly exitCode: number; message?: string } };
    }[];
  };
}

/** How a container ended; `log` is all that it said. */
export interface EndedContainer {
  readonly exitCode: number;
  readonly log: string;
  readonly message: string;
}

/** A whole node for one test file, with the image of this working tree on it. */
export interface NodeScene {
  /** Of the node's own files; gone after `end`. */
  readonly directory: string;
  readonly kubeconfig: string;
  /** As cluster administrator. */
  readonly api: ApiClient;
  readonly processes: Readonly<Record<string, Started>>;
  /** The program and its first arguments. */
  readonly kubectlCommand: readonly [string, ...string[]];
  /** Resolves to standard output. Paths are those of the repository. */
  kubectl(...args: readonly string[]): Promise<string>;
  podsOf(namespace: string, selector: string): Promise<PodList['items']>;
  /** Waits until the newest pods of the Deployment are ready, and no others are left. */
  rolledOut(namespace: string, deployment: string): Promise<string>;
  /** Installs deploy/ and waits until all of it works. */
  installPodseal(): Promise<void>;
  /** Makes a namespace whose pods are injected and may ask for certificates. */
  injectInto(namespace: string): Promise<void>;
  /** Runs the container to its end in a pod of its own. */
  runPod(
    pod: { readonly namespace: string; readonly name: string },
    container: Readonly<Record<string, unknown>>,
    volumes?: readonly unknown[],
  ): Promise<EndedContainer>;
  /** Ends the node, if it is still there, and removes every file. */
  end(): Promise<void>;
}

/** Starts the node; one machine can have one at a time. */
export async function nodeScene(options: NodeOptions = {}): Promise<NodeScene> {
  const home = mkdtempSync(join(tmpdir(), 'podseal-e2e-'));
  const directory = join(home, 'node');
  const kubeconfig = await startNode(directory, () => undefined, options);
  const state = readFileSync(join(directory, 'state.json'), 'utf8');
  const { processes } = JSON.parse(state) as Pick<NodeScene, 'processes'>;
  const api = apiClient(kubeconfig);
  const kubectlCommand = (await findBinaries(() => undefined))('kubectl');
  const kubectl: NodeScene['kubectl'] = async (...args) => {
    const [program, ...first] = kubectlCommand;
    const options = { cwd: root, env: { ...process.env, KUBECONFIG: kubeconfig } };
    return (await run(program, [...first, ...args], options)).stdout;
  };
  const rolledOut: NodeScene['rolledOut'] = (namespace, deployment) =>
    kubectl('rollout', 'status', `deployment/${deployment}`, `-n=${namespace}`, '--timeout=120s');

  const scene: NodeScene = {
    directory,
    kubeconfig,
    api,
    processes,
    kubectlCommand,
    kubectl,
    rolledOut,
    async podsOf(namespace, selector) {
      const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`;
      return ((await api.must('GET', path)) as PodList).items;
    },
    async installPodseal() {
      await kubectl('apply', '-k', 'deploy/');
      const names = ['-o', 'jsonpath={.items[*].metadata.name}'];
      const deployments = await kubectl('get', 'deployments', '-n', podsealNamespace, ...names);
      await Promise.all(deployments.split(' ').map((name) => rolledOut(podsealNamespace, name)));
    },
    async injectInto(namespace) {
      await api.must('POST', '/api/v1/namespaces', {
        metadata: { name: namespace, labels: { 'podseal.dev/inject': 'enabled' } },
      });
      await kubectl(
        ...['create', 'clusterrolebinding', `podseal-workload-${namespace}`],
        ...['--clusterrole=podseal-workload', `--group=system:serviceaccounts:${namespace}`],
      );
      await until('the namespace to have its service account', async () => {
        const path = `/api/v1/namespaces/${namespace}/serviceaccounts/default`;
        return (await api.request('GET', path)).status === 200;
      });
    },
    async runPod({ namespace, name }, container, volumes = []) {
      const pods = `/api/v1/namespaces/${namespace}/pods`;
      await api.must('POST', pods, {
        metadata: { name },
        spec: {
          restartPolicy: 'Never',
          securityContext: { runAsUser: 65532, fsGroup: 65532 },
          containers: [{ name, image: podsealImage, ...container }],
          volumes,
        },
      });
      const ended = await until(
        `pod ${name} to end`,
        async () => {
          const { status } = (await api.must('GET', `${pods}/${name}`)) as PodStatus;
          return status.containerStatuses?.[0]?.state.terminated;
        },
        120,
      );
      const log = await kubectl('logs', name, '-n', namespace);
      return { exitCode: ended.exitCode, log, message: ended.message ?? '' };
    },
    async end() {
      api.close();
      if (existsSync(join(directory, 'state.json'))) await stopNode(directory);
      rmSync(home, { recursive: true, force: true });
    },
  };
  try {
    await importImage(directory, await packPodsealImage(directory));
    return scene;
  } catch (error) {
    await scene.end();
    throw error;
  }
}
