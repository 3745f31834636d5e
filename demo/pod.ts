import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Service } from '../src/identity/service.ts';
import { downwardMap, kubeletVolume } from '../test/support/kubelet-volume.ts';
import { servicesJson } from '../test/support/pod-scene.ts';
import { type Program } from '../test/support/program.ts';
import { type DemoApi, type DemoPod } from './api.ts';
import { type Stage } from './stage.ts';

/** The application's pod on this machine: its mounts as a kubelet would keep them, and its containers. */
export interface PodHere {
  /** PODSEAL_DIR. */
  readonly directory: string;
  run(command: 'init' | 'watch'): Program;
  addService(service: Service): void;
  /** Changes the annotation podseal.dev/renew. */
  askForRenewal(): void;
}

export interface PodSettings {
  readonly signerName: string;
  readonly services: readonly Service[];
  /** What is published as trusted; PEM. */
  readonly bundle: () => Promise<string | undefined>;
}

/** Every 100 ms; a real kubelet takes a minute. */
const kubeletGapMs = 100;

export async function podHere(
  stage: Stage,
  api: DemoApi,
  pod: DemoPod,
  { signerName, services, bundle }: PodSettings,
): Promise<PodHere> {
  const { root } = stage;
  const account = join(root, 'account');
  mkdirSync(account);
  writeFileSync(join(account, 'token'), pod.token, { mode: 0o600 });
  writeFileSync(join(account, 'ca.crt'), api.caPem);
  const directory = join(root, 'podseal');
  mkdirSync(directory);

  const listed = [...services];
  let renewals = 0;
  const content = (): Record<string, string> => ({
    labels: downwardMap(pod.labels),
    annotations: renewals === 0 ? '' : downwardMap({ 'podseal.dev/renew': String(renewals) }),
    'services.json': servicesJson(listed),
  });
  const info = kubeletVolume(join(root, 'podinfo'), content());

  let trusted = (await bundle()) ?? '';
  const trust = kubeletVolume(join(root, 'trust'), { 'ca.crt': trusted });
  const ending = new AbortController();
  const following = (async () => {
    while (!ending.signal.aborted) {
      // What cannot be read now is read in a moment.
      const now = (await bundle().catch(() => undefined)) ?? trusted;
      if (now !== trusted) trust.write({ 'ca.crt': now });
      trusted = now;
      await sleep(kubeletGapMs);
    }
  })();
  stage.atEnd(() => {
    ending.abort();
    return following;
  });

  const { hostname, port } = new URL(api.serverUrl);
  const environment = {
    POD_NAME: pod.name,
    POD_NAMESPACE: pod.namespace,
    POD_UID: pod.uid,
    POD_IPS: pod.address,
    SERVICE_ACCOUNT: 'default',
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
  };
  return {
    directory,
    run: (command) => stage.start(command, environment),
    addService(service) {
      listed.push(service);
      info.write(content());
    },
    askForRenewal() {
      renewals += 1;
      info.write(content());
    },
  };
}
