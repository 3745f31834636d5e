/** Every metric of approver and signer: docs/operations.md explains each, a test compares the two. */
export const controllerMetrics = {
  podseal_queue_depth: { type: 'gauge', help: 'Signing requests that wait for a worker.' },
  podseal_queue_put_off: {
    type: 'gauge',
    help: 'Signing requests that wait for something to become true, or for another attempt.',
  },
  podseal_leader: { type: 'gauge', help: '1 while this replica works, 0 while another does.' },
  podseal_controller_failures_total: {
    type: 'counter',
    help: 'Attempts that failed and are made again, by error code.',
    labels: ['code'],
  },
  podseal_controller_api_requests_total: {
    type: 'counter',
    help: 'Calls of the Kubernetes API, by method and status (0: no answer).',
    labels: ['method', 'status'],
  },
  podseal_watch_interruptions_total: {
    type: 'counter',
    help: 'Lists and watches that broke off, by kind of object and error code.',
    labels: ['objects', 'code'],
  },
  podseal_lists_total: {
    type: 'counter',
    help: 'Complete lists, by kind of object.',
    labels: ['objects'],
  },
  podseal_approver_verdicts_total: {
    type: 'counter',
    help: 'Requests approved and denied.',
    labels: ['verdict'],
  },
  podseal_approver_violations_total: {
    type: 'counter',
    help: 'Denied requests, by rule that they break (one request may break several).',
    labels: ['rule'],
  },
  podseal_approver_waits_total: {
    type: 'counter',
    help: 'Times that a request was put off for what is not true yet.',
  },
  podseal_approver_verdict_seconds: {
    type: 'histogram',
    help: 'Seconds from the creation of a request to its verdict.',
  },
  podseal_approver_policy_valid: {
    type: 'gauge',
    help: '0 while the policy file is refused and the last good one stays in force.',
  },
  podseal_signer_certificates_total: { type: 'counter', help: 'Certificates issued.' },
  podseal_signer_failed_total: {
    type: 'counter',
    help: 'Approved requests that were marked Failed, by rule that they break.',
    labels: ['rule'],
  },
  podseal_signer_in_vain_total: {
    type: 'counter',
    help: 'Certificates signed that were not stored, because somebody else wrote first.',
  },
  podseal_signer_issue_seconds: {
    type: 'histogram',
    help: 'Seconds from the creation of a request to its certificate.',
  },
  podseal_signer_removed_total: {
    type: 'counter',
    help: 'Request objects removed, by why.',
    labels: ['why'],
  },
  podseal_signer_ca_not_after_timestamp_seconds: {
    type: 'gauge',
    help: 'End of validity of the CA that signs, Unix time.',
  },
  podseal_signer_ca_usable: {
    type: 'gauge',
    help: '0 while the CA Secret is refused and the last good CA goes on signing, or none.',
  },
  podseal_injector_namespaces: {
    type: 'gauge',
    help: 'Namespaces whose Services and trust bundle are kept current by this replica.',
  },
  podseal_injector_publications_total: {
    type: 'counter',
    help: 'Writes of published ConfigMaps, by ConfigMap and kind of write.',
    labels: ['config_map', 'write'],
  },
  podseal_injector_namespaces_too_large: {
    type: 'gauge',
    help: 'Namespaces whose Services do not fit into a ConfigMap: what stands there is old.',
  },
  podseal_injector_ca_bundle_current: {
    type: 'gauge',
    help: '0 while the API server is told to trust the webhook by another bundle than the published one.',
  },
  podseal_injector_pods_not_injected: {
    type: 'gauge',
    help: 'Pods that should have the agent and were created without it.',
  },
  podseal_injector_reviews_total: {
    type: 'counter',
    help: 'Pods asked about while they are created, by outcome: injected, left, refused.',
    labels: ['outcome'],
  },
  podseal_injector_review_seconds: {
    type: 'histogram',
    help: 'Seconds from the question about a pod to the answer.',
  },
} as const satisfies Readonly<
  Record<
    string,
    { type: 'gauge' | 'counter' | 'histogram'; help: string; labels?: readonly string[] }
  >
>;

export type ControllerMetric = keyof typeof controllerMetrics;

/** Where metrics go; labels are those of the table. */
export interface ControllerMetrics {
  add(name: ControllerMetric, labels: Readonly<Record<string, string>>): void;
  set(name: ControllerMetric, value: number): void;
  observe(name: ControllerMetric, seconds: number): void;
}
