import { nearest } from '../runtime/nearest.ts';

/** Every setting of the agent with its default, as a person would write it (empty: none). cli/help.ts says what each is for. */
export const agentSettings = {
  PODSEAL_SIGNER_NAME: 'podseal.dev/serving',
  PODSEAL_DIR: '/var/run/podseal',
  PODSEAL_SERVICES: '',
  PODSEAL_SERVICES_FILE: '',
  PODSEAL_POD_INFO_DIR: '/etc/podinfo',
  PODSEAL_DNS_NAMES: '',
  PODSEAL_IP_ADDRESSES: '',
  PODSEAL_NAME_FORMS: '',
  PODSEAL_CLUSTER_DOMAIN: 'from resolv.conf, else cluster.local',
  PODSEAL_TRUST_DOMAIN: 'the cluster domain',
  PODSEAL_COMMON_NAME: 'false',
  PODSEAL_KEY_ALGORITHM: 'ECDSAP256',
  PODSEAL_KEY_MODE: '0400',
  PODSEAL_LIFETIME: '24h',
  PODSEAL_TRUST_FILES: '/var/run/podseal-trust/ca.crt',
  PODSEAL_FORMATS: '',
  PODSEAL_STORE_PASSWORD_FILE: '',
  PODSEAL_TIMEOUT: '15m',
  PODSEAL_HOOK_SIGNAL: '',
  PODSEAL_HOOK_HTTP: '',
  PODSEAL_HOOK_TIMEOUT: '10s',
  PODSEAL_PROBE: '',
  PODSEAL_SERVICE_ACCOUNT_DIR: '/var/run/secrets/kubernetes.io/serviceaccount',
  PODSEAL_LISTEN: ':9809',
  PODSEAL_LOG_LEVEL: 'info',
} as const;

export type SettingName = keyof typeof agentSettings;

/** Facts about the pod, from the downward API as environment variables. */
export const podFacts = [
  { name: 'POD_NAME', fieldPath: 'metadata.name', needed: true },
  { name: 'POD_NAMESPACE', fieldPath: 'metadata.namespace', needed: true },
  { name: 'POD_UID', fieldPath: 'metadata.uid', needed: true },
  { name: 'SERVICE_ACCOUNT', fieldPath: 'spec.serviceAccountName', needed: true },
  { name: 'POD_IP', fieldPath: 'status.podIP', needed: false },
  { name: 'POD_IPS', fieldPath: 'status.podIPs', needed: false },
  { name: 'HOST_IPS', fieldPath: 'status.hostIPs', needed: false },
  { name: 'POD_HOSTNAME', fieldPath: '', needed: false },
  { name: 'POD_SUBDOMAIN', fieldPath: '', needed: false },
] as const;

/**
 * What Kubernetes itself puts into every pod beside a Service whose name begins with `podseal`
 * (docs: "environment variables" of Services): not ours to warn about.
 */
const serviceLink =
  /_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

/** A sentence for each PODSEAL_ variable that is no setting, with the nearest one that is. */
export function unknownSettings(
  environment: NodeJS.ProcessEnv,
  names: readonly string[],
): readonly string[] {
  return Object.keys(environment)
    .filter(
      (name) => name.startsWith('PODSEAL_') && !names.includes(name) && !serviceLink.test(name),
    )
    .sort()
    .map((name) => `${name} is not a setting; did you mean ${nearest(name, names)}?`);
}
