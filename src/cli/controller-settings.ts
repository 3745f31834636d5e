/** Settings of every controller, with their defaults, as a person would write them (empty: none). */
const commonSettings = {
  PODSEAL_WORKERS: '32',
  PODSEAL_LEASE: '6s',
  PODSEAL_WATCH_IDLE: '90s',
  PODSEAL_RELIST: '10m',
  PODSEAL_SERVICE_ACCOUNT_DIR: '/var/run/secrets/kubernetes.io/serviceaccount',
  PODSEAL_LOG_LEVEL: 'info',
} as const;

const domainSettings = {
  PODSEAL_CLUSTER_DOMAIN: 'cluster.local',
  PODSEAL_TRUST_DOMAIN: 'the cluster domain',
} as const;

/** Settings that approver and signer share. */
const sharedSettings = {
  PODSEAL_SIGNER_NAMES: 'podseal.dev/serving',
  ...domainSettings,
  PODSEAL_MAX_LIFETIME: '90d',
  ...commonSettings,
} as const;

/** Every setting of `podseal approver`. cli/help.ts says what each is for. */
export const approverSettings = {
  ...sharedSettings,
  PODSEAL_POLICY: '',
  PODSEAL_LISTEN: ':9810',
} as const;

/** Every setting of `podseal signer`. */
export const signerSettings = {
  ...sharedSettings,
  PODSEAL_CA_SECRET: 'podseal-ca',
  PODSEAL_CA_IP_RANGES: '10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7',
  PODSEAL_CA_SETTLE: '2m',
  PODSEAL_MAX_OPEN_REQUESTS: '3',
  PODSEAL_CLUSTER_ROLE: 'podseal-signer',
  PODSEAL_LISTEN: ':9811',
} as const;

/** Every setting of `podseal injector`. */
export const injectorSettings = {
  PODSEAL_AGENT_IMAGE: '',
  PODSEAL_SIGNER_NAME: 'podseal.dev/serving',
  ...domainSettings,
  PODSEAL_WRONG_ANNOTATIONS: 'refuse',
  PODSEAL_NATIVE_SIDECARS: 'auto',
  PODSEAL_CLUSTER_TRUST_BUNDLE: 'auto',
  PODSEAL_SWEEP: '3m',
  ...commonSettings,
  PODSEAL_DIR: '/var/run/podseal',
  PODSEAL_WEBHOOK_LISTEN: ':9443',
  PODSEAL_WEBHOOK_CONFIGURATION: 'podseal-injector',
  PODSEAL_LISTEN: ':9812',
} as const;

export type ApproverSettingName = keyof typeof approverSettings;
export type SignerSettingName = keyof typeof signerSettings;
export type SharedSettingName = keyof typeof sharedSettings;
export type InjectorSettingName = keyof typeof injectorSettings;
export type CommonSettingName = keyof typeof commonSettings;
export type DomainSettingName = keyof typeof domainSettings;
