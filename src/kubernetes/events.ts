import { type WrittenEvent } from '../controller/event-writer.ts';
import { PodsealError } from '../errors.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type PodReference } from '../telemetry/pod-events.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Caller } from './observed-requests.ts';

/**
 * Writes Events (core/v1, as `kubectl describe pod` reads them) about pods: one object for each pod and
 * reason, whose message and count are brought up to date.
 */
export function apiEvents(
  calls: ApiCalls,
  by: Caller,
): (pod: PodReference, event: WrittenEvent) => Promise<void> {
  const component = `podseal-${by}`;
  return async (pod, event) => {
    const namespace = encodeURIComponent(pod.namespace);
    const all = `/api/v1/namespaces/${namespace}/events`;
    // A name that was cut must not end in what no label may end in.
    const start = pod.name.slice(0, 200).replace(/[-.]+$/, '');
    const name = `${start}.${sha256Hex(`${pod.uid} ${event.reason}`).slice(0, 16)}`;
    const attempted = (verb: string) => ({
      verb,
      resource: 'events',
      what: `an Event in namespace ${JSON.stringify(pod.namespace)}`,
      rbac: `apply examples/rbac/${by}.yaml.`,
    });
    const told = {
      type: event.type,
      reason: event.reason,
      message: event.message,
      count: event.count,
      lastTimestamp: event.lastAt.toISOString(),
    };
    const create = {
      metadata: { name, namespace: pod.namespace },
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
      },
      ...told,
      firstTimestamp: event.firstAt.toISOString(),
      source: { component },
      reportingComponent: component,
    };
    try {
      await calls.call({ method: 'POST', path: all, body: create, attempted: attempted('create') });
    } catch (error) {
      if (!(error instanceof PodsealError) || error.code !== 'API_CONFLICT') throw error;
      await calls.call({
        method: 'PATCH',
        path: `${all}/${name}`,
        body: told,
        attempted: attempted('patch'),
      });
    }
  };
}
