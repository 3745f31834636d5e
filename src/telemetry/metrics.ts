/** Every metric of the agent: docs/operations.md explains each, a test compares the two. */
export const agentMetrics = {
  podseal_build_info: { type: 'gauge', help: 'Constant 1, labelled with the version.' },
  podseal_ready: { type: 'gauge', help: '1 while /readyz answers 200.' },
  podseal_certificate_not_before_timestamp_seconds: {
    type: 'gauge',
    help: 'Start of validity of the certificate on the volume, Unix time.',
  },
  podseal_certificate_not_after_timestamp_seconds: {
    type: 'gauge',
    help: 'End of validity of the certificate on the volume, Unix time.',
  },
  podseal_certificate_renewal_timestamp_seconds: {
    type: 'gauge',
    help: 'When the certificate on the volume is due for renewal, Unix time.',
  },
  podseal_certificate_expired: {
    type: 'gauge',
    help: '1 when the certificate on the volume is past its end of validity.',
  },
  podseal_certificate_chain_trusted: {
    type: 'gauge',
    help: '1 when the chain on the volume verifies under the trust bundle beside it.',
  },
  podseal_certificate_names_missing: {
    type: 'gauge',
    help: 'Names that the pod should have and the certificate on the volume lacks.',
  },
  podseal_issuances_total: {
    type: 'counter',
    help: 'Certificates obtained and published, by reason.',
  },
  podseal_issuance_failures_total: {
    type: 'counter',
    help: 'Attempts to obtain a certificate that failed, by error code.',
  },
  podseal_issuance_duration_seconds_sum: {
    type: 'counter',
    help: 'Seconds from the start of an attempt to the published certificate, summed.',
  },
  podseal_request_pending_since_timestamp_seconds: {
    type: 'gauge',
    help: 'When the signing request being waited for was created, Unix time; 0 when there is none.',
  },
  podseal_api_requests_total: {
    type: 'counter',
    help: 'Calls of the Kubernetes API, by method and status (0: no answer).',
  },
  podseal_trust_bundle_certificates: {
    type: 'gauge',
    help: 'Certificates in the published trust bundle.',
  },
  podseal_trust_reloads_total: {
    type: 'counter',
    help: 'Changed trust bundles published to the volume.',
  },
  podseal_trust_files_unusable: {
    type: 'gauge',
    help: 'Trust files that are missing, empty or unreadable; their last good content stays in use.',
  },
  podseal_hook_runs_total: {
    type: 'counter',
    help: 'New sets that the application was told of, by hook and outcome (none: it had not started yet).',
  },
  podseal_hook_last_success_timestamp_seconds: {
    type: 'gauge',
    help: 'When the application was last told of a new set, by hook, Unix time.',
  },
  podseal_application_reachable: {
    type: 'gauge',
    help: '1 while a TLS handshake with PODSEAL_PROBE succeeds.',
  },
  podseal_application_serves_current: {
    type: 'gauge',
    help: '1 while the application is seen to serve the certificate on the volume.',
  },
} as const satisfies Record<string, { type: 'gauge' | 'counter'; help: string }>;

export type MetricName = keyof typeof agentMetrics;
export type Labels = Readonly<Record<string, string>>;

export interface Metrics {
  set(name: MetricName, value: number, labels?: Labels): void;
  add(name: MetricName, value: number, labels?: Labels): void;
}
