/** A kind of object: where it stands in the API, and its names in answers. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
}

/** Signing requests: what a failure is about unless said otherwise. */
export const resource = {
  group: 'certificates.k8s.io',
  version: 'v1',
  plural: 'certificatesigningrequests',
  kind: 'CertificateSigningRequest',
} as const satisfies Resource;

/** `certificates.k8s.io/v1`, `v1`: as objects say it. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`;
}

/** Why one field is wrong, as `details.causes` of an Invalid answer lists it. */
export interface Cause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

/** A Kubernetes Status (apimachinery `meta/v1` `Status`) of a failure. */
export interface FailureStatus {
  readonly code: number;
  /** Missing where the API server has not classified its own error. */
  readonly reason?: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Thrown wherever a request ends in a Status. */
export class ApiFailure extends Error {
  readonly status: FailureStatus;

  constructor(status: FailureStatus) {
    super(status.message);
    this.status = status;
  }
}

export function failureBody({ code, reason, message, details }: FailureStatus): unknown {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    ...(reason === undefined ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    code,
  };
}

export const cause = {
  required: (field: string, detail = ''): Cause => ({
    reason: 'FieldValueRequired',
    message: detail === '' ? 'Required value' : `Required value: ${detail}`,
    field,
  }),
  invalid: (field: string, value: unknown, detail: string): Cause => ({
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${JSON.stringify(value)}: ${detail}`,
    field,
  }),
  notSupported: (field: string, value: string, supported: Iterable<string>): Cause => ({
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${[...supported].map((each) => JSON.stringify(each)).join(', ')}`,
    field,
  }),
  duplicate: (field: string, value: string): Cause => ({
    reason: 'FieldValueDuplicate',
    message: `Duplicate value: ${JSON.stringify(value)}`,
    field,
  }),
  forbidden: (field: string, detail: string): Cause => ({
    reason: 'FieldValueForbidden',
    message: `Forbidden: ${detail}`,
    field,
  }),
  tooLong: (field: string, maximum: number): Cause => ({
    reason: 'FieldValueTooLong',
    message: `Too long: may not be more than ${maximum} bytes`,
    field,
  }),
};

const about = (name: string, { group, plural }: Resource): Record<string, string> => ({
  ...(name === '' ? {} : { name }),
  ...(group === '' ? {} : { group }),
  kind: plural,
});

const quoted = (name: string, { group, plural }: Resource): string => {
  const qualified = group === '' ? plural : `${plural}.${group}`;
  return name === '' ? qualified : `${qualified} "${name}"`;
};

export function unauthorized(): ApiFailure {
  return new ApiFailure({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' });
}

export function forbidden(name: string, why: string, of: Resource = resource): ApiFailure {
  const message = `${quoted(name, of)} is forbidden: ${why}`;
  return new ApiFailure({ code: 403, reason: 'Forbidden', message, details: about(name, of) });
}

export function forbiddenPath(username: string, verb: string, path: string): ApiFailure {
  const message = `forbidden: User "${username}" cannot ${verb} path "${path}"`;
  return new ApiFailure({ code: 403, reason: 'Forbidden', message, details: {} });
}

export function notFound(name: string, of: Resource = resource): ApiFailure {
  const message = `${quoted(name, of)} not found`;
  return new ApiFailure({ code: 404, reason: 'NotFound', message, details: about(name, of) });
}

/** For a path on which there is nothing, as different from an object that is not there. */
export function noSuchResource(): ApiFailure {
  const message = 'the server could not find the requested resource';
  return new ApiFailure({ code: 404, reason: 'NotFound', message, details: {} });
}

export function alreadyExists(name: string, of: Resource = resource): ApiFailure {
  const message = `${quoted(name, of)} already exists`;
  return new ApiFailure({ code: 409, reason: 'AlreadyExists', message, details: about(name, of) });
}

export function conflict(name: string, why: string, of: Resource = resource): ApiFailure {
  const message = `Operation cannot be fulfilled on ${quoted(name, of)}: ${why}`;
  return new ApiFailure({ code: 409, reason: 'Conflict', message, details: about(name, of) });
}

export function invalid(
  name: string,
  causes: readonly Cause[],
  { group, kind }: Resource = resource,
): ApiFailure {
  const listed = causes.map((each) => `${each.field}: ${each.message}`);
  const why = listed.length === 1 ? listed.join() : `[${listed.join(', ')}]`;
  const qualified = group === '' ? kind : `${kind}.${group}`;
  const message = `${qualified} "${name}" is invalid: ${why}`;
  const details = {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind,
    causes,
  };
  return new ApiFailure({ code: 422, reason: 'Invalid', message, details });
}

/** Of no object by name: the patched one could not even be read. */
export function invalidPatch(why: string): ApiFailure {
  const causes = [cause.invalid('patch', '', why)];
  const message = ` "" is invalid: patch: ${why}`;
  return new ApiFailure({ code: 422, reason: 'Invalid', message, details: { causes } });
}

export function badRequest(message: string): ApiFailure {
  return new ApiFailure({ code: 400, reason: 'BadRequest', message });
}

/** A watch is to begin at a version whose changes are forgotten. */
export function expired(wanted: number, oldest: number): FailureStatus {
  const message = `too old resource version: ${wanted} (${oldest})`;
  return { code: 410, reason: 'Expired', message };
}

export function methodNotAllowed(): ApiFailure {
  const message = 'the server does not allow this method on the requested resource';
  return new ApiFailure({ code: 405, reason: 'MethodNotAllowed', message, details: {} });
}

export function tooLarge(): ApiFailure {
  const message = 'Request entity too large: limit is 3145728';
  return new ApiFailure({ code: 413, reason: 'RequestEntityTooLarge', message });
}

export function unsupportedMediaType(accepted: readonly string[]): ApiFailure {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return new ApiFailure({ code: 415, reason: 'UnsupportedMediaType', message });
}

/** What a real API server does and this one does not: refused aloud, so that no test passes by accident. */
export function notOffered(what: string): ApiFailure {
  const message = `the embedded API does not offer ${what}: run this test on a real API server`;
  return new ApiFailure({ code: 501, reason: 'NotImplemented', message });
}
