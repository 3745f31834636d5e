import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { type Answer } from './api-call.ts';
import {
  accepted,
  collection,
  comparable,
  condition,
  group,
  pathOf,
  plural,
  refused,
  type Bench,
  type SigningRequestJson,
  type StatusJson,
} from './bench.ts';

interface ListJson {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly SigningRequestJson[];
}

/** Get, list and delete. */
export function readingContract({ run, admin, asPod, newRequest, stored }: Bench): void {
  describe('get, list and delete', () => {
    for (const method of ['GET', 'DELETE'])
      test(`${method} of what is not there: 404`, async () => {
        const answer = await admin(method, `${collection}/${run}-none`);
        const { details } = refused(answer, 404, 'NotFound');
        assert.deepEqual(details, { name: `${run}-none`, group, kind: plural });
      });

    test('subresources show the whole object', async () => {
      const object = await stored({ conditions: [condition('Approved')] });
      for (const subresource of ['approval', 'status']) {
        const read = accepted(await admin('GET', pathOf(object, subresource)));
        assert.deepEqual(comparable(read), comparable(object));
      }
    });

    test('lists, and field selectors', async () => {
      const mine = `${run}.example.org/list`;
      const made: SigningRequestJson[] = [];
      for (const signerName of [mine, mine, `${run}.example.org/other`])
        made.push(accepted(await asPod('POST', collection, newRequest({ signerName })), 201));
      const [first, second, third] = made.map((each) => each.metadata.name);
      const named = async (selector: string): Promise<string[]> => {
        const path = `${collection}?fieldSelector=${encodeURIComponent(selector)}`;
        const { code, body: answered } = await admin('GET', path);
        assert.equal(code, 200, JSON.stringify(answered));
        const body = answered as ListJson;
        assert.equal(body.kind, 'CertificateSigningRequestList');
        assert.equal(body.apiVersion, `${group}/v1`);
        assert.match(body.metadata.resourceVersion, /^\d+$/);
        return body.items.map((each) => each.metadata.name);
      };
      assert.deepEqual(await named(`spec.signerName=${mine}`), [first, second].sort());
      assert.deepEqual(await named(`metadata.name=${third}`), [third]);
      assert.deepEqual(await named(`spec.signerName==${mine},metadata.name!=${first}`), [second]);
      assert.deepEqual(await named(`metadata.name=${run}-none`), []);
      const all = (await admin('GET', collection)).body as ListJson;
      for (const { metadata, spec, status } of made) {
        const found = all.items.find((item) => item.metadata.name === metadata.name);
        // The members of a list go without kind and apiVersion.
        assert.deepEqual(found && comparable(found), comparable({ metadata, spec, status }));
      }
    });

    for (const selector of ['spec.username=me', 'nonsense'])
      test(`the field selector "${selector}": 400`, async () => {
        const answer = await admin('GET', `${collection}?fieldSelector=${selector}`);
        refused(answer, 400, 'BadRequest');
      });

    test('delete, once', async () => {
      const object = await stored();
      const { code, body } = await admin('DELETE', pathOf(object));
      assert.equal(code, 200);
      const { kind, status, details } = body as StatusJson;
      assert.deepEqual({ kind, status }, { kind: 'Status', status: 'Success' });
      const { name, uid } = object.metadata;
      assert.deepEqual(details, { name, group, kind: plural, uid });
      assert.equal((await admin('GET', pathOf(object))).code, 404);
    });

    test('delete with preconditions', async () => {
      const object = await stored();
      const remove = (preconditions: object): Promise<Answer> =>
        admin('DELETE', pathOf(object), {
          kind: 'DeleteOptions',
          apiVersion: 'v1',
          preconditions,
        });
      refused(await remove({ uid: randomUUID() }), 409, 'Conflict');
      refused(await remove({ resourceVersion: '1' }), 409, 'Conflict');
      assert.equal((await remove({ uid: object.metadata.uid })).code, 200);
    });
  });
}
