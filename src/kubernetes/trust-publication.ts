import { PodsealError } from '../errors.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { chainConstraints, type NameConstraints } from '../pki/name-constraints.ts';
import { type Publication, publishedNames, type TrustPublisher } from '../trust/publication.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Caller } from './observed-requests.ts';
import { type Json, listOf, needed, objectOf, textOf } from './json.ts';

const group = '/apis/certificates.k8s.io';

function configMapCalls(calls: ApiCalls, namespace: string, by: Caller) {
  const all = `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps`;
  const attempted = (verb: string) => ({
    verb,
    resource: 'configmaps',
    what: `ConfigMap ${JSON.stringify(`${namespace}/${publishedNames.configMap}`)}`,
    rbac: `apply examples/rbac/${by}.yaml.`,
  });
  return {
    read: () =>
      unlessMissing(() =>
        calls.call({
          method: 'GET',
          path: `${all}/${publishedNames.configMap}`,
          attempted: attempted('get'),
        }),
      ),
    create: (body: Json) =>
      calls.call({ method: 'POST', path: all, body, attempted: attempted('create') }),
    patch: (body: Json) =>
      calls.call({
        method: 'PATCH',
        path: `${all}/${publishedNames.configMap}`,
        body,
        attempted: attempted('patch'),
      }),
  };
}

async function unlessMissing(call: () => Promise<unknown>): Promise<Json | undefined> {
  try {
    return objectOf(await call());
  } catch (error) {
    if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
    throw error;
  }
}

function publicationIn(configMap: Json): Publication {
  const data = objectOf(configMap['data']);
  return {
    bundlePem: textOf(data[publishedNames.bundle]) ?? '',
    signingChainPem: textOf(data[publishedNames.signingChain]) ?? '',
  };
}

/** What the signer publishes goes with this when Podseal is uninstalled. */
export interface PublicationOwner {
  readonly clusterRole: string;
  /** It is published all the same, and would be left over. Said once. */
  onUnowned(error: PodsealError): void;
}

/** ConfigMap `podseal-trust` in the signer's namespace, and one ClusterTrustBundle for each signer name. */
export function trustPublisher(
  calls: ApiCalls,
  namespace: string,
  signerNames: readonly string[],
  owner: PublicationOwner,
): TrustPublisher {
  const configMap = configMapCalls(calls, namespace, 'signer');
  const giveOwner = ownerGiver(calls, owner);
  const bundles = clusterTrustBundles(calls, giveOwner);
  const bring = async (publication: Publication): Promise<Json> => {
    const found = await configMap.read();
    const data = {
      [publishedNames.bundle]: publication.bundlePem,
      [publishedNames.signingChain]: publication.signingChainPem,
    };
    if (!found)
      return objectOf(await configMap.create({ metadata: configMapMetadata(namespace), data }));
    if (samePublication(publicationIn(found), publication)) return found;
    return objectOf(await configMap.patch({ metadata: versionOf(found), data }));
  };
  return {
    async read() {
      const found = await configMap.read();
      return found && publicationIn(found);
    },
    async publish(publication) {
      await giveOwner(await bring(publication), configMap.patch);
      for (const signerName of signerNames)
        await bundles.publish(signerName, publication.bundlePem);
    },
  };
}

type GiveOwner = (standing: Json, patch: (body: Json) => Promise<unknown>) => Promise<void>;

/**
 * Makes the ClusterRole the owner of what stands there without one. By itself, and after the rest: nothing
 * about the owner may keep a bundle from being published.
 */
function ownerGiver(calls: ApiCalls, owner: PublicationOwner): GiveOwner {
  let isUnownedSaid = false;
  return async (standing, patch) => {
    if (listOf(objectOf(standing['metadata'])['ownerReferences']).length > 0) return;
    try {
      const reference = await readOwner(calls, owner.clusterRole);
      await patch({ metadata: { ...versionOf(standing), ownerReferences: [reference] } });
    } catch (error) {
      if (!(error instanceof PodsealError)) throw error;
      if (!isUnownedSaid) owner.onUnowned(error);
      isUnownedSaid = true;
    }
  };
}

async function readOwner(calls: ApiCalls, clusterRole: string): Promise<Json> {
  const group = 'rbac.authorization.k8s.io';
  const found = await calls.call({
    method: 'GET',
    path: `/apis/${group}/v1/clusterroles/${encodeURIComponent(clusterRole)}`,
    attempted: {
      verb: 'get',
      resource: 'clusterroles',
      what: `ClusterRole ${JSON.stringify(clusterRole)}`,
      rbac: 'apply examples/rbac/signer.yaml.',
    },
  });
  const { uid } = objectOf(objectOf(found)['metadata']);
  return {
    apiVersion: `${group}/v1`,
    kind: 'ClusterRole',
    name: clusterRole,
    uid: needed(uid, 'metadata.uid'),
  };
}

function configMapMetadata(namespace: string): Json {
  const labels = { 'app.kubernetes.io/managed-by': 'podseal' };
  return { name: publishedNames.configMap, namespace, labels };
}

/** The write holds for what was read alone: a replica that was slow must not undo what its successor wrote. */
function versionOf(object: Json): Json {
  return { resourceVersion: objectOf(object['metadata'])['resourceVersion'] };
}

function samePublication(a: Publication, b: Publication): boolean {
  return a.bundlePem === b.bundlePem && a.signingChainPem === b.signingChainPem;
}

/** `podseal.dev:serving:bundle`: the signer name with a colon, as the API wants it (kubernetes-facts 6.2). */
export function trustBundleName(signerName: string): string {
  return `${signerName.replace('/', ':')}:bundle`;
}

/** certificates.k8s.io/v1 from Kubernetes 1.37, v1beta1 before where it is switched on, else none. */
function clusterTrustBundles(calls: ApiCalls, giveOwner: GiveOwner) {
  let version: string | undefined;
  const attempted = (verb: string, name: string) => ({
    verb,
    resource: 'clustertrustbundles',
    what: `ClusterTrustBundle ${JSON.stringify(name)}`,
    rbac: 'apply examples/rbac/signer.yaml; it also needs the verb attest for the signer name.',
  });
  const serves = async (candidate: string): Promise<boolean> => {
    const resources = await unlessMissing(() =>
      calls.call({
        method: 'GET',
        path: `${group}/${candidate}`,
        attempted: attempted('get', candidate),
      }),
    );
    return listOf(resources?.['resources']).some(
      (each) => objectOf(each)['name'] === 'clustertrustbundles',
    );
  };
  /** Asked anew while there is none: the API server may be upgraded. */
  const served = async (): Promise<string | undefined> => {
    for (const candidate of version === undefined ? ['v1', 'v1beta1'] : [])
      if (version === undefined && (await serves(candidate))) version = candidate;
    return version;
  };
  return {
    async publish(signerName: string, trustBundle: string): Promise<void> {
      const api = await served();
      if (api === undefined) return;
      const name = trustBundleName(signerName);
      const all = `${group}/${api}/clustertrustbundles`;
      const one = `${all}/${encodeURIComponent(name)}`;
      const patch = (body: Json): Promise<unknown> =>
        calls.call({ method: 'PATCH', path: one, body, attempted: attempted('patch', name) });
      const bring = async (): Promise<unknown> => {
        const found = await unlessMissing(() =>
          calls.call({ method: 'GET', path: one, attempted: attempted('get', name) }),
        );
        if (!found) {
          // Should this version of the API be gone, the next attempt finds the one that came for it.
          version = undefined;
          const body = { metadata: { name }, spec: { signerName, trustBundle } };
          const create = attempted('create', name);
          return calls.call({ method: 'POST', path: all, body, attempted: create });
        }
        const isSame = textOf(objectOf(found['spec'])['trustBundle']) === trustBundle;
        return isSame ? found : patch({ metadata: versionOf(found), spec: { trustBundle } });
      };
      await giveOwner(objectOf(await bring()), patch);
    },
  };
}

/**
 * The name constraints of the CA that signs, as the signer publishes it; undefined while it does not.
 * Read again after `keepMs`, so that a burst asks once.
 */
export function publishedConstraints(
  calls: ApiCalls,
  namespace: string,
  { now, keepMs }: { readonly now: () => Date; readonly keepMs: number },
): () => Promise<readonly NameConstraints[] | undefined> {
  const configMap = configMapCalls(calls, namespace, 'approver');
  let read:
    | { readonly at: Date; readonly value: Promise<readonly NameConstraints[] | undefined> }
    | undefined;
  const ask = async (): Promise<readonly NameConstraints[] | undefined> => {
    const found = await configMap.read();
    const pem = found && publicationIn(found).signingChainPem;
    return pem ? constraintsIn(pem, `${namespace}/${publishedNames.configMap}`) : undefined;
  };
  return () => {
    if (!read || now().getTime() - read.at.getTime() > keepMs) {
      const value = ask();
      read = { at: now(), value };
      // A failed read is not kept: the next request asks again.
      value.catch(() => (read = undefined));
    }
    return read.value;
  };
}

function constraintsIn(pem: string, where: string): readonly NameConstraints[] {
  try {
    return chainConstraints(certificatesFromPem(pem));
  } catch (error) {
    throw new PodsealError(
      'API_REFUSED',
      `Cannot read ${publishedNames.signingChain} in ConfigMap ${JSON.stringify(where)}: ${error instanceof Error ? error.message : String(error)}`,
      { hint: 'Somebody changed it; the signer puts it right within 15 seconds.', cause: error },
    );
  }
}
