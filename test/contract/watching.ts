import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '../support/until.ts';
import { type OpenWatch, type WatchEvent } from './api-call.ts';
import {
  accepted,
  collection,
  comparable,
  condition,
  group,
  mergePatch,
  pathOf,
  plural,
  refused,
  type Bench,
  type SigningRequestJson,
  type StatusJson,
} from './bench.ts';

/** Lists that go on. */
export function watchingContract(bench: Bench): void {
  const { run, admin, asPod, newRequest, stored, watch } = bench;
  const named = (name: string, from?: string): string =>
    `${collection}?watch=true&fieldSelector=metadata.name%3D${name}` +
    (from === undefined ? '' : `&resourceVersion=${from}`);
  const label = async (object: SigningRequestJson, value: string): Promise<SigningRequestJson> => {
    const patch = { metadata: { labels: { value } } };
    return accepted(await admin('PATCH', pathOf(object), patch, mergePatch));
  };
  const typesOf = ({ events }: OpenWatch): string[] => events.map(({ type }) => type);
  const objectOf = (event: WatchEvent | undefined): SigningRequestJson =>
    event?.object as SigningRequestJson;
  const count = (opened: OpenWatch, wanted: number): Promise<unknown> =>
    until(`${wanted} events`, () => opened.events.length >= wanted, 10);

  describe('watch', () => {
    test('from a list: what changes after it', async () => {
      const wanted = newRequest();
      const { name } = wanted.metadata;
      const listed = (await admin('GET', collection)).body as SigningRequestJson;
      const opened = await watch(named(name, listed.metadata.resourceVersion));
      const made = accepted(await asPod('POST', collection, wanted), 201);
      const changed = await label(made, 'x');
      const decided = { status: { conditions: [condition('Approved')] } };
      await admin('PATCH', pathOf(made, 'approval'), decided, mergePatch);
      await admin('DELETE', pathOf(made));
      await count(opened, 4);
      assert.deepEqual(typesOf(opened), ['ADDED', 'MODIFIED', 'MODIFIED', 'DELETED']);
      const [added, modified, approved, gone] = opened.events.map(objectOf);
      assert.ok(added && modified && approved && gone);
      assert.deepEqual(comparable(added), comparable(made));
      assert.deepEqual(comparable(modified), comparable(changed));
      assert.deepEqual(gone.status, approved.status);
      const versions = [added, modified, approved, gone].map((each) =>
        Number(each.metadata.resourceVersion),
      );
      assert.deepEqual(
        versions,
        versions.toSorted((a, b) => a - b),
      );
      assert.equal(new Set(versions).size, 4, 'a deletion has a version of its own');
    });

    test('from nowhere: first everything as it is now', async () => {
      const object = await label(await stored(), 'x');
      const opened = await watch(named(object.metadata.name));
      await count(opened, 1);
      const changed = await label(object, 'y');
      await count(opened, 2);
      assert.deepEqual(typesOf(opened), ['ADDED', 'MODIFIED']);
      assert.deepEqual(comparable(objectOf(opened.events[0])), comparable(object));
      assert.deepEqual(comparable(objectOf(opened.events[1])), comparable(changed));
    });

    test('from 0: first everything, as it may have been a moment ago', async () => {
      const object = await stored();
      const opened = await watch(named(object.metadata.name, '0'));
      const { metadata } = await label(object, 'y');
      const isLast = (event: WatchEvent): boolean =>
        objectOf(event).metadata.resourceVersion === metadata.resourceVersion;
      await until('the last state', () => opened.events.some(isLast), 10);
      assert.equal(opened.events[0]?.type, 'ADDED');
    });

    test('from an object: what became of it since', async () => {
      const object = await stored();
      await label(object, 'x');
      await label(object, 'y');
      await admin('DELETE', pathOf(object));
      const { name, resourceVersion } = object.metadata;
      const opened = await watch(named(name, resourceVersion));
      await count(opened, 3);
      assert.deepEqual(typesOf(opened), ['MODIFIED', 'MODIFIED', 'DELETED']);
    });

    test('nothing new is no event', async () => {
      const object = await stored();
      const opened = await watch(named(object.metadata.name, object.metadata.resourceVersion));
      await admin('PUT', pathOf(object), object);
      await label(object, 'x');
      await count(opened, 1);
      assert.equal(objectOf(opened.events[0]).metadata.labels?.['value'], 'x');
    });

    test('of one signer name', async () => {
      const mine = `${run}.example.org/watch`;
      const selector = encodeURIComponent(`spec.signerName=${mine}`);
      const opened = await watch(`${collection}?watch=true&fieldSelector=${selector}`);
      const made: string[] = [];
      for (const signerName of [mine, `${run}.example.org/other`, mine]) {
        const answer = await asPod('POST', collection, newRequest({ signerName }));
        made.push(accepted(answer, 201).metadata.name);
      }
      await count(opened, 2);
      const names = opened.events.map((event) => objectOf(event).metadata.name);
      assert.deepEqual(names, [made[0], made[2]]);
    });

    test('from a version that is forgotten: an error 410, and the end', async (context) => {
      const opened = await watch(`${named(run, '1')}&timeoutSeconds=3`);
      await opened.ended;
      if (opened.events.length === 0) {
        context.diagnostic('not seen: an API server that has just started has forgotten nothing');
        return;
      }
      assert.deepEqual(typesOf(opened), ['ERROR']);
      const { kind, code, reason } = opened.events[0]?.object as StatusJson;
      assert.deepEqual({ kind, code, reason }, { kind: 'Status', code: 410, reason: 'Expired' });
    });

    test('ends when its time is over', async () => {
      const opened = await watch(`${named(run)}&timeoutSeconds=1`);
      await opened.ended;
      assert.deepEqual(typesOf(opened), []);
    });

    test('a field selector that is not offered: 400', async () => {
      const answer = await admin('GET', `${collection}?watch=true&fieldSelector=spec.username=me`);
      refused(answer, 400, 'BadRequest');
    });

    test('who may only list may not watch: 403', async () => {
      const rules = [{ apiGroups: [group], resources: [plural], verbs: ['list'] }];
      const token = await bench.api.tokenWith(rules);
      const path = `${collection}?watch=true`;
      const answer = await bench.call({ method: 'GET', path, token });
      const { message } = refused(answer, 403, 'Forbidden');
      assert.match(message, /cannot watch resource "certificatesigningrequests"/);
    });
  });
}
