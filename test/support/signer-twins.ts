import { type Issuance } from '../../src/certificates/decisions.ts';
import {
  type ObservedCondition,
  type ObservedRequest,
} from '../../src/certificates/observed-request.ts';
import { type ErrorCode, PodsealError } from '../../src/errors.ts';
import { type Log, type LogFields } from '../../src/telemetry/log.ts';
import {
  type ControllerMetric,
  type ControllerMetrics,
} from '../../src/telemetry/controller-metrics.ts';
import { type Publication, type TrustPublisher } from '../../src/trust/publication.ts';
import { noon } from './certificate-builders.ts';

/** Twins of what the signer needs of the outside: they keep what is written, and fail when they are told to. */

export interface LoggedLine {
  readonly level: string;
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields;
}

export interface LogTwin {
  readonly log: Log;
  readonly lines: readonly LoggedLine[];
  /** The events alone, in their order. */
  events(): readonly string[];
}

export function logTwin(): LogTwin {
  const lines: LoggedLine[] = [];
  return {
    log: (level, event, message, fields = {}) => lines.push({ level, event, message, fields }),
    lines,
    events: () => lines.map(({ event }) => event),
  };
}

export interface MetricsTwin extends ControllerMetrics {
  /** The sum of a counter, of the samples with these labels. */
  counted(name: ControllerMetric, labels?: Readonly<Record<string, string>>): number;
  gauge(name: ControllerMetric): number | undefined;
}

export function metricsTwin(): MetricsTwin {
  const added: { name: string; labels: Readonly<Record<string, string>> }[] = [];
  const gauges = new Map<string, number>();
  return {
    add: (name, labels) => added.push({ name, labels }),
    set: (name, value) => gauges.set(name, value),
    observe: (name) => added.push({ name, labels: {} }),
    counted: (name, labels = {}) =>
      added.filter(
        (each) =>
          each.name === name &&
          Object.entries(labels).every(([label, value]) => each.labels[label] === value),
      ).length,
    gauge: (name) => gauges.get(name),
  };
}

export function failure(code: ErrorCode, retryAfterMs?: number): PodsealError {
  return new PodsealError(
    code,
    `Cannot do it: ${code}`,
    retryAfterMs === undefined ? {} : { retryAfterMs },
  );
}

export interface TrustTwin extends TrustPublisher {
  /** What stands there; anybody may change it. */
  published: Publication | undefined;
  /** Each bundle and chain that was written, in order. */
  readonly writes: readonly Publication[];
  /** Thrown by the next calls of this kind, until it is taken away. */
  failing: { readonly read?: PodsealError; readonly publish?: PodsealError };
  /** Called before each read and each attempt to publish. */
  before: () => void;
}

export function trustTwin(): TrustTwin {
  const writes: Publication[] = [];
  const twin: TrustTwin = {
    published: undefined,
    writes,
    failing: {},
    before: () => undefined,
    read() {
      twin.before();
      const { read: error } = twin.failing;
      return error ? Promise.reject(error) : Promise.resolve(twin.published);
    },
    publish(publication) {
      twin.before();
      const { publish: error } = twin.failing;
      if (error) return Promise.reject(error);
      const { published } = twin;
      const isSame =
        published?.bundlePem === publication.bundlePem &&
        published.signingChainPem === publication.signingChainPem;
      if (!isSame) writes.push(publication);
      twin.published = publication;
      return Promise.resolve();
    },
  };
  return twin;
}

export interface StoredRequest {
  readonly request: ObservedRequest;
  readonly certificate: string | undefined;
}

export interface IssuanceTwin extends Issuance {
  /** By name, as the API server has them. */
  readonly stored: ReadonlyMap<string, StoredRequest>;
  /** Creates the request, or writes over it as somebody else would: with a new version. */
  put(request: ObservedRequest, certificate?: string): ObservedRequest;
  delete(name: string): void;
  /** Called before each write and removal of this request: throws, or changes what is there. */
  before: (call: 'issue' | 'fail' | 'remove', name: string) => void;
}

export function issuanceTwin(): IssuanceTwin {
  const stored = new Map<string, StoredRequest>();
  let version = 1;
  const put = (request: ObservedRequest, certificate?: string): ObservedRequest => {
    const written = {
      ...request,
      resourceVersion: String(++version),
      hasCertificate: certificate !== undefined,
    };
    stored.set(request.name, { request: written, certificate });
    return written;
  };
  /** The stored one, if the write holds for it. */
  const writable = (request: ObservedRequest): StoredRequest => {
    const now = stored.get(request.name);
    if (!now) throw failure('API_NOT_FOUND');
    const isSame =
      now.request.uid === request.uid && now.request.resourceVersion === request.resourceVersion;
    if (!isSame) throw failure('API_CONFLICT');
    if (now.certificate !== undefined) throw failure('API_REFUSED');
    return now;
  };
  const twin: IssuanceTwin = {
    stored,
    put,
    delete: (name) => stored.delete(name),
    before: () => undefined,
    read: (name) => Promise.resolve(stored.get(name)?.request),
    // eslint-disable-next-line @typescript-eslint/require-await -- throws as a promise does
    async issue(request, chainPem) {
      twin.before('issue', request.name);
      put(writable(request).request, chainPem);
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- as above
    async fail(request, message) {
      twin.before('fail', request.name);
      const now = writable(request).request;
      put({ ...now, conditions: [...now.conditions, condition('Failed', message)] });
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- as above
    async remove({ name, uid }) {
      twin.before('remove', name);
      const now = stored.get(name);
      if (!now) throw failure('API_NOT_FOUND');
      if (now.request.uid !== uid) throw failure('API_CONFLICT');
      stored.delete(name);
    },
  };
  return twin;
}

export function condition(type: 'Approved' | 'Denied' | 'Failed', message = ''): ObservedCondition {
  return { type, reason: `By${type}`, message, updatedAt: noon, asRead: {} };
}
