import { apiVersionOf, badRequest, notOffered, resource } from './status.ts';

/** A CertificateSigningRequest as its JSON shows it; `request` and `certificate` are base64. */
export interface SigningRequestObject {
  readonly metadata: Metadata;
  readonly spec: Spec;
  readonly status: Status;
}

export interface Metadata {
  readonly name: string;
  readonly generateName: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Requester {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface Spec extends Requester {
  readonly request: string;
  readonly signerName: string;
  readonly usages: readonly string[];
  readonly expirationSeconds: number | undefined;
}

export interface Status {
  readonly conditions: readonly Condition[];
  readonly certificate: string;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  /** RFC 3339 in whole seconds; empty when not set. */
  readonly lastUpdateTime: string;
  readonly lastTransitionTime: string;
}

/** Go's JSON decoding: absent and null are the zero value, another type is refused (400). */
export function readSigningRequest(json: unknown): SigningRequestObject {
  const top = fieldsOf(json, 'object');
  if (text(top['kind'], 'kind') !== '' && top['kind'] !== 'CertificateSigningRequest')
    throw badRequest(`${String(top['kind'])} in version "v1" cannot be handled`);
  if (
    text(top['apiVersion'], 'apiVersion') !== '' &&
    top['apiVersion'] !== 'certificates.k8s.io/v1'
  )
    throw badRequest(
      `the API version in the data (${String(top['apiVersion'])}) does not match the expected API version (certificates.k8s.io/v1)`,
    );
  const metadata = fieldsOf(top['metadata'], 'metadata');
  for (const field of ['finalizers', 'ownerReferences'])
    if (list(metadata[field], field).length > 0) throw notOffered(`metadata.${field}`);
  const spec = fieldsOf(top['spec'], 'spec');
  const status = fieldsOf(top['status'], 'status');
  const textIn =
    (fields: Fields, path: string) =>
    (name: string): string =>
      text(fields[name], `${path}.${name}`);
  const meta = textIn(metadata, 'metadata');
  const inSpec = textIn(spec, 'spec');
  return {
    metadata: {
      name: meta('name'),
      generateName: meta('generateName'),
      uid: meta('uid'),
      resourceVersion: meta('resourceVersion'),
      creationTimestamp: meta('creationTimestamp'),
      labels: texts(metadata['labels'], 'metadata.labels'),
      annotations: texts(metadata['annotations'], 'metadata.annotations'),
    },
    spec: {
      request: base64(inSpec('request'), 'spec.request'),
      signerName: inSpec('signerName'),
      usages: list(spec['usages'], 'spec.usages').map((each) => text(each, 'spec.usages')),
      expirationSeconds: int32(spec['expirationSeconds'], 'spec.expirationSeconds'),
      username: inSpec('username'),
      uid: inSpec('uid'),
      groups: list(spec['groups'], 'spec.groups').map((each) => text(each, 'spec.groups')),
      // Overwritten by the server in every case.
      extra: {},
    },
    status: {
      certificate: base64(text(status['certificate'], 'status.certificate'), 'status.certificate'),
      conditions: list(status['conditions'], 'status.conditions').map((each) => {
        const condition = textIn(fieldsOf(each, 'status.conditions'), 'status.conditions');
        return {
          type: condition('type'),
          status: condition('status'),
          reason: condition('reason'),
          message: condition('message'),
          lastUpdateTime: time(condition('lastUpdateTime')),
          lastTransitionTime: time(condition('lastTransitionTime')),
        };
      }),
    },
  };
}

/** As the API server writes one that stands alone. */
export function wholeSigningRequest(object: SigningRequestObject): object {
  return {
    kind: resource.kind,
    apiVersion: apiVersionOf(resource),
    ...writeSigningRequest(object),
  };
}

/** As the API server writes a member of a list: empty fields are left out. */
export function writeSigningRequest({ metadata, spec, status }: SigningRequestObject): object {
  return {
    metadata: withoutEmpty(metadata),
    spec: withoutEmpty(spec),
    // A condition's status is the one field that is written even when empty; it never is.
    status: withoutEmpty({ ...status, conditions: status.conditions.map(withoutEmpty) }),
  };
}

export function timestamp(moment: Date): string {
  return `${moment.toISOString().slice(0, 19)}Z`;
}

function withoutEmpty(fields: object): object {
  const isEmpty = (value: unknown): boolean =>
    value === '' ||
    value === undefined ||
    (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown, path: string): Fields {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw wrongType(value, path);
  return value as Fields;
}

function list(value: unknown, path: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrongType(value, path);
  return value;
}

function text(value: unknown, path: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw wrongType(value, path);
  return value;
}

function texts(value: unknown, path: string): Record<string, string> {
  const entries = Object.entries(fieldsOf(value, path));
  return Object.fromEntries(entries.map(([key, each]) => [key, text(each, `${path}.${key}`)]));
}

function int32(value: unknown, path: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || (value | 0) !== value) throw wrongType(value, path);
  return value;
}

function base64(value: string, path: string): string {
  const packed = value.replaceAll(/[\r\n]/g, '');
  if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed))
    throw badRequest(`${path}: illegal base64 data`);
  return packed;
}

function time(value: string): string {
  if (value === '') return '';
  const moment = new Date(value);
  if (Number.isNaN(moment.getTime())) throw badRequest(`parsing time "${value}"`);
  return timestamp(moment);
}

function wrongType(value: unknown, path: string): Error {
  const kind = Array.isArray(value) ? 'array' : typeof value;
  return badRequest(`json: cannot unmarshal ${kind} into field ${path}`);
}
