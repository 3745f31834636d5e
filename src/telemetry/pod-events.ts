/** The pod that an Event is about. */
export interface PodReference {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** An Event for people, as `kubectl describe pod` shows it. */
export interface PodEvent {
  readonly type: 'Normal' | 'Warning';
  /** One word, stable for programs. docs/operations.md lists them. */
  readonly reason: PodEventReason;
  readonly message: string;
}

export const podEventReasons = [
  'CertificateWaiting',
  'CertificateDenied',
  'CertificateIssued',
  'CertificateFailed',
  'NotInjected',
] as const;
export type PodEventReason = (typeof podEventReasons)[number];

/** Tells people about a pod. Never throws and never waits: Events are written when there is time. */
export interface PodEvents {
  record(pod: PodReference, event: PodEvent): void;
}
