import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { type Answer } from './api-call.ts';
import {
  accepted,
  base64,
  certificate,
  comparable,
  condition,
  instant,
  invalid,
  mergePatch,
  pathOf,
  refused,
  type Bench,
  type ConditionJson,
  type Faults,
  type SigningRequestJson,
} from './bench.ts';
import { certificationRequestPem } from './certification-requests.ts';

/** What may be changed where: metadata, conditions, certificate. */
export function changesContract({ admin, newRequest, stored }: Bench): void {
  describe('update of the main resource', () => {
    test('changes labels; spec and status stay as they are, silently', async () => {
      const object = await stored({ conditions: [condition('Approved')] });
      const changed = {
        ...object,
        metadata: { ...object.metadata, labels: { new: 'label' } },
        spec: { ...object.spec, signerName: 'example.com/other', username: 'me' },
        status: { certificate: base64(certificate) },
      };
      const body = accepted(await admin('PUT', pathOf(object), changed));
      assert.deepEqual(body.spec, object.spec);
      assert.deepEqual(body.status, object.status);
      assert.deepEqual(body.metadata.labels, { new: 'label' });
      assert.equal(body.metadata.uid, object.metadata.uid);
      assert.notEqual(body.metadata.resourceVersion, object.metadata.resourceVersion);
      const patch = { metadata: { labels: { new: null, more: 'x' } }, spec: { usages: ['any'] } };
      const patched = accepted(await admin('PATCH', pathOf(object), patch, mergePatch));
      assert.deepEqual(patched.metadata.labels, { more: 'x' });
      assert.deepEqual(patched.spec, object.spec);
    });

    test('nothing new keeps the resource version', async () => {
      const object = await stored();
      const body = accepted(await admin('PUT', pathOf(object), object));
      assert.equal(body.metadata.resourceVersion, object.metadata.resourceVersion);
    });

    type Changed = (object: SigningRequestJson) => unknown;
    const withMetadata =
      (metadata: object): Changed =>
      (object) => ({ ...object, metadata: { ...object.metadata, ...metadata } });
    const row = (title: string, change: Changed, code: number, reason: string): void => {
      for (const subresource of ['', 'approval', 'status'])
        test(`${subresource === '' ? 'main' : subresource}: ${title}: ${code}`, async () => {
          const object = await stored();
          const answer = await admin('PUT', pathOf(object, subresource), change(object));
          if (code < 300) assert.equal(answer.code, code, JSON.stringify(answer));
          else refused(answer, code, reason);
        });
    };
    row('no resource version', withMetadata({ resourceVersion: undefined }), 200, '');
    row('a stale resource version', withMetadata({ resourceVersion: '1' }), 409, 'Conflict');
    row('another uid', withMetadata({ uid: randomUUID() }), 409, 'Conflict');
    row('another name', withMetadata({ name: 'another' }), 400, 'BadRequest');
    row('no name', withMetadata({ name: undefined }), 400, 'BadRequest');
    row('not JSON', () => 'hello', 400, 'BadRequest');

    for (const subresource of ['', 'approval', 'status']) {
      const where = subresource === '' ? 'main' : subresource;
      test(`${where}: PUT of what is not there: 404`, async () => {
        const wanted = newRequest();
        const answer = await admin('PUT', pathOf(wanted, subresource), wanted);
        refused(answer, 404, 'NotFound');
      });
      test(`${where}: PATCH of what is not there: 404`, async () => {
        const answer = await admin('PATCH', pathOf(newRequest(), subresource), {}, mergePatch);
        refused(answer, 404, 'NotFound');
      });
      test(`${where}: a patch with a stale resource version: 409`, async () => {
        const patch = { metadata: { resourceVersion: '1' } };
        const answer = await admin('PATCH', pathOf(await stored(), subresource), patch, mergePatch);
        refused(answer, 409, 'Conflict');
      });
    }
  });

  describe('conditions', () => {
    interface Row {
      readonly had?: readonly string[];
      /** Types of conditions, or whole ones. */
      readonly written: readonly (string | ConditionJson)[];
      readonly faults?: Faults;
    }
    const list = 'status.conditions';
    const addOrRemove: Faults = [['FieldValueForbidden', list]];
    const rows: Readonly<Record<'approval' | 'status', Readonly<Record<string, Row>>>> = {
      approval: {
        approve: { written: ['Approved'] },
        deny: { written: ['Denied'] },
        fail: { written: ['Failed'] },
        'approve and fail': { written: ['Approved', 'Failed'] },
        'deny and fail': { written: ['Denied', 'Failed'] },
        'a foreign type': { written: [condition('example.com/Checked', { status: 'Unknown' })] },
        'approve and deny': {
          written: ['Approved', 'Denied'],
          faults: [['FieldValueInvalid', list]],
        },
        'deny what is approved': {
          had: ['Approved'],
          written: ['Approved', 'Denied'],
          faults: [['FieldValueInvalid', list]],
        },
        'approve what is denied': {
          had: ['Denied'],
          written: ['Denied', 'Approved'],
          faults: [['FieldValueInvalid', list]],
        },
        'deny instead of approve': {
          had: ['Approved'],
          written: ['Denied'],
          faults: addOrRemove,
        },
        'take back an approval': { had: ['Approved'], written: [], faults: addOrRemove },
        'take back a denial': { had: ['Denied'], written: [], faults: addOrRemove },
        'take back a failure': { had: ['Failed'], written: [], faults: addOrRemove },
        'change the reason': {
          had: ['Approved'],
          written: [condition('Approved', { reason: 'Better' })],
        },
        'a type twice': {
          written: ['Approved', 'Approved'],
          faults: [['FieldValueDuplicate', `${list}[1].type`]],
        },
        'a foreign type twice': {
          written: ['example.com/A', 'example.com/A'],
          faults: [['FieldValueDuplicate', `${list}[1].type`]],
        },
        'an empty type': { written: [''], faults: [['FieldValueRequired', `${list}[0].type`]] },
        'no status': {
          written: [condition('Approved', { status: undefined })],
          faults: [['FieldValueRequired', `${list}[0].status`]],
        },
        'a foreign type with an unknown status': {
          written: [condition('example.com/A', { status: 'Maybe' })],
          faults: [['FieldValueNotSupported', `${list}[0].status`]],
        },
        'Approved with status False': {
          written: [condition('Approved', { status: 'False' })],
          faults: [['FieldValueNotSupported', `${list}[0].status`]],
        },
        'Failed with status Unknown': {
          written: [condition('Failed', { status: 'Unknown' })],
          faults: [['FieldValueNotSupported', `${list}[0].status`]],
        },
      },
      status: {
        fail: { written: ['Failed'] },
        'fail what is approved': { had: ['Approved'], written: ['Approved', 'Failed'] },
        'fail what is denied': { had: ['Denied'], written: ['Denied', 'Failed'] },
        'a foreign type': { written: ['example.com/Checked'] },
        'remove a foreign type': { had: ['example.com/Checked'], written: [] },
        approve: { written: ['Approved'], faults: addOrRemove },
        deny: { written: ['Denied'], faults: addOrRemove },
        'remove an approval': { had: ['Approved'], written: [], faults: addOrRemove },
        'remove a failure': { had: ['Failed'], written: [], faults: addOrRemove },
        'deny instead of approve': {
          had: ['Approved'],
          written: ['Denied'],
          faults: [...addOrRemove, ...addOrRemove],
        },
        'deny what is approved': {
          had: ['Approved'],
          written: ['Approved', 'Denied'],
          faults: [['FieldValueInvalid', list], ...addOrRemove],
        },
        'Failed with status False': {
          written: [condition('Failed', { status: 'False' })],
          faults: [['FieldValueNotSupported', `${list}[0].status`]],
        },
      },
    };
    const whole = (each: string | ConditionJson): ConditionJson =>
      typeof each === 'string' ? condition(each) : each;
    for (const subresource of ['approval', 'status'] as const)
      for (const [title, row] of Object.entries(rows[subresource]))
        test(`/${subresource}: ${title}: ${row.faults ? 422 : 200}`, async () => {
          const object = await stored(row.had ? { conditions: row.had.map(whole) } : {});
          const written = row.written.map(whole);
          const body = { ...object, status: { ...object.status, conditions: written } };
          const answer = await admin('PUT', pathOf(object, subresource), body);
          if (row.faults) {
            invalid(answer, row.faults);
            const unchanged = accepted(await admin('GET', pathOf(object)));
            assert.deepEqual(comparable(unchanged), comparable(object));
            return;
          }
          const { conditions = [] } = accepted(answer).status;
          assert.deepEqual(
            conditions.map(({ type, status, reason }) => ({ type, status, reason })),
            written.map(({ type, status, reason }) => ({ type, status, reason })),
          );
          for (const each of conditions) {
            assert.match(each.lastUpdateTime ?? '', instant);
            assert.match(each.lastTransitionTime ?? '', instant);
          }
        });

    test('a merge patch replaces the list', async () => {
      const object = await stored();
      const patch = { status: { conditions: [condition('Approved')] } };
      const body = accepted(await admin('PATCH', pathOf(object, 'approval'), patch, mergePatch));
      assert.deepEqual(
        body.status.conditions?.map((each) => each.type),
        ['Approved'],
      );
    });

    test('times that are given are kept, a transition time while the status is the same', async () => {
      const past = {
        lastUpdateTime: '2020-01-02T03:04:05Z',
        lastTransitionTime: '2020-01-01T00:00:00Z',
      };
      const object = await stored({ conditions: [condition('Approved', past)] });
      const [kept] = object.status.conditions ?? [];
      assert.equal(kept?.lastUpdateTime, past.lastUpdateTime);
      assert.equal(kept.lastTransitionTime, past.lastTransitionTime);
      const again = { ...object, status: { conditions: [condition('Approved')] } };
      const { status } = accepted(await admin('PUT', pathOf(object, 'approval'), again));
      const [changed] = status.conditions ?? [];
      assert.equal(changed?.lastTransitionTime, past.lastTransitionTime);
      assert.ok(Date.parse(changed.lastUpdateTime ?? '') > Date.parse('2020-02-01'));
    });

    test('a stale copy of a decision through /status is put right silently', async () => {
      const object = await stored({ conditions: [condition('Approved')] });
      const stale = condition('Approved', { reason: 'Forged', message: 'x' });
      const body = { ...object, status: { conditions: [stale, condition('Failed')] } };
      const { status } = accepted(await admin('PUT', pathOf(object, 'status'), body));
      assert.deepEqual(status.conditions?.[0], object.status.conditions?.[0]);
      assert.equal(status.conditions?.[1]?.type, 'Failed');
    });
  });

  describe('certificate', () => {
    const write = (
      object: SigningRequestJson,
      pem: string,
      subresource = 'status',
    ): Promise<Answer> => {
      const status = { ...object.status, certificate: base64(pem) };
      return admin('PUT', pathOf(object, subresource), { ...object, status });
    };
    const good: Readonly<Record<string, () => string>> = {
      'one certificate': () => certificate,
      'a chain with text between': () => `leaf\n${certificate}issuer\n${certificate}end`,
    };
    for (const [title, pem] of Object.entries(good))
      test(`${title}: 200, even without approval`, async () => {
        const object = await stored();
        const body = accepted(await write(object, pem()));
        assert.equal(body.status.certificate, base64(pem()));
        assert.equal(body.status.conditions, undefined);
      });
    const bad: Readonly<Record<string, () => string>> = {
      'no PEM': () => 'hello',
      'another PEM type': () => certificationRequestPem(),
      'a key behind the certificate': () =>
        `${certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`,
      'a PEM header': () => certificate.replace('-----\n', '-----\nA: b\n\n'),
      'PEM around something else': () =>
        '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      'PEM around nothing': () => '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n',
      'broken base64': () => '-----BEGIN CERTIFICATE-----\nA*\n-----END CERTIFICATE-----\n',
    };
    for (const [title, pem] of Object.entries(bad))
      test(`${title}: 422`, async () => {
        const answer = await write(await stored(), pem());
        invalid(answer, [['FieldValueInvalid', 'status.certificate']]);
      });
    test('no base64: 400', async () => {
      const object = await stored();
      const body = { ...object, status: { certificate: '-----BEGIN' } };
      refused(await admin('PUT', pathOf(object, 'status'), body), 400, 'BadRequest');
    });
    test('is set once', async () => {
      const object = await stored({ certificate });
      const forbidden = [['FieldValueForbidden', 'status.certificate']] as const;
      invalid(await write(object, certificate + certificate), forbidden);
      invalid(await write(object, ''), forbidden);
      assert.equal((await write(object, certificate)).code, 200);
    });
    test('a merge patch leaves the conditions', async () => {
      const object = await stored({ conditions: [condition('Approved')] });
      const patch = { status: { certificate: base64(certificate) } };
      const body = accepted(await admin('PATCH', pathOf(object, 'status'), patch, mergePatch));
      assert.equal(body.status.certificate, base64(certificate));
      assert.deepEqual(body.status.conditions, object.status.conditions);
    });
    test('through /approval nothing happens', async () => {
      const body = accepted(await write(await stored(), certificate, 'approval'));
      assert.deepEqual(body.status, {});
    });
    test('approval after it leaves it', async () => {
      const object = await stored({ certificate });
      const body = { ...object, status: { conditions: [condition('Approved')] } };
      const approved = accepted(await admin('PUT', pathOf(object, 'approval'), body));
      assert.equal(approved.status.certificate, base64(certificate));
    });
  });
}
