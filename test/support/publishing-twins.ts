import { type Follower, type Listing } from '../../src/controller/list-watch.ts';
import { type PodsealError } from '../../src/errors.ts';
import { type LiveService } from '../../src/identity/live-service.ts';
import { type ListedPod } from '../../src/injection/listed-pod.ts';
import { type LiveNamespace } from '../../src/injection/live-namespace.ts';
import {
  type PublishedConfigMap,
  type PublishedPlace,
  type WantedConfigMap,
} from '../../src/injection/published-config-map.ts';
import { type WebhookConfiguration } from '../../src/injection/webhook-configuration.ts';
import { type Publications, publications } from '../../src/injector/publications.ts';
import { sha256Hex } from '../../src/pki/signature.ts';
import { type ManualClock } from './manual-clock.ts';
import { failure, logTwin, type LogTwin, metricsTwin, type MetricsTwin } from './signer-twins.ts';

/** Twins of the API as the injector publishes through it: they keep what is written, and are late or fail when told to. */

export const ownNamespace = 'podseal-system';

export interface StandingTwin {
  readonly configMap: PublishedConfigMap;
  readonly text: string;
}

export interface PublishingApi {
  readonly namespaces: Map<string, LiveNamespace>;
  readonly services: LiveService[];
  readonly pods: ListedPod[];
  /** By namespace and name, with a slash between. */
  readonly standing: Map<string, StandingTwin>;
  trust: string | undefined;
  webhook: WebhookConfiguration | undefined;
  /** Every call, in order: `create shop/podseal-trust`. */
  readonly calls: string[];
  /** Called with each call before it is answered: throws, waits, or changes what is there. */
  before: (call: string) => void | Promise<void>;
  /** What watches do not tell of now, by `what` of the listing. */
  readonly late: Set<string>;
  /** Watches tell everybody what has changed. */
  tell(): void;
  /** Everybody lists anew. */
  relist(): void;
  /** Somebody else writes there. */
  write(place: PublishedPlace, text: string, change?: Partial<PublishedConfigMap>): void;
  remove(place: PublishedPlace): void;
  text(namespace: string, name: PublishedPlace['name']): string | undefined;
  /** Names in services.json. */
  published(namespace: string): readonly string[] | undefined;
  writes(): readonly string[];
}

export interface ReplicaTwin extends Publications {
  readonly logged: LogTwin;
  readonly metrics: MetricsTwin;
  readonly failures: readonly PodsealError[];
  /** For how long nothing was heard, by `what` of the listing. */
  readonly silentMs: Map<string, number>;
  /** Events that were written: pod and reason. */
  readonly events: string[];
  /** Leads until the answer is called. */
  start(): () => Promise<void>;
}

export interface PublishingScene {
  readonly api: PublishingApi;
  readonly replica: () => ReplicaTwin;
}

export const service = (
  namespace: string,
  name: string,
  change: Partial<LiveService> = {},
): LiveService => ({
  namespace,
  name,
  selector: { app: name },
  clusterIPs: ['10.96.0.5'],
  headless: false,
  isExternalName: false,
  isBeingDeleted: false,
  ...change,
});

export const labelled = (name: string, change: Partial<LiveNamespace> = {}): LiveNamespace => ({
  name,
  isTerminating: false,
  injects: true,
  publishes: false,
  ...change,
});

export const listedPod = (
  namespace: string,
  name: string,
  change: Partial<ListedPod> = {},
): ListedPod => ({
  namespace,
  name,
  uid: `uid-of-${name}`,
  createdAt: new Date(0),
  isTerminating: false,
  labels: {},
  annotations: {},
  containerNames: ['app'],
  os: undefined,
  ...change,
});

export function webhookTwin(
  uid: string,
  ...caBundles: readonly (string | undefined)[]
): WebhookConfiguration {
  return { uid, resourceVersion: '1', caBundles, asRead: [] };
}

const keyOf = ({ namespace, name }: PublishedPlace): string => `${namespace}/${name}`;

export function publishingScene(clock: ManualClock, bundlePem: string): PublishingScene {
  const followers = new Map<string, Follower<unknown>[]>();
  const tellers = new Map<string, () => readonly unknown[]>();
  /** What each follower was told of, as JSON. */
  const told = new Map<Follower<unknown>, ReadonlyMap<string, unknown>>();
  const each = (tell: (follower: Follower<unknown>, items: readonly unknown[]) => void): void => {
    for (const [what, items] of tellers)
      if (!api.late.has(what))
        for (const follower of followers.get(what) ?? []) tell(follower, items());
  };
  const list = (follower: Follower<unknown>, items: readonly unknown[]): void => {
    told.set(follower, new Map(items.map((item) => [JSON.stringify(item), item])));
    follower.replace(items);
  };
  const watch = (follower: Follower<unknown>, items: readonly unknown[]): void => {
    const before = told.get(follower);
    if (!before) {
      list(follower, items);
      return;
    }
    const now = new Map(items.map((item) => [JSON.stringify(item), item]));
    told.set(follower, now);
    const identities = new Set(items.map(identityOf));
    for (const [text, item] of before)
      if (!now.has(text) && !identities.has(identityOf(item))) follower.remove(item);
    for (const [text, item] of now) if (!before.has(text)) follower.put(item);
  };
  let version = 100;
  const listing = <T>(what: string, items: () => readonly T[]): Listing<T> => {
    tellers.set(what, items);
    return {
      what,
      list: () => Promise.reject(failure('INVARIANT')),
      watch: () => Promise.resolve(),
    };
  };
  const asked = async (call: string): Promise<void> => {
    api.calls.push(call);
    await api.before(call);
  };
  const store = (wanted: WantedConfigMap, uid: string): PublishedConfigMap => {
    const { namespace, name, text } = wanted;
    const configMap: PublishedConfigMap = {
      namespace,
      name,
      uid,
      resourceVersion: String(++version),
      digest: sha256Hex(text),
      foreignKeys: { data: [], binaryData: [] },
      isImmutable: false,
      isManaged: true,
      owners: [wanted.ownerUid],
    };
    api.standing.set(keyOf(wanted), { configMap, text });
    return configMap;
  };
  const writable = (standing: PublishedConfigMap): PublishedConfigMap => {
    const now = api.standing.get(keyOf(standing))?.configMap;
    if (!now) throw failure('API_NOT_FOUND');
    if (now.uid !== standing.uid || now.resourceVersion !== standing.resourceVersion)
      throw failure('API_CONFLICT');
    return now;
  };
  const api: PublishingApi = {
    namespaces: new Map(),
    services: [],
    pods: [],
    standing: new Map(),
    trust: bundlePem,
    webhook: webhookTwin('owner', bundlePem),
    calls: [],
    before: () => undefined,
    late: new Set(),
    tell: () => each(watch),
    relist: () => each(list),
    write(place, text, change = {}) {
      const now = api.standing.get(keyOf(place))?.configMap;
      const uid = now?.uid ?? `uid-${++version}`;
      const configMap = { ...store({ ...place, text, ownerUid: 'owner' }, uid), ...change };
      api.standing.set(keyOf(place), { configMap, text });
    },
    remove: (place) => void api.standing.delete(keyOf(place)),
    text: (namespace, name) => api.standing.get(`${namespace}/${name}`)?.text,
    published(namespace) {
      const text = api.text(namespace, 'podseal-services');
      return text === undefined
        ? undefined
        : (JSON.parse(text) as { name: string }[]).map(({ name }) => name);
    },
    writes: () => api.calls.filter((call) => /^(create|change|remove) /.test(call)),
  };
  const standingOf = (name: string) => (): readonly PublishedConfigMap[] =>
    [...api.standing.values()]
      .map(({ configMap }) => configMap)
      .filter((each) => each.name === name);
  const world = {
    clock,
    random: { fraction: () => 0.5 },
    namespaces: listing('Namespaces', () => [...api.namespaces.values()]),
    services: listing('Services', () => [...api.services]),
    async servicesOf(namespace: string) {
      await asked(`services ${namespace}`);
      return api.services.filter((each) => each.namespace === namespace);
    },
    configMaps: {
      listings: {
        'podseal-services': listing('ConfigMaps podseal-services', standingOf('podseal-services')),
        'podseal-trust': listing('ConfigMaps podseal-trust', standingOf('podseal-trust')),
      },
      async read(place: PublishedPlace) {
        await asked(`read ${keyOf(place)}`);
        return api.standing.get(keyOf(place))?.configMap;
      },
      async create(wanted: WantedConfigMap) {
        await asked(`create ${keyOf(wanted)}`);
        if (!api.namespaces.has(wanted.namespace)) throw failure('API_NOT_FOUND');
        if (api.standing.has(keyOf(wanted))) throw failure('API_CONFLICT');
        return store(wanted, `uid-${++version}`);
      },
      async change(standing: PublishedConfigMap, wanted: WantedConfigMap) {
        await asked(`change ${keyOf(wanted)}`);
        const now = writable(standing);
        if (now.isImmutable) throw failure('API_REFUSED');
        return store(wanted, now.uid);
      },
      async remove(standing: PublishedConfigMap) {
        await asked(`remove ${keyOf(standing)}`);
        api.standing.delete(keyOf(writable(standing)));
      },
    },
    trust: listing('the bundle', () => (api.trust === undefined ? [] : [api.trust])),
    webhooks: {
      listing: listing('the webhook', () => (api.webhook ? [api.webhook] : [])),
      async read() {
        await asked('read the webhook');
        return api.webhook;
      },
      async setCaBundle(configuration: WebhookConfiguration, pem: string) {
        await asked('set caBundle');
        if (configuration.resourceVersion !== api.webhook?.resourceVersion)
          throw failure('API_CONFLICT');
        const resourceVersion = String(++version);
        const caBundles = configuration.caBundles.map(() => pem);
        api.webhook = { ...configuration, resourceVersion, caBundles };
        return api.webhook;
      },
    },
    pods: {
      async pods(
        query: { readonly labelSelector: string; readonly namespace?: string },
        isKept: (pod: ListedPod) => boolean,
      ) {
        await asked(`pods ${query.namespace ?? '*'} ${query.labelSelector}`);
        return selected(api.pods, query).filter(isKept);
      },
      async namespaces(query: { readonly labelSelector: string; readonly namespace?: string }) {
        await asked(`pods ${query.namespace ?? '*'} ${query.labelSelector}`);
        return new Set(selected(api.pods, query).map(({ namespace }) => namespace));
      },
    },
  };
  return {
    api,
    replica() {
      const logged = logTwin();
      const metrics = metricsTwin();
      const failures: PodsealError[] = [];
      const silentMs = new Map<string, number>();
      const events: string[] = [];
      const published = publications(
        {
          namespace: ownNamespace,
          follow: { idleMs: 90_000, relistMs: 600_000 },
          workers: 2,
          sweepMs: 180_000,
        },
        {
          ...world,
          log: logged.log,
          metrics,
          writeEvent(pod, event) {
            events.push(`${pod.namespace}/${pod.name} ${event.reason}`);
            return Promise.resolve();
          },
        },
        {
          follows(of, follower) {
            const all = followers.get(of.what) ?? [];
            followers.set(of.what, [...all, follower]);
          },
          failed: (error) => failures.push(error),
          silentMs: ({ what }) => silentMs.get(what) ?? 0,
          missing: () => [],
        },
      );
      return {
        ...published,
        ...{ logged, metrics, failures, silentMs, events },
        start() {
          const stopping = new AbortController();
          const ended = published.lead(stopping.signal);
          return () => {
            stopping.abort();
            return ended;
          };
        },
      };
    },
  };
}

/** What stays the same when an object changes. */
function identityOf(item: unknown): string {
  if (typeof item === 'string') return 'the bundle';
  const { namespace = '', name = '' } = item as { namespace?: string; name?: string };
  return `${namespace}/${name}`;
}

/** As the API server selects: key, !key, key=value, key!=value, all of them. */
function selected(
  pods: readonly ListedPod[],
  query: { readonly labelSelector: string; readonly namespace?: string },
): readonly ListedPod[] {
  const isMet = (labels: ListedPod['labels'], requirement: string): boolean => {
    const [, no, key = '', operator, value] = /^(!?)([^!=]+)(!?=)?(.*)$/.exec(requirement) ?? [];
    if (operator === '=') return labels[key] === value;
    if (operator === '!=') return labels[key] !== value;
    return key in labels !== (no === '!');
  };
  return pods
    .filter(({ namespace }) => query.namespace === undefined || namespace === query.namespace)
    .filter(({ labels }) => query.labelSelector.split(',').every((each) => isMet(labels, each)));
}
