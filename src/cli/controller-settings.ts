/** Settings that approver and signer share, with their defaults, as a person would write them (empty: none). */
const sharedSettings = {
  PODSEAL_SIGNER_NAMES: 'podseal.dev/serving',
  PODSEAL_CLUSTER_DOMAIN: 'cluster.local',
  PODSEAL_TRUST_DOMAIN: 'the cluster domain',
  PODSEAL_MAX_LIFETIME: '90d',
  PODSEAL_WORKERS: '32',
  PODSEAL_LEASE: '6s',
  PODSEAL_WATCH_IDLE: '90s',
  PODSEAL_RELIST: '10m',
  PODSEAL_SERVICE_ACCOUNT_DIR: '/var/run/secrets/kubernetes.io/serviceaccount',
  PODSEAL_LOG_LEVEL: 'info',
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
  PODSEAL_LISTEN: ':9811',
} as const;

export type ApproverSettingName = keyof typeof approverSettings;
export type SignerSettingName = keyof typeof signerSettings;
export type SharedSettingName = keyof typeof sharedSettings;
