import { type Lease, type Leases } from '../controller/lease.ts';
import { PodsealError } from '../errors.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, needed, objectOf, textOf } from './json.ts';

/** A coordination.k8s.io/v1 Lease by its name. `now` is written for people: nobody decides by it. */
export function apiLeases(
  calls: ApiCalls,
  lease: { readonly namespace: string; readonly name: string; readonly rbacFile: string },
  now: () => Date,
): Leases {
  const { namespace, name, rbacFile } = lease;
  const all = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
  const one = `${all}/${encodeURIComponent(name)}`;
  const attempted = (verb: string) => ({
    verb,
    resource: 'leases',
    what: `lease ${JSON.stringify(`${namespace}/${name}`)}`,
    rbac: `apply ${rbacFile}.`,
  });
  /** Of whoever installed it: a PUT would take them away. */
  let marks: Json = {};
  const read = (answer: unknown): Lease => {
    const { labels, annotations } = objectOf(objectOf(answer)['metadata']);
    marks = { labels, annotations };
    return readLease(objectOf(answer));
  };
  const body = (spec: Json, resourceVersion?: string): Json => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace, ...marks, resourceVersion },
    spec,
  });
  return {
    async get() {
      try {
        const answer = await calls.call({ method: 'GET', path: one, attempted: attempted('get') });
        return read(answer);
      } catch (error) {
        if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
        throw error;
      }
    },
    async take(over, holder, durationMs) {
      const isNew = over?.holder !== holder;
      const spec = {
        holderIdentity: holder,
        leaseDurationSeconds: Math.max(1, Math.ceil(durationMs / 1000)),
        // MicroTime: exactly six digits.
        renewTime: now().toISOString().replace('Z', '000Z'),
        leaseTransitions: (over?.transitions ?? 0) + (isNew && over ? 1 : 0),
      };
      const answer = over
        ? await calls.call({
            method: 'PUT',
            path: one,
            body: body(spec, over.resourceVersion),
            attempted: attempted('update'),
          })
        : await calls.call({
            method: 'POST',
            path: all,
            body: body(spec),
            attempted: attempted('create'),
          });
      return read(answer);
    },
    async release(held) {
      const spec = { leaseTransitions: held.transitions, leaseDurationSeconds: 1 };
      await calls.call({
        method: 'PUT',
        path: one,
        body: body(spec, held.resourceVersion),
        attempted: attempted('update'),
      });
    },
  };
}

function readLease(object: Json): Lease {
  const spec = objectOf(object['spec']);
  const { leaseTransitions, leaseDurationSeconds } = spec;
  return {
    holder: textOf(spec['holderIdentity']),
    durationMs: numberOf(leaseDurationSeconds) * 1000,
    resourceVersion: needed(
      objectOf(object['metadata'])['resourceVersion'],
      'metadata.resourceVersion',
    ),
    transitions: numberOf(leaseTransitions),
  };
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
