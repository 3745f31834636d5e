import { PodsealError } from '../errors.ts';
import { type Listing } from '../controller/list-watch.ts';
import {
  type PublishedConfigMap,
  type PublishedConfigMaps,
  publishedKeys,
  type PublishedName,
  type PublishedPlace,
  type WantedConfigMap,
} from '../injection/published-config-map.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type ApiCall, type ApiCalls } from './api-calls.ts';
import { type Json, listOf, needed, objectOf, textMapOf, textOf } from './json.ts';
import { listingOf } from './listing.ts';

const rbacFile = 'examples/rbac/injector.yaml';
const managedBy = { 'app.kubernetes.io/managed-by': 'podseal' } as const;

/** ConfigMaps `podseal-services` and `podseal-trust` of all namespaces; `owner`: the MutatingWebhookConfiguration that they go with. */
export function publishedConfigMaps(calls: ApiCalls, owner: string): PublishedConfigMaps {
  const all = (namespace: string): string =>
    `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps`;
  const attempted = (verb: string, { namespace, name }: PublishedPlace): ApiCall['attempted'] => ({
    verb,
    resource: 'configmaps',
    what: `ConfigMap ${JSON.stringify(`${namespace}/${name}`)}`,
    rbac: `apply ${rbacFile}.`,
  });
  const write = async (call: ApiCall, { name }: PublishedPlace): Promise<PublishedConfigMap> => {
    try {
      return publishedConfigMapOf(objectOf(await calls.call(call)), name);
    } catch (error) {
      throw error instanceof PodsealError ? notOurRights(error) : error;
    }
  };
  return {
    listings: {
      'podseal-services': configMapListing(calls, 'podseal-services'),
      'podseal-trust': configMapListing(calls, 'podseal-trust'),
    },
    async read(place) {
      const { namespace, name } = place;
      try {
        const found = await calls.call({
          method: 'GET',
          path: `${all(namespace)}/${name}`,
          attempted: attempted('get', place),
        });
        return publishedConfigMapOf(objectOf(found), name);
      } catch (error) {
        if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
        throw error;
      }
    },
    create(wanted) {
      const { namespace, name } = wanted;
      const metadata = { name, namespace, ...metadataOf(wanted, owner) };
      return write(
        {
          method: 'POST',
          path: all(namespace),
          body: { metadata, data: { [publishedKeys[name]]: wanted.text } },
          attempted: attempted('create', wanted),
        },
        wanted,
      );
    },
    change(standing, wanted) {
      const { namespace, name } = wanted;
      const { uid, resourceVersion, foreignKeys } = standing;
      return write(
        {
          method: 'PATCH',
          path: `${all(namespace)}/${name}`,
          body: {
            metadata: { uid, resourceVersion, ...metadataOf(wanted, owner) },
            data: { ...without(foreignKeys.data), [publishedKeys[name]]: wanted.text },
            binaryData: without(foreignKeys.binaryData),
          },
          attempted: attempted('patch', wanted),
        },
        wanted,
      );
    },
    async remove(standing) {
      const { uid, resourceVersion } = standing;
      await calls.call({
        method: 'DELETE',
        path: `${all(standing.namespace)}/${standing.name}`,
        body: { preconditions: { uid, resourceVersion } },
        attempted: attempted('delete', standing),
      });
    },
  };
}

function metadataOf({ ownerUid }: WantedConfigMap, owner: string): Json {
  return {
    labels: managedBy,
    ownerReferences: [
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'MutatingWebhookConfiguration',
        name: owner,
        uid: ownerUid,
      },
    ],
  };
}

/** Taken away by a merge patch (RFC 7396). */
function without(keys: readonly string[]): Json {
  return Object.fromEntries(keys.map((key) => [key, null]));
}

/**
 * A 403 that no right of ours would mend, and that concerns one namespace alone: nobody else's
 * ConfigMaps may wait for it.
 */
function notOurRights(error: PodsealError): PodsealError {
  const { code, message } = error;
  if (code !== 'API_FORBIDDEN' || / cannot \w+ resource /.test(message)) return error;
  if (message.includes('is being terminated'))
    return new PodsealError('API_NOT_FOUND', message, { hint: 'The namespace is being deleted.' });
  return new PodsealError('API_REFUSED', message, {
    hint: 'A quota, a policy or a webhook of the cluster does not admit it; the message names it.',
    cause: error,
  });
}

/** RBAC honours resourceNames in list and watch, because the one name alone is asked for. */
function configMapListing(calls: ApiCalls, name: PublishedName): Listing<PublishedConfigMap> {
  return listingOf(calls, {
    what: `ConfigMaps ${name}`,
    resource: 'configmaps',
    path: '/api/v1/configmaps',
    fieldSelector: `metadata.name=${name}`,
    rbacFile,
    read: (object) => publishedConfigMapOf(object, name),
  });
}

export function publishedConfigMapOf(object: Json, name: PublishedName): PublishedConfigMap {
  const metadata = objectOf(object['metadata']);
  const data = objectOf(object['data']);
  const key = publishedKeys[name];
  const text = data[key];
  const label = 'app.kubernetes.io/managed-by';
  return {
    namespace: needed(metadata['namespace'], 'metadata.namespace'),
    name,
    uid: needed(metadata['uid'], 'metadata.uid'),
    resourceVersion: needed(metadata['resourceVersion'], 'metadata.resourceVersion'),
    digest: typeof text === 'string' ? sha256Hex(text) : undefined,
    foreignKeys: {
      data: Object.keys(data).filter((each) => each !== key),
      binaryData: Object.keys(objectOf(object['binaryData'])),
    },
    isImmutable: object['immutable'] === true,
    isManaged: textMapOf(metadata['labels'])[label] === managedBy[label],
    owners: listOf(metadata['ownerReferences']).map((each) => textOf(objectOf(each)['uid']) ?? ''),
  };
}

/** The text of the signer's bundle, PEM, in our own namespace: what is published elsewhere. Empty: the key is not there. */
export function trustListing(calls: ApiCalls, namespace: string): Listing<string> {
  const name: PublishedName = 'podseal-trust';
  return listingOf(calls, {
    what: `ConfigMap ${namespace}/${name}`,
    resource: 'configmaps',
    path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps`,
    fieldSelector: `metadata.name=${name}`,
    rbacFile,
    read: (object) => textOf(objectOf(object['data'])[publishedKeys[name]]) ?? '',
  });
}
