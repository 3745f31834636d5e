import { randomBytes } from 'node:crypto';
import { trustBundleName } from '../src/kubernetes/trust-publication.ts';
import { generateKey } from '../src/node/key-generator.ts';
import { privateKeyPem } from '../src/pki/key-pair.ts';
import { makeRoot } from '../src/signer/authority.ts';
import { publishedNames } from '../src/trust/publication.ts';
import { type LogLine, type Program } from '../test/support/program.ts';
import { until } from '../test/support/until.ts';
import { namespaces, type DemoApi } from './api.ts';
import { type Stage } from './stage.ts';

export type ControllerName = 'approver' | 'signer';

/** Approver and signer, two replicas each. */
export interface Controllers {
  /** The replica that holds the lease now, or held it last; undefined: none yet. */
  holder(of: ControllerName): Promise<string | undefined>;
  /** By the name of its pod. */
  readonly replicas: ReadonlyMap<string, Program>;
  /** The first such line of any replica, waited for, and who logged it. */
  logged(event: string, isMeant?: (line: LogLine) => boolean): Promise<LogLine & { by: string }>;
  /** What is published now, PEM; undefined: nothing yet. */
  bundle(): Promise<string | undefined>;
  /** Puts a new CA into the Secret, as an administrator would. */
  replaceCa(commonName: string): Promise<void>;
}

const names = ['approver-0', 'approver-1', 'signer-0', 'signer-1'] as const;
/** Seconds: short, so that the viewer need not wait for a take-over. */
export const leaseSeconds = 2;
export const settleSeconds = 2;

export function trustBundlePath(signerName: string): string {
  return `/apis/certificates.k8s.io/v1/clustertrustbundles/${encodeURIComponent(trustBundleName(signerName))}`;
}

export function startControllers(stage: Stage, api: DemoApi, signerName: string): Controllers {
  const { client } = api;
  const environment = (name: string): Record<string, string> => ({
    POD_NAME: name,
    POD_NAMESPACE: namespaces.system,
    KUBECONFIG: api.kubeconfig,
    // A kubeconfig may name a program that signs in, which looks there.
    HOME: process.env['HOME'] ?? '/',
    PODSEAL_SIGNER_NAMES: signerName,
    PODSEAL_LISTEN: '127.0.0.1:0',
    PODSEAL_LEASE: `${leaseSeconds}s`,
    ...(name.startsWith('signer') ? { PODSEAL_CA_SETTLE: `${settleSeconds}s` } : {}),
  });
  const replicas = new Map(
    names.map((name) => [name as string, stage.start(name.slice(0, -2), environment(name))]),
  );
  const system = `/api/v1/namespaces/${namespaces.system}`;
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${namespaces.system}/leases`;
  return {
    replicas,
    async holder(of) {
      const { status, body } = await client.request('GET', `${leases}/podseal-${of}`);
      if (status === 404) return undefined;
      const { holderIdentity } = (body as { spec: { holderIdentity?: string } }).spec;
      // Behind the name of the pod stands what tells one run of it from the next.
      return holderIdentity?.replace(/_.*$/, '');
    },
    logged: (event, isMeant = () => true) =>
      until(`event ${event}`, () =>
        [...replicas]
          .flatMap(([by, program]) => program.lines().map((line) => ({ ...line, by })))
          .find((line) => line.event === event && isMeant(line)),
      ),
    async bundle() {
      const published = await client.request('GET', trustBundlePath(signerName));
      if (published.status === 200)
        return (published.body as { spec: { trustBundle: string } }).spec.trustBundle;
      // An older Kubernetes has the ConfigMap alone.
      const path = `${system}/configmaps/${publishedNames.configMap}`;
      const { status, body } = await client.request('GET', path);
      if (status !== 200) return undefined;
      return (body as { data: Readonly<Record<string, string>> }).data[publishedNames.bundle];
    },
    async replaceCa(commonName) {
      const keyPair = await generateKey('ECDSAP256');
      const now = Date.now();
      const root = makeRoot(
        {
          commonName,
          clusterDomain: 'cluster.local',
          trustDomain: 'cluster.local',
          notBefore: new Date(now - 3_600_000),
          notAfter: new Date(now + 365 * 86_400_000),
          serial: randomBytes(16),
        },
        keyPair,
      );
      const base64 = (text: string): string => Buffer.from(text).toString('base64');
      const data = {
        'tls.crt': base64(root),
        'tls.key': base64(privateKeyPem(keyPair)),
        'ca.crt': base64(root),
      };
      const path = `${system}/secrets/podseal-ca`;
      await client.must('PATCH', path, { data }, 'application/merge-patch+json');
    },
  };
}
