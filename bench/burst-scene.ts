import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificatesFromPem } from '../src/pki/certificate.ts';
import { bundleOf, type TrustBundle } from '../src/trust/bundle.ts';
import { type ControlPlane } from '../test/cluster/control-plane.ts';
import { runningPart } from '../test/cluster/parts.ts';
import { administrator, testAuthority } from '../test/support/administrator.ts';
import { controllerSystem } from '../test/support/controllers.ts';
import {
  checkAll,
  makePlaces,
  makePods,
  orderOf,
  type ReadyPod,
  type Rival,
} from './burst-pods.ts';
import { type FromRequesters, type ToRequesters } from './burst-requesters.ts';
import { cpuOf, cpuSince, type CpuMs, type Parts } from './measured-parts.ts';

/** Approver, signer and requesters on a control plane, ready for bursts. */
export interface BurstScene {
  readonly plane: ControlPlane;
  readonly rivals: Readonly<Record<'podseal' | 'kubeControllerManager' | 'apiBound', Rival>>;
  /** All processes that take part, by their numbers of now. */
  parts(): Parts;
  /** New ones. */
  pods(count: number): Promise<readonly ReadyPod[]>;
  /** Lets all of them ask at once. Throws unless each gets a certificate that the agent would accept. */
  run(pods: readonly ReadyPod[], rival: Rival): Promise<BurstOutcome>;
  /** Removes every signing request. */
  clear(): Promise<void>;
  /** Ends our processes and removes their files. */
  close(): Promise<void>;
}

export interface BurstOutcome {
  /** Until each pod has read its certificate, milliseconds. */
  readonly times: readonly number[];
  readonly refusedWith429: number;
  readonly cpuMs: CpuMs;
}

const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const clusterParts = ['kube-apiserver', 'etcd', 'kube-controller-manager'] as const;
const serving = ['digital signature', 'server auth', 'client auth'] as const;
const signerName = 'podseal.dev/serving';

/** `connections`: for each kind of call that the requesters and the plain client make. `atEnd` is given `close`. */
export async function burstScene(
  plane: ControlPlane,
  connections: number,
  atEnd: (close: () => Promise<void>) => void,
): Promise<BurstScene> {
  const { api, directory } = plane;
  if (directory === undefined)
    throw new Error(
      'Cannot measure bursts on an existing cluster: the limits of its kube-controller-manager are changed on the way',
    );
  const pki = (name: string): string => readFileSync(join(directory, 'pki', name), 'utf8');
  const system = await controllerSystem(plane, { signerNames: [signerName] });
  const requesters = fork(join(import.meta.dirname, 'burst-requesters.ts'));
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    requesters.kill();
    return (closing ??= system.close());
  };
  atEnd(close);
  const [approver, signer] = [
    await system.startInPod('approver'),
    await system.startInPod('signer'),
  ];
  const children = { approver: approver.child, signer: signer.child, requesters };
  await makePlaces(api);
  const ca = await testAuthority();
  const parts = (): Parts => ({
    ...Object.fromEntries(
      clusterParts.map((part) => [part, runningPart(directory, part).process.pid]),
    ),
    ...Object.fromEntries(Object.entries(children).map(([name, { pid = 0 }]) => [name, pid])),
    // It reads what our programs log.
    bench: process.pid,
  });
  let made = 0;
  return {
    plane,
    rivals: {
      podseal: {
        name: 'podseal',
        signerName,
        usages: serving,
        plainClient: 'nothing',
        bundle: bundleFrom(await system.bundle()),
      },
      kubeControllerManager: {
        name: 'kube-controller-manager',
        // The one of its signers that signs for anybody; it refuses server auth.
        signerName: 'kubernetes.io/kube-apiserver-client',
        usages: ['digital signature', 'client auth'],
        plainClient: 'approves',
        bundle: bundleFrom(pki('csr-ca.crt')),
      },
      apiBound: {
        name: 'plain client',
        signerName: 'bench.podseal.dev/bound',
        usages: serving,
        plainClient: 'approves and writes the certificate',
        bundle: bundleFrom(ca.rootPem),
      },
    },
    parts,
    async pods(count) {
      const pods = await makePods(api, { first: made, count });
      made += count;
      return pods;
    },
    async run(pods, rival) {
      const { plainClient } = rival;
      const person = administrator(api, rival.signerName);
      const orders = pods.map((pod) => orderOf(pod, rival, (request) => person.sign(request, ca)));
      const { serverUrl, caPem } = plane;
      const token = pki('admin.token');
      const burst = { serverUrl, caPem, connections, plainClient, token, orders };
      await tell(requesters, { kind: 'prepare', burst });
      const before = cpuOf(parts());
      const done = await tell(requesters, { kind: 'go' });
      const cpuMs = cpuSince(before, parts());
      if (done.kind !== 'done') throw new Error('Cannot read the answer of the requesters');
      checkAll(pods, done.answers, rival);
      const times = done.answers.map(({ ms }) => ms);
      return { times, refusedWith429: done.refusedWith429, cpuMs };
    },
    async clear() {
      // In pages: deleting thousands in one call takes longer than a call may.
      for (let isEmpty = false; !isEmpty;) {
        await api.must('DELETE', `${requests}?limit=500`);
        const { items } = (await api.must('GET', `${requests}?limit=1`)) as { items: unknown[] };
        isEmpty = items.length === 0;
      }
    },
    close,
  };
}

function bundleFrom(pem: string): TrustBundle {
  return bundleOf(certificatesFromPem(pem));
}

function tell(requesters: ChildProcess, message: ToRequesters): Promise<FromRequesters> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('Cannot go on: the requesters ended'));
    requesters.once('exit', ended);
    requesters.once('message', (answer: FromRequesters) => {
      requesters.off('exit', ended);
      if (answer.kind === 'failed') reject(new Error(`Cannot finish the burst: ${answer.why}`));
      else resolve(answer);
    });
    requesters.send(message);
  });
}
