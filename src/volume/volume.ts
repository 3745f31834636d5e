import { type SubjectNames } from '../identity/subject-names.ts';

/** A file of the published set. */
export interface VolumeFile {
  readonly name: string;
  readonly content: string | Buffer;
  /** Permission bits. */
  readonly mode: number;
}

/** What we remember of the set on the volume; published with it, read by the next container. */
export interface Receipt {
  readonly requestName: string;
  /** ISO 8601. */
  readonly receivedAt: string;
  /** The value of the annotation `podseal.dev/renew` that this certificate answers. */
  readonly renewAnnotation: string | undefined;
}

export interface PublishedSet {
  readonly tlsKey: Buffer | undefined;
  readonly tlsCrt: string | undefined;
  readonly caCrt: string | undefined;
  readonly receipt: Receipt | undefined;
  /** File names, for people. */
  readonly files: readonly string[];
}

/** A request under way: enough to go on with it after a restart at any moment. */
export interface PendingRequest {
  readonly name: string;
  /** Undefined until the API server answered the creation. */
  readonly uid: string | undefined;
  readonly signerName: string;
  /** PKCS#8 PEM. Never leaves the pod. */
  readonly keyPem: string;
  /** The certification request, PEM: kept because an ECDSA signature differs each time. */
  readonly request: string;
  readonly names: SubjectNames;
  /** ISO 8601. */
  readonly createdAt: string;
}

/**
 * The directory that the application reads. Calls are synchronous on purpose: a publish is a few
 * small files on a memory file system, and nothing else of ours can come between its steps.
 * All writes throw VOLUME_UNWRITABLE and leave the old set as it was.
 */
export interface Volume {
  /** The published set, or undefined when there is none (or none that is ours). */
  read(): PublishedSet | undefined;
  /** Replaces the whole set at once. */
  publish(files: readonly VolumeFile[], receipt: Receipt): void;
  readPending(): PendingRequest | undefined;
  writePending(pending: PendingRequest): void;
  clearPending(): void;
  /** What `writeTold` kept: the id of the set that the application was told of last. */
  readTold(): string | undefined;
  writeTold(id: string): void;
}
