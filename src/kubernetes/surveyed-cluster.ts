import { standingOf } from '../certificates/observed-request.ts';
import { requestName } from '../certificates/signing-request.ts';
import { type Listing } from '../controller/list-watch.ts';
import { PodsealError } from '../errors.ts';
import { boundPodOf } from '../identity/requester.ts';
import { type AgentReading } from '../status/agent-report.ts';
import { type SeenEvent, type SeenRequest } from '../status/clues.ts';
import { type Cluster, type Scope, type Withheld } from '../status/cluster.ts';
import { type PodFacts } from '../status/pod-facts.ts';
import { type PodReference } from '../telemetry/pod-events.ts';
import { type AgentDefaults, podFactsOf } from './agent-pods.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, objectOf, textMapOf, textOf, timeOf } from './json.ts';
import { listingOf, type ListingOptions } from './listing.ts';
import { readObservedRequest } from './observed-requests.ts';

const rbacFile = 'examples/rbac/status.yaml';

/** The cluster as `podseal status` reads it, with the operator's rights. */
export function surveyedCluster(
  calls: ApiCalls,
  ask: (pod: PodReference, port: number) => Promise<AgentReading>,
  defaults: AgentDefaults,
): Cluster {
  const list = <T>(options: Omit<ListingOptions<T>, 'rbacFile'>, onPage?: OnPage): Promise<T[]> =>
    everyPage(listingOf(calls, { ...options, rbacFile }), onPage);
  return {
    ask,
    async pods(scope, onPage) {
      const found: PodFacts[] = [];
      for (const fieldSelector of fieldSelectors(scope)) {
        const before = found.length;
        const options = {
          what: 'Pods',
          resource: 'pods',
          path: `/api/v1${inNamespace(scope.namespace)}/pods`,
          ...(fieldSelector === undefined ? {} : { fieldSelector }),
          ...(scope.selector === undefined ? {} : { labelSelector: scope.selector }),
          read: (object: Json) => podFactsOf(object, defaults),
        };
        found.push(...(await list(options, (count) => onPage(before + count))));
      }
      return found;
    },
    optedIn: (namespace) =>
      namespace === undefined
        ? unlessWithheld(
            'list namespaces',
            list({
              what: 'Namespaces',
              resource: 'namespaces',
              path: '/api/v1/namespaces',
              labelSelector: `${label}=enabled`,
              read: nameOf,
            }).then((names) => new Set(names)),
          )
        : unlessWithheld('get namespaces', optedInAlone(calls, namespace)),
    events: (namespace, reasons) =>
      unlessWithheld(
        'list events',
        Promise.all(
          reasons.map((reason) =>
            list({
              what: 'Events',
              resource: 'events',
              path: `/api/v1${inNamespace(namespace)}/events`,
              fieldSelector: `involvedObject.kind=Pod,reason=${reason}`,
              read: seenEvent,
            }),
          ),
        ).then((lists) => lists.flat()),
      ),
    requests: (signerName, podUids) =>
      unlessWithheld(
        'list certificatesigningrequests',
        list({
          what: `signing requests of ${signerName}`,
          resource: 'certificatesigningrequests',
          path: '/apis/certificates.k8s.io/v1/certificatesigningrequests',
          fieldSelector: `spec.signerName=${signerName}`,
          read: (object) => seenRequest(object, podUids),
        }),
      ),
  };
}

const label = 'podseal.dev/inject';

type OnPage = (count: number) => void;

/** One list for each pod that is named, so that a large namespace is not read for the sake of one. */
function fieldSelectors({ names }: Scope): readonly (string | undefined)[] {
  return names.length === 0 ? [undefined] : names.map((name) => `metadata.name=${name}`);
}

function inNamespace(namespace: string | undefined): string {
  return namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
}

/** A list that takes so long that the API server forgets its beginning is begun anew, so often. */
const attempts = 3;

async function everyPage<T>(listing: Listing<T>, onPage?: OnPage): Promise<T[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await pages(listing, onPage);
    } catch (error) {
      const isExpired = error instanceof PodsealError && error.code === 'API_EXPIRED';
      if (!isExpired || attempt === attempts) throw error;
    }
  }
}

async function pages<T>(listing: Listing<T>, onPage: OnPage = () => undefined): Promise<T[]> {
  const items: T[] = [];
  for (let next: string | undefined; ;) {
    const page = await listing.list(next);
    items.push(...page.items);
    onPage(items.length);
    next = page.next;
    if (next === undefined) return items;
  }
}

/** What may not be read, or what the API server does not serve, is no reason to tell nothing. */
async function unlessWithheld<T>(what: string, answer: Promise<T>): Promise<T | Withheld> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof PodsealError)) throw error;
    if (error.code === 'API_FORBIDDEN') return { withheld: `you may not ${what} (${rbacFile})` };
    if (error.code === 'API_NOT_FOUND' || error.code === 'API_REFUSED')
      return { withheld: error.message };
    throw error;
  }
}

async function optedInAlone(calls: ApiCalls, namespace: string): Promise<ReadonlySet<string>> {
  const quoted = JSON.stringify(namespace);
  try {
    const object = await calls.call({
      method: 'GET',
      path: `/api/v1${inNamespace(namespace)}`,
      attempted: {
        verb: 'get',
        resource: 'namespaces',
        what: `namespace ${quoted}`,
        rbac: `apply ${rbacFile}.`,
      },
    });
    const labels = textMapOf(objectOf(objectOf(object)['metadata'])['labels']);
    return new Set(labels[label] === 'enabled' ? [namespace] : []);
  } catch (error) {
    if (!(error instanceof PodsealError) || error.code !== 'API_NOT_FOUND') throw error;
    throw new PodsealError('USAGE', `Cannot find namespace ${quoted}`, {
      hint: 'kubectl get namespaces shows their names; -A looks into all of them.',
      cause: error,
    });
  }
}

function nameOf(object: Json): string | undefined {
  return textOf(objectOf(object['metadata'])['name']);
}

function seenEvent(object: Json): SeenEvent | undefined {
  const podUid = textOf(objectOf(object['involvedObject'])['uid']);
  if (podUid === undefined) return undefined;
  const { lastTimestamp, eventTime, series, reason, message } = object;
  return {
    podUid,
    reason: textOf(reason) ?? '',
    message: textOf(message) ?? '',
    lastAt: timeOf(lastTimestamp ?? objectOf(series)['lastObservedTime'] ?? eventTime),
  };
}

/** Only what the pod's own agent asked for: anybody can call a request after somebody else's pod. */
function seenRequest(object: Json, podUids: ReadonlySet<string>): SeenRequest | undefined {
  const request = readObservedRequest(object);
  const bound = boundPodOf(request.requester);
  if (bound.kind !== 'pod' || !podUids.has(bound.pod.uid)) return undefined;
  const { name, signerName, createdAt, conditions } = request;
  if (!name.startsWith(requestName(bound.pod.uid, ''))) return undefined;
  const decided = conditions.find(({ type }) => type === 'Denied' || type === 'Failed');
  return {
    podUid: bound.pod.uid,
    name,
    signerName,
    createdAt,
    standing: standingOf(request),
    reason: decided?.reason ?? '',
    message: decided?.message ?? '',
  };
}
