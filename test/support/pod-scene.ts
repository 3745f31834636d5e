import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Service } from '../../src/identity/service.ts';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { createPod, prepareNamespace, type PodSpec, type TestPod } from '../cluster/pod.ts';
import {
  administrator,
  testAuthority,
  type Administrator,
  type TestAuthority,
} from './administrator.ts';
import { downwardMap, kubeletVolume, type KubeletVolume } from './kubelet-volume.ts';
import { startProgram, type Program } from './program.ts';

/** A pod on the API server, the files a kubelet would mount into it, and a person who approves. */
export interface PodScene {
  readonly pod: TestPod;
  readonly ca: TestAuthority;
  readonly administrator: Administrator;
  /** PODSEAL_DIR. */
  readonly directory: string;
  readonly root: string;
  readonly trust: KubeletVolume;
  /** labels, annotations and services.json. */
  readonly info: KubeletVolume;
  readonly environment: Readonly<Record<string, string>>;
  run(command: 'init' | 'watch', changes?: Readonly<Record<string, string>>): Program;
  setServices(services: readonly Service[]): void;
  setAnnotations(annotations: Readonly<Record<string, string>>): void;
  /** Ends every program that still runs and removes every file. */
  close(): Promise<void>;
}

export const webService: Service = {
  name: 'web',
  selector: { app: 'web' },
  clusterIPs: ['10.96.0.20'],
  headless: false,
};

export function servicesJson(services: readonly Service[]): string {
  return `[\n${services.map((service) => JSON.stringify(service)).join(',\n')}\n]\n`;
}

export async function podScene(
  plane: ControlPlane,
  spec: Partial<PodSpec> & { readonly services?: readonly Service[] } = {},
): Promise<PodScene> {
  const id = randomBytes(4).toString('hex');
  const namespace = spec.namespace ?? `shop-${id}`;
  const { services = [webService], ...podSpec } = spec;
  const labels = spec.labels ?? { app: 'web' };
  await prepareNamespace(plane.api, namespace);
  const pod = await createPod(plane.api, { name: 'web-0', ...podSpec, namespace, labels });
  // In memory where that is possible, like a pod's emptyDir of medium Memory.
  const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'podseal-scene-'));
  const ca = await testAuthority();
  const account = join(root, 'account');
  mkdirSync(account);
  writeFileSync(join(account, 'ca.crt'), plane.caPem);
  writeFileSync(join(account, 'token'), pod.token);
  const directory = join(root, 'volume');
  mkdirSync(directory);
  const trust = kubeletVolume(join(root, 'trust'), { 'ca.crt': ca.rootPem });
  let annotations: Readonly<Record<string, string>> = {};
  let listed = services;
  const content = (): Record<string, string> => ({
    labels: downwardMap(labels),
    annotations: downwardMap(annotations),
    'services.json': servicesJson(listed),
  });
  const info = kubeletVolume(join(root, 'info'), content());
  const signerName = `test.podseal.dev/${id}`;
  const { hostname, port } = new URL(plane.serverUrl);
  const environment = {
    POD_NAME: pod.name,
    POD_NAMESPACE: namespace,
    POD_UID: pod.uid,
    POD_IPS: pod.podIPs.join(','),
    SERVICE_ACCOUNT: pod.serviceAccount,
    ...(spec.hostname === undefined ? {} : { POD_HOSTNAME: spec.hostname }),
    ...(spec.subdomain === undefined ? {} : { POD_SUBDOMAIN: spec.subdomain }),
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
    PODSEAL_SIGNER_NAME: signerName,
    PODSEAL_DIR: directory,
    PODSEAL_SERVICES_FILE: info.path('services.json'),
    PODSEAL_POD_INFO_DIR: info.directory,
    PODSEAL_TRUST_FILES: trust.path('ca.crt'),
    PODSEAL_SERVICE_ACCOUNT_DIR: account,
    PODSEAL_CLUSTER_DOMAIN: 'cluster.local',
    PODSEAL_LISTEN: '127.0.0.1:0',
    PODSEAL_TIMEOUT: '60s',
  };
  const programs: Program[] = [];
  return {
    pod,
    ca,
    administrator: administrator(plane.api, signerName),
    directory,
    root,
    trust,
    info,
    environment,
    run(command, changes = {}) {
      const program = startProgram([command], { ...environment, ...changes });
      programs.push(program);
      return program;
    },
    setServices(next) {
      listed = next;
      info.write(content());
    },
    setAnnotations(next) {
      annotations = next;
      info.write(content());
    },
    async close() {
      for (const { child } of programs) child.kill('SIGKILL');
      await Promise.all(programs.map(({ exit }) => exit));
      rmSync(root, { recursive: true, force: true });
    },
  };
}
