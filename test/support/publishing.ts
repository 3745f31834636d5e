import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { joined } from '../../src/controller/joined.ts';
import { listWhole } from '../../src/controller/list-watch.ts';
import { replica } from '../../src/controller/replica.ts';
import { type Publications, publications } from '../../src/injector/publications.ts';
import { type ApiEndpoint } from '../../src/kubernetes/api-endpoint.ts';
import { type ApiCalls, apiCalls } from '../../src/kubernetes/api-calls.ts';
import { serviceListing } from '../../src/kubernetes/cluster-objects.ts';
import { apiEvents } from '../../src/kubernetes/events.ts';
import { apiLeases } from '../../src/kubernetes/leases.ts';
import { namespaceListing } from '../../src/kubernetes/namespaces.ts';
import { podLists } from '../../src/kubernetes/pod-lists.ts';
import { publishedConfigMaps, trustListing } from '../../src/kubernetes/published-config-maps.ts';
import { webhookConfigurations } from '../../src/kubernetes/webhook-configuration.ts';
import { systemClock } from '../../src/node/system-clock.ts';
import { systemRandom } from '../../src/node/system-random.ts';
import { type ApiClient } from '../cluster/api-client.ts';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { rbacObjects } from './controllers.ts';
import { logTwin, type LogTwin, metricsTwin, type MetricsTwin } from './signer-twins.ts';
import { until } from './until.ts';

const rbacFile = 'examples/rbac/injector.yaml';
const root = join(import.meta.dirname, '../..');

export const systemNamespace = 'podseal-system';
export const webhookName = 'podseal-injector';

/** Namespace, service account and rights of examples/rbac, and a token; the webhook configuration is not made. */
export async function installInjector(plane: ControlPlane): Promise<string> {
  await plane.api.must('POST', '/api/v1/namespaces', { metadata: { name: systemNamespace } });
  await plane.kubectl(['apply', '-f', '-'], readFileSync(join(root, rbacFile), 'utf8'));
  return tokenOf(plane.api, systemNamespace, 'podseal-injector');
}

export async function tokenOf(
  api: ApiClient,
  namespace: string,
  serviceAccount: string,
): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`;
  const answer = (await api.must('POST', path, { spec: { expirationSeconds: 3600 } })) as {
    status: { token: string };
  };
  return answer.status.token;
}

/** The API with the rights of the token. */
export function callsOf(plane: ControlPlane, token: string): ApiCalls {
  const endpoint: ApiEndpoint = {
    serverUrl: plane.serverUrl,
    source: 'the test',
    tls: () => Promise.resolve({ key: 'test', material: { ca: plane.caPem } }),
    headers: () => Promise.resolve({ authorization: `Bearer ${token}` }),
  };
  return apiCalls(endpoint, { maximumConnections: 16, observe: () => undefined });
}

export interface PublishingReplica extends Publications {
  readonly metrics: MetricsTwin;
  readonly logged: LogTwin;
  /** Everything was listed. */
  synced(): Promise<void>;
  /** Calls of the API so far, by method and path; lease and watches left out. */
  readonly calls: readonly string[];
  /** Verb and resource of everything that was asked of the API, as RBAC writes them. */
  readonly used: ReadonlySet<string>;
  stop(): Promise<void>;
}

export interface ReplicaOptions {
  readonly token: string;
  /** Undefined: it leads without asking. */
  readonly holder?: string;
  /** It never leads. */
  readonly followsOnly?: true;
  readonly sweepMs?: number;
  readonly spareMs?: number;
  /** Its clock is so far ahead: what was made just now is old. */
  readonly aheadMs?: number;
}

/** Verb and resource of everything that the file grants. */
export function granted(): ReadonlySet<string> {
  return new Set(
    rbacObjects('injector').flatMap(({ rules = [] }) =>
      rules.flatMap(({ verbs, resources }) =>
        verbs.flatMap((verb) => resources.map((resource) => `${verb} ${resource}`)),
      ),
    ),
  );
}

/** A replica of what the injector publishes, in this process, with the rights of the token. */
export function startPublishing(plane: ControlPlane, options: ReplicaOptions): PublishingReplica {
  const { token, holder, sweepMs = 3_600_000, spareMs = 60_000, aheadMs = 0 } = options;
  const made: string[] = [];
  const used = new Set<string>();
  const bare = callsOf(plane, token);
  const calls: typeof bare = {
    watch(call, onLine, stop) {
      used.add(`${call.attempted.verb} ${call.attempted.resource}`);
      return bare.watch(call, onLine, stop);
    },
    call(call) {
      used.add(`${call.attempted.verb} ${call.attempted.resource}`);
      if (!call.path.includes('/leases')) made.push(`${call.method} ${call.path}`);
      return bare.call(call);
    },
  };
  const metrics = metricsTwin();
  const logged = logTwin();
  const lease = { namespace: systemNamespace, name: 'podseal-injector', rbacFile };
  const config = {
    namespace: systemNamespace,
    follow: { idleMs: 90_000, relistMs: 600_000 },
    lease: holder === undefined ? undefined : { holder, durationMs: 3_000 },
    workers: 4,
    sweepMs,
    spareMs,
  };
  const basics = {
    clock: { ...systemClock, now: () => new Date(Date.now() + aheadMs) },
    random: systemRandom,
    log: logged.log,
    metrics,
    leases: apiLeases(calls, lease, () => new Date()),
  };
  const copy = replica(config, basics);
  const published = publications(
    config,
    {
      ...basics,
      namespaces: namespaceListing(calls),
      services: serviceListing(calls, undefined, rbacFile),
      servicesOf: joined((namespace) => listWhole(serviceListing(calls, namespace, rbacFile))),
      configMaps: publishedConfigMaps(calls, 'podseal-injector'),
      trust: trustListing(calls, systemNamespace),
      webhooks: webhookConfigurations(calls, 'podseal-injector'),
      pods: podLists(calls),
      writeEvent: apiEvents(calls, 'injector'),
    },
    copy,
  );
  const stopping = new AbortController();
  const lead = options.followsOnly
    ? () => Promise.resolve()
    : (while_: AbortSignal) => published.lead(while_);
  const ended = copy.run(lead, stopping.signal);
  return {
    ...published,
    metrics,
    logged,
    calls: made,
    used,
    synced: async () => {
      await until('everything to be listed', () => copy.missing().length === 0);
    },
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}
