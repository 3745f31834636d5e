import { type Listing } from '../controller/list-watch.ts';
import { type LiveNamespace } from '../injection/live-namespace.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, needed, objectOf, textMapOf, textOf } from './json.ts';
import { listingOf } from './listing.ts';

/** Namespaces as the injector needs them. */
export function namespaceListing(calls: ApiCalls): Listing<LiveNamespace> {
  return listingOf(calls, {
    what: 'Namespaces',
    resource: 'namespaces',
    path: '/api/v1/namespaces',
    rbacFile: 'examples/rbac/injector.yaml',
    read: liveNamespaceOf,
  });
}

export function liveNamespaceOf(object: Json): LiveNamespace {
  const metadata = objectOf(object['metadata']);
  const labels = textMapOf(metadata['labels']);
  return {
    name: needed(metadata['name'], 'metadata.name'),
    isTerminating: textOf(metadata['deletionTimestamp']) !== undefined,
    injects: labels['podseal.dev/inject'] === 'enabled',
    publishes: labels['podseal.dev/publish'] === 'enabled',
  };
}
