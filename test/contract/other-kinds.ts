import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { until } from '../support/until.ts';
import { type Answer } from './api-call.ts';
import { makeServingPair } from '../embedded-api/serving-certificate.ts';
import { base64, instant, mergePatch, refused, uuid, type Bench } from './bench.ts';

interface ObjectJson {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

interface ListJson {
  readonly kind: string;
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly ObjectJson[];
}

/** What approver and signer rest on besides signing requests: leases, ConfigMaps, Secrets, Services, Events. */
export function otherKindsContract(bench: Bench): void {
  const { run, signerName, admin, asPod, watch } = bench;
  let count = 0;
  const newName = (): string => `${run}-other-${(count += 1)}`;
  const inNamespace = (plural: string, api = '/api/v1'): string =>
    `${api}/namespaces/${bench.api.pod.namespace}/${plural}`;
  const object = (answer: Answer, code = 200): ObjectJson => {
    assert.equal(answer.code, code, JSON.stringify(answer));
    return answer.body as ObjectJson;
  };
  const made = async (path: string, fields: object, name = newName()): Promise<ObjectJson> =>
    object(await admin('POST', path, { metadata: { name }, ...fields }), 201);
  const list = async (path: string): Promise<ListJson> => {
    const answer = await admin('GET', path);
    assert.equal(answer.code, 200, JSON.stringify(answer));
    return answer.body as ListJson;
  };
  const namesIn = async (path: string): Promise<string[]> =>
    (await list(path)).items.map(({ metadata }) => metadata.name);
  const configMap = (data: object = { a: '1', b: '2' }): Promise<ObjectJson> =>
    made(inNamespace('configmaps'), { data });
  const pathOf = ({ metadata: { name } }: ObjectJson): string =>
    `${inNamespace('configmaps')}/${name}`;

  describe('other kinds', () => {
    test('what the server sets', async () => {
      const { kind, apiVersion, metadata, data } = await configMap();
      assert.deepEqual({ kind, apiVersion }, { kind: 'ConfigMap', apiVersion: 'v1' });
      assert.deepEqual(data, { a: '1', b: '2' });
      assert.equal(metadata.namespace, bench.api.pod.namespace);
      assert.match(metadata.uid, uuid);
      assert.match(metadata.resourceVersion, /^\d+$/);
      assert.match(metadata.creationTimestamp, instant);
    });

    test('a name that is taken: 409', async () => {
      const { metadata } = await configMap();
      const again = await admin('POST', inNamespace('configmaps'), {
        metadata: { name: metadata.name },
      });
      const { message, details } = refused(again, 409, 'AlreadyExists');
      assert.equal(message, `configmaps "${metadata.name}" already exists`);
      assert.deepEqual(details, { name: metadata.name, kind: 'configmaps' });
    });

    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE'])
      test(`${method} of what is not there: 404`, async () => {
        const name = newName();
        const path = `${inNamespace('configmaps')}/${name}`;
        const body = { GET: undefined, PATCH: {}, PUT: { metadata: { name } } }[method];
        const type = method === 'PATCH' ? mergePatch : undefined;
        const { message } = refused(await admin(method, path, body, type), 404, 'NotFound');
        assert.equal(message, `configmaps "${name}" not found`);
      });

    test('a merge patch changes what it says, and a null takes away', async () => {
      const before = await configMap();
      const patch = { data: { b: null, c: '3' } };
      const after = object(await admin('PATCH', pathOf(before), patch, mergePatch));
      assert.deepEqual(after.data, { a: '1', c: '3' });
      assert.equal(after.metadata.uid, before.metadata.uid);
      assert.notEqual(after.metadata.resourceVersion, before.metadata.resourceVersion);
      const same = object(await admin('PATCH', pathOf(before), patch, mergePatch));
      assert.equal(same.metadata.resourceVersion, after.metadata.resourceVersion);
    });

    test('a patch of an older version: 409', async () => {
      const before = await configMap();
      const { resourceVersion, uid } = before.metadata;
      const patch = { metadata: { resourceVersion, uid }, data: { d: '4' } };
      object(await admin('PATCH', pathOf(before), patch, mergePatch));
      const again = { ...patch, data: { d: '5' } };
      refused(await admin('PATCH', pathOf(before), again, mergePatch), 409, 'Conflict');
    });

    test('delete with preconditions', async () => {
      const stored = await configMap();
      const remove = (preconditions: object): Promise<Answer> =>
        admin('DELETE', pathOf(stored), { kind: 'DeleteOptions', apiVersion: 'v1', preconditions });
      refused(await remove({ uid: randomUUID() }), 409, 'Conflict');
      const { uid, name } = stored.metadata;
      const { kind, details } = object(await remove({ uid })) as ObjectJson & { details: unknown };
      assert.equal(kind, 'Status');
      assert.deepEqual(details, { name, kind: 'configmaps', uid });
      assert.equal((await admin('GET', pathOf(stored))).code, 404);
    });

    test('a pod may not read them: 403', async () => {
      const { namespace, serviceAccount } = bench.api.pod;
      const { message } = refused(
        await asPod('GET', `${inNamespace('secrets')}/x`),
        403,
        'Forbidden',
      );
      assert.equal(
        message,
        `secrets "x" is forbidden: User "system:serviceaccount:${namespace}:${serviceAccount}" cannot get resource "secrets" in API group "" in the namespace "${namespace}"`,
      );
    });

    test('a lease is written by whoever read it last: 409 for the others', async () => {
      const leases = inNamespace('leases', '/apis/coordination.k8s.io/v1');
      const spec = (holderIdentity: string): object => ({
        holderIdentity,
        leaseDurationSeconds: 2,
        renewTime: '2026-01-02T03:04:05.678000Z',
        leaseTransitions: 0,
      });
      const first = await made(leases, { spec: spec('a') });
      assert.equal(first.apiVersion, 'coordination.k8s.io/v1');
      const { name, resourceVersion } = first.metadata;
      const take = (holder: string, version: string): Promise<Answer> => {
        const metadata = { name, resourceVersion: version };
        return admin('PUT', `${leases}/${name}`, { metadata, spec: spec(holder) });
      };
      const second = object(await take('b', resourceVersion));
      assert.deepEqual(second.spec, spec('b'));
      refused(await take('c', resourceVersion), 409, 'Conflict');
      object(await take('c', second.metadata.resourceVersion));
      const again = await admin('POST', leases, { metadata: { name }, spec: spec('d') });
      const { message } = refused(again, 409, 'AlreadyExists');
      assert.equal(message, `leases.coordination.k8s.io "${name}" already exists`);
    });

    test('one Secret by its name, listed and watched', async () => {
      const secrets = inNamespace('secrets');
      const name = newName();
      const selected = `${secrets}?fieldSelector=metadata.name%3D${name}`;
      const empty = await list(selected);
      assert.deepEqual({ ...empty, metadata: {} }, { ...empty, metadata: {}, items: [] });
      const { resourceVersion } = empty.metadata;
      const opened = await watch(`${selected}&watch=true&resourceVersion=${resourceVersion}`);
      await made(secrets, { data: { key: base64('other') } });
      await made(inNamespace('configmaps'), {}, name);
      const secret = await made(secrets, { data: { key: base64('mine') } }, name);
      assert.deepEqual(await namesIn(selected), [name]);
      const patch = { data: { key: base64('changed') } };
      await admin('PATCH', `${secrets}/${name}`, patch, mergePatch);
      await admin('DELETE', `${secrets}/${name}`);
      await until('three events', () => opened.events.length >= 3, 10);
      const seen = opened.events.map(({ type, object: of }) => {
        const { kind, metadata, data } = of as ObjectJson;
        return [type, kind, metadata.uid, data?.['key']];
      });
      const { uid } = secret.metadata;
      assert.deepEqual(seen, [
        ['ADDED', 'Secret', uid, base64('mine')],
        ['MODIFIED', 'Secret', uid, base64('changed')],
        ['DELETED', 'Secret', uid, base64('changed')],
      ]);
    });

    test('Services of one namespace and of all, listed and watched', async () => {
      const services = inNamespace('services');
      const { resourceVersion } = (await list('/api/v1/services')).metadata;
      const spec = { selector: { app: 'x' }, ports: [{ port: 443 }] };
      const { metadata } = await made(services, { spec });
      const { name, uid } = metadata;
      for (const path of [services, '/api/v1/services'])
        assert.ok((await namesIn(path)).includes(name), path);
      assert.deepEqual(await namesIn('/api/v1/namespaces/no-such-namespace/services'), []);
      const opened = await watch(`/api/v1/services?watch=true&resourceVersion=${resourceVersion}`);
      const mine = await until(
        'the Service',
        () => opened.events.find(({ object: of }) => (of as ObjectJson).metadata.uid === uid),
        10,
      );
      assert.equal(mine.type, 'ADDED');
      assert.deepEqual((mine.object as ObjectJson).spec?.['selector'], { app: 'x' });
    });

    test('an Event is brought up to date', async () => {
      const { namespace, name: podName, uid } = bench.api.pod;
      const events = inNamespace('events');
      const involvedObject = { apiVersion: 'v1', kind: 'Pod', namespace, name: podName, uid };
      const told = { type: 'Normal', reason: 'Contract', message: 'once', count: 1 };
      const { metadata } = await made(events, { involvedObject, ...told });
      const again = { message: 'twice', count: 2 };
      const answer = await admin('PATCH', `${events}/${metadata.name}`, again, mergePatch);
      const { message, count: times } = object(answer) as ObjectJson & typeof again;
      assert.deepEqual({ message, count: times }, again);
    });

    test('a ClusterTrustBundle, and that there are such', async () => {
      const api = '/apis/certificates.k8s.io/v1';
      const discovered = (await admin('GET', api)).body as { resources: { name: string }[] };
      assert.ok(discovered.resources.some(({ name }) => name === 'clustertrustbundles'));
      const bundles = `${api}/clustertrustbundles`;
      const root = (): string => makeServingPair(new Date()).caPem;
      const [first, second] = [root(), root()];
      const spec = { signerName, trustBundle: first };
      const name = `${signerName.replace('/', ':')}:bundle`;
      const bundle = await made(bundles, { spec }, name);
      assert.equal(bundle.metadata.namespace, undefined);
      const one = `${bundles}/${encodeURIComponent(name)}`;
      const patch = { spec: { trustBundle: first + second } };
      const changed = object(await admin('PATCH', one, patch, mergePatch));
      assert.deepEqual(changed.spec, { signerName, trustBundle: first + second });
      assert.deepEqual(object(await admin('GET', one)).spec, changed.spec);
    });

    test('Nodes are listed, and a pod that is not there is not found', async () => {
      assert.equal((await list('/api/v1/nodes')).kind, 'NodeList');
      refused(await admin('GET', `${inNamespace('pods')}/${newName()}`), 404, 'NotFound');
    });
  });
}
