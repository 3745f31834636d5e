import { type ApproverSettings, type Facts } from '../../src/approver/facts.ts';
import { type Allowance, defaultPolicy, type Policy } from '../../src/approver/policy.ts';
import { type ObservedRequest } from '../../src/certificates/observed-request.ts';
import { type LivePod } from '../../src/identity/live-pod.ts';
import { type LiveService } from '../../src/identity/live-service.ts';
import { type NetworkFacts } from '../../src/identity/network.ts';
import { boundPodOf, type Requester } from '../../src/identity/requester.ts';
import { noNames, type SubjectNames } from '../../src/identity/subject-names.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import { type NameConstraints, noSubtrees } from '../../src/pki/name-constraints.ts';
import { type KeyPair } from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { type Usage } from '../../src/pki/extensions.ts';
import { readContent } from '../../src/vetting/asked.ts';
import { dayMs, newKey, noon, tlsUsages } from './certificate-builders.ts';

/** Facts for a verdict, in words: pod `web-0` of namespace `shop`, which Service `web` selects, asks for what follows. */

export const settings: ApproverSettings = {
  signerNames: ['podseal.dev/serving'],
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  defaultLifetimeMs: dayMs,
};

export function aPod(changes: Partial<LivePod> = {}): LivePod {
  return {
    namespace: 'shop',
    name: 'web-0',
    uid: 'uid-of-web-0',
    serviceAccount: 'web',
    nodeName: 'node-a',
    phase: 'Running',
    isTerminating: false,
    isMirror: false,
    hostNetwork: false,
    ipAddresses: ['10.1.0.7'],
    hostname: undefined,
    subdomain: undefined,
    labels: new Map([['app', 'web']]),
    ...changes,
  };
}

export function aService(name = 'web', changes: Partial<LiveService> = {}): LiveService {
  return {
    namespace: 'shop',
    name,
    selector: { app: 'web' },
    clusterIPs: [],
    headless: false,
    isExternalName: false,
    isBeingDeleted: false,
    ...changes,
  };
}

/** A user with a token that is bound to the pod, as the API server records it. */
export function theTokenOf(pod: LivePod): Requester {
  return aUser(`system:serviceaccount:${pod.namespace}:${pod.serviceAccount}`, {
    'pod-name': [pod.name],
    'pod-uid': [pod.uid],
    ...(pod.nodeName === undefined ? {} : { 'node-name': [pod.nodeName] }),
    'credential-id': ['JTI=8a3f'],
  });
}

export function aUser(
  username: string,
  claims: Readonly<Record<string, string[]>> = {},
): Requester {
  const extra = Object.entries(claims).map(
    ([name, values]) => [`authentication.kubernetes.io/${name}`, values] as const,
  );
  return { username, extra: Object.fromEntries(extra) };
}

/** What is asked. Each has a good value; `pem` replaces the whole certification request. */
export interface Asking {
  readonly names?: Partial<SubjectNames>;
  readonly commonName?: string;
  readonly usages?: readonly string[];
  /** In the certification request; the same as in `usages` otherwise. */
  readonly usagesInside?: readonly Usage[];
  readonly expirationSeconds?: number | undefined;
  readonly key?: KeyPair;
  readonly pem?: string;
  readonly signerName?: string;
  readonly by?: Requester;
  readonly conditions?: ObservedRequest['conditions'];
  readonly hasCertificate?: boolean;
}

const oneKey = newKey();

export function requestPem(asking: Asking): string {
  const usages = asking.usagesInside ?? ((asking.usages ?? tlsUsages) as readonly Usage[]);
  const content = { names: { ...noNames, ...asking.names }, commonName: asking.commonName, usages };
  return pemOf(buildCertificationRequest(content, asking.key ?? oneKey));
}

export function pemOf(request: Buffer): string {
  return encodePem('CERTIFICATE REQUEST', request);
}

export function aRequest(asking: Asking = {}): ObservedRequest {
  return {
    name: 'podseal-uid-of-web-0-5f',
    uid: 'uid-of-request',
    resourceVersion: '1',
    createdAt: noon,
    request: asking.pem ?? requestPem(asking),
    signerName: asking.signerName ?? 'podseal.dev/serving',
    usages: asking.usages ?? tlsUsages,
    expirationSeconds: 'expirationSeconds' in asking ? asking.expirationSeconds : 86_400,
    requester: asking.by ?? theTokenOf(aPod()),
    conditions: asking.conditions ?? [],
    hasCertificate: asking.hasCertificate ?? false,
    isRenewal: false,
  };
}

export interface Scene {
  /** null: a live read finds none. */
  readonly pod?: LivePod | null;
  readonly services?: readonly LiveService[];
  readonly asks?: Asking;
  readonly network?: Partial<NetworkFacts>;
  readonly caConstraints?: readonly NameConstraints[];
  /** For the pod's namespace. */
  readonly allowance?: Partial<Allowance>;
  readonly policy?: Partial<Policy>;
  readonly settings?: Partial<ApproverSettings>;
}

const quietNetwork: NetworkFacts = {
  nodeAddresses: new Map(),
  serviceRanges: [],
  clusterIPs: new Map(),
  podRangesByNode: new Map(),
};

/** The facts as the approver would gather them; whoever asks is the pod, unless the scene says otherwise. */
export function factsOf(scene: Scene): Facts {
  const pod = scene.pod === undefined ? aPod() : (scene.pod ?? undefined);
  const request = aRequest({ by: theTokenOf(pod ?? aPod()), ...scene.asks });
  return {
    request,
    content: readContent(request.request),
    requester: boundPodOf(request.requester),
    pod,
    services: scene.services ?? [aService()],
    network: { ...quietNetwork, ...scene.network },
    caConstraints: scene.caConstraints,
    policy: {
      ...defaultPolicy,
      namespaces: [{ names: [pod?.namespace ?? '*'], changes: scene.allowance ?? {} }],
      ...scene.policy,
    },
    settings: { ...settings, ...scene.settings },
  };
}

/** Those of the CA that the signer makes for itself. */
export const selfMadeConstraints: NameConstraints = {
  permitted: { ...noSubtrees, dns: ['svc', 'cluster.local'], uri: ['cluster.local'] },
  excluded: noSubtrees,
  otherKinds: [],
};
