import { type Wishes } from './annotations.ts';
import { type KeyAccess } from './key-access.ts';
import { type Container, type PodSpec, type Resources, type Volume } from './pod-object.ts';

/** What the injector knows of the cluster and its agents, whatever the pod. */
export interface AgentSettings {
  readonly image: string;
  readonly signerName: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** Whether the cluster has native sidecars (Kubernetes 1.29). */
  readonly nativeSidecars: boolean;
  /** Whether pods can mount the ClusterTrustBundle of the signer name; otherwise ConfigMap podseal-trust. */
  readonly clusterTrustBundle: boolean;
}

export const agentName = 'podseal';
export const initName = 'podseal-init';
const agentVolume = 'podseal-agent';
/** Where the agent writes; its own mount, wherever the application has the files. */
const certificateDirectory = '/var/run/podseal';
/** The usual place, so that Kubernetes mounts no other token there; and all else that the agent reads. */
const agentDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';
const tokenLifetimeSeconds = 3600;
/** A person may have to approve: a day, looked at every second. */
const startupSeconds = 86_400;

const usual: Resources = {
  requests: { cpu: '10m', memory: '32Mi' },
  limits: { memory: '128Mi' },
};
/** A pod whose containers all have limits and no smaller requests stays of class Guaranteed. */
const guaranteed: Resources = {
  requests: { cpu: '100m', memory: '128Mi' },
  limits: { cpu: '100m', memory: '128Mi' },
};

type Fields = Readonly<Record<string, unknown>>;

/** The agent's container, in which of the two lists it stands, and the other that goes before it. */
export interface AgentContainers {
  /** First of the init containers: those of the application may use the certificate. */
  readonly init: Container & Fields;
  /** Beside the application; undefined: the init container goes on as a native sidecar, or the pod ends by itself. */
  readonly sidecar: (Container & Fields) | undefined;
}

/** What the container follows from, of one pod. */
export interface AgentPlan {
  readonly wishes: Wishes;
  readonly access: KeyAccess;
  readonly settings: AgentSettings;
  /** Name of the volume that the application reads. */
  readonly volume: string;
}

export function agentContainers(spec: PodSpec, plan: AgentPlan): AgentContainers {
  const { wishes, access, settings, volume } = plan;
  const shared = {
    image: wishes.image ?? settings.image,
    env: environment(spec, plan),
    volumeMounts: [
      { name: volume, mountPath: certificateDirectory },
      { name: agentVolume, mountPath: agentDirectory, readOnly: true },
    ],
    resources: wishes.resources ?? (isGuaranteed(spec) ? guaranteed : usual),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsGroup: access.group,
      runAsNonRoot: true,
      runAsUser: access.user,
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
  const watching = { ...shared, name: agentName, args: ['watch'], ...probes(wishes.port) };
  if (settings.nativeSidecars)
    return {
      init: {
        ...watching,
        restartPolicy: 'Always',
        startupProbe: {
          httpGet: { path: '/readyz', port: wishes.port },
          // The first look would always come too early, and be told as a failure.
          initialDelaySeconds: 1,
          periodSeconds: 1,
          failureThreshold: startupSeconds,
        },
      },
      sidecar: undefined,
    };
  const init = { ...shared, name: initName, args: ['init'] };
  // A container that goes on for ever would keep a Job from ending.
  const ends = spec.restartPolicy !== undefined && spec.restartPolicy !== 'Always';
  return { init, sidecar: ends ? undefined : watching };
}

function probes(port: number): Fields {
  return {
    ports: [{ name: 'podseal', containerPort: port, protocol: 'TCP' }],
    readinessProbe: { httpGet: { path: '/readyz', port }, periodSeconds: 10 },
    livenessProbe: { httpGet: { path: '/healthz', port }, periodSeconds: 20, timeoutSeconds: 5 },
  };
}

function isGuaranteed({ containers, initContainers = [] }: PodSpec): boolean {
  return [...containers, ...initContainers]
    .filter(({ name }) => name !== agentName && name !== initName)
    .every(({ resources = {} }) =>
      ['cpu', 'memory'].every((kind) => {
        const limit = resources.limits?.[kind];
        return limit !== undefined && (resources.requests?.[kind] ?? limit) === limit;
      }),
    );
}

function environment(spec: PodSpec, { wishes, access, settings }: AgentPlan): readonly Fields[] {
  const fact = (name: string, fieldPath: string): Fields => ({
    name,
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
  });
  const values: Readonly<Record<string, string | undefined>> = {
    // Not in the downward API; a StatefulSet writes both into its pods before they are admitted.
    POD_HOSTNAME: spec.hostname,
    POD_SUBDOMAIN: spec.subdomain,
    PODSEAL_SIGNER_NAME: settings.signerName,
    PODSEAL_CLUSTER_DOMAIN: settings.clusterDomain,
    PODSEAL_TRUST_DOMAIN: settings.trustDomain,
    PODSEAL_SERVICES_FILE: `${agentDirectory}/services.json`,
    PODSEAL_POD_INFO_DIR: agentDirectory,
    PODSEAL_TRUST_FILES: `${agentDirectory}/trust.crt`,
    PODSEAL_KEY_MODE: wishes.keyMode ?? access.mode,
    PODSEAL_LISTEN: `:${wishes.port}`,
    PODSEAL_STORE_PASSWORD_FILE: wishes.storePassword && `${agentDirectory}/store-password`,
    ...wishes.environment,
  };
  return [
    fact('POD_NAME', 'metadata.name'),
    fact('POD_NAMESPACE', 'metadata.namespace'),
    fact('POD_UID', 'metadata.uid'),
    fact('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    // The addresses of a pod in its node's network are the node's.
    ...(spec.hostNetwork ? [] : [fact('POD_IPS', 'status.podIPs')]),
    ...Object.entries(values)
      .filter(([, value]) => value !== undefined && value !== '')
      // What was checked is what the agent reads: the kubelet would expand $(POD_UID).
      .map(([name, value]) => ({ name, value: value?.replaceAll('$', '$$$$') })),
  ];
}

/** In memory: the private key never reaches a disk. */
export function certificateVolume(): Volume & Fields {
  return { name: agentName, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } };
}

/**
 * All that the agent reads, in one volume that it alone mounts. Nothing in it is optional: the pod
 * waits, and `kubectl describe pod` names what is missing.
 */
export function agentFiles(wishes: Wishes, settings: AgentSettings): Volume & Fields {
  const configMap = (name: string, key: string, path: string): Fields => ({
    configMap: { name, items: [{ key, path }] },
  });
  const { storePassword, trust } = wishes;
  const { signerName, clusterTrustBundle } = settings;
  // Not by its name: then the kubelet hands on what it has kept for up to five minutes, and a new CA signs before that.
  const bySigner: Fields = { signerName, labelSelector: {}, path: 'trust.crt' };
  const trustSource =
    trust !== undefined
      ? configMap(trust.name, trust.key, 'trust.crt')
      : clusterTrustBundle
        ? { clusterTrustBundle: bySigner }
        : configMap('podseal-trust', 'ca.crt', 'trust.crt');
  const downward = (path: string, fieldPath: string): Fields => ({
    path,
    fieldRef: { apiVersion: 'v1', fieldPath },
  });
  return {
    name: agentVolume,
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: tokenLifetimeSeconds } },
        configMap('kube-root-ca.crt', 'ca.crt', 'ca.crt'),
        configMap('podseal-services', 'services.json', 'services.json'),
        trustSource,
        {
          downwardAPI: {
            items: [
              downward('labels', 'metadata.labels'),
              downward('annotations', 'metadata.annotations'),
            ],
          },
        },
        ...(storePassword === undefined
          ? []
          : [
              {
                secret: {
                  name: storePassword.name,
                  items: [{ key: storePassword.key, path: 'store-password' }],
                },
              },
            ]),
      ],
    },
  };
}
