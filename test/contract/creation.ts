import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  accepted,
  base64,
  certificate,
  collection,
  comparable,
  condition,
  group,
  instant,
  invalid,
  mergePatch,
  pathOf,
  plural,
  refused,
  uuid,
  type Bench,
  type Faults,
} from './bench.ts';
import {
  brokenSignature,
  certificationRequestDer,
  certificationRequestPem,
  forgedName,
} from './certification-requests.ts';

/** What may be created, and what the server makes of it. */
export function creationContract(bench: Bench): void {
  const { admin, asPod, call, newRequest, run, stored } = bench;

  describe('create', () => {
    test('what the server sets', async () => {
      const wanted = newRequest({}, { labels: { a: 'b' }, annotations: { c: 'd' } });
      const body = accepted(await asPod('POST', collection, wanted), 201);
      const { namespace, serviceAccount, name: podName, uid, nodeName } = bench.api.pod;
      assert.match(body.metadata.uid, uuid);
      assert.match(body.metadata.resourceVersion, /^\d+$/);
      assert.match(body.metadata.creationTimestamp, instant);
      assert.ok(Math.abs(Date.parse(body.metadata.creationTimestamp) - Date.now()) < 60_000);
      assert.deepEqual(body.metadata.labels, { a: 'b' });
      assert.deepEqual(body.metadata.annotations, { c: 'd' });
      assert.deepEqual(body.status, {});
      const { username, uid: userUid, groups, extra, ...asked } = body.spec;
      assert.deepEqual(asked, wanted.spec);
      assert.equal(username, `system:serviceaccount:${namespace}:${serviceAccount}`);
      assert.match(userUid, uuid);
      assert.deepEqual(groups, [
        'system:serviceaccounts',
        `system:serviceaccounts:${namespace}`,
        'system:authenticated',
      ]);
      const prefix = 'authentication.kubernetes.io';
      assert.deepEqual(Object.keys(extra).sort(), [
        `${prefix}/credential-id`,
        `${prefix}/node-name`,
        `${prefix}/node-uid`,
        `${prefix}/pod-name`,
        `${prefix}/pod-uid`,
      ]);
      assert.match(extra[`${prefix}/credential-id`]?.[0] ?? '', /^JTI=[0-9a-f-]{36}$/);
      assert.deepEqual(extra[`${prefix}/node-name`], [nodeName]);
      assert.match(extra[`${prefix}/node-uid`]?.[0] ?? '', uuid);
      assert.deepEqual(extra[`${prefix}/pod-name`], [podName]);
      assert.deepEqual(extra[`${prefix}/pod-uid`], [uid]);
      const read = accepted(await asPod('GET', pathOf(body)));
      assert.deepEqual(comparable(read), comparable(body));
    });

    test('who asks and what was decided cannot be claimed', async () => {
      const lies = {
        username: 'admin',
        uid: 'x',
        groups: ['system:masters'],
        extra: { a: ['b'] },
      };
      const wanted = {
        ...newRequest(lies, { uid: 'mine', creationTimestamp: '2001-01-01T00:00:00Z' }),
        status: { conditions: [condition('Approved')], certificate: base64('nonsense') },
      };
      const body = accepted(await asPod('POST', collection, wanted), 201);
      assert.match(body.spec.username, /^system:serviceaccount:/);
      assert.notEqual(body.spec.uid, 'x');
      assert.ok(!body.spec.groups.includes('system:masters'));
      assert.equal(body.spec.extra['a'], undefined);
      assert.match(body.metadata.uid, uuid);
      assert.ok(Date.parse(body.metadata.creationTimestamp) > Date.parse('2020-01-01'));
      assert.deepEqual(body.status, {});
    });

    test('kind and apiVersion may be left out', async () => {
      const { metadata, spec } = newRequest();
      accepted(await asPod('POST', collection, { metadata, spec }), 201);
    });

    test('a generated name', async () => {
      const generateName = `${run}-${'long'.repeat(20)}-`;
      const wanted = newRequest({}, { name: undefined, generateName });
      const body = accepted(await asPod('POST', collection, wanted), 201);
      assert.equal(body.metadata.generateName, generateName);
      assert.equal(body.metadata.name.length, 63);
      assert.equal(body.metadata.name.slice(0, 58), generateName.slice(0, 58));
      assert.match(body.metadata.name.slice(58), /^[bcdfghjklmnpqrstvwxz2456789]{5}$/);
    });

    test('a name that is taken: 409', async () => {
      const { metadata } = await stored();
      const answer = await asPod('POST', collection, newRequest({}, { name: metadata.name }));
      const { details } = refused(answer, 409, 'AlreadyExists');
      assert.deepEqual(details, { name: metadata.name, group, kind: plural });
    });

    const good = (): string => certificationRequestPem();
    const goodSpecs: Readonly<Record<string, () => object>> = {
      'a P-384 key': () => ({
        request: certificationRequestPem(certificationRequestDer('p384')),
      }),
      'an Ed25519 key': () => ({
        request: certificationRequestPem(certificationRequestDer('ed25519')),
      }),
      'an RSA key': () => ({ request: certificationRequestPem(certificationRequestDer('rsa')) }),
      'text before the block': () => ({ request: `Subject: me\n${good()}` }),
      'a broken block before the good one': () => ({
        request: `-----BEGIN CERTIFICATE REQUEST-----\nnot*base64\n-----END CERTIFICATE REQUEST-----\n${good()}`,
      }),
      'anything behind the block': () => ({ request: `${good()}${certificate}rest` }),
      'a PEM header': () => ({ request: good().replace('-----\n', '-----\nA: b\n\n') }),
      'carriage returns': () => ({ request: good().replaceAll('\n', '\r\n') }),
      'no end of line at its end': () => ({ request: good().trimEnd() }),
      'the shortest duration': () => ({ expirationSeconds: 600 }),
      'the longest duration': () => ({ expirationSeconds: 2 ** 31 - 1 }),
      'no duration': () => ({ expirationSeconds: undefined }),
      'a null duration': () => ({ expirationSeconds: null }),
      'every key usage': () => ({ usages: allUsages }),
      'a signer with a long path': () => ({ signerName: `a.b/${'c.'.repeat(150)}d` }),
      'a signer of the longest domain labels': () => ({ signerName: `${'a'.repeat(63)}.b/c` }),
      'a field that does not exist': () => ({ colour: 'red' }),
    };
    for (const [title, spec] of Object.entries(goodSpecs))
      test(`${title}: 201`, async () => {
        const { request, ...rest } = spec() as { request?: string };
        const changed = request === undefined ? rest : { ...rest, request: base64(request) };
        const answer = await asPod('POST', collection, newRequest(changed));
        assert.equal(answer.code, 201, JSON.stringify(answer));
      });

    const badSpec = (title: string, spec: () => object, faults: Faults): void => {
      test(`${title}: 422`, async () => {
        const answer = await asPod('POST', collection, newRequest(spec()));
        invalid(answer, faults);
      });
    };
    const badRequests: Readonly<Record<string, () => string>> = {
      'an empty request': () => '',
      'a request that is no PEM': () => 'hello',
      'a request of another PEM type': () => certificate,
      'the older PEM type': () => good().replaceAll('CERTIFICATE REQ', 'NEW CERTIFICATE REQ'),
      'a good block behind one of another type': () => certificate + good(),
      'PEM around something else': () => certificationRequestPem(Buffer.from('hello')),
      'PEM around nothing': () => certificationRequestPem(Buffer.of()),
      'a cut request': () => certificationRequestPem(certificationRequestDer().subarray(0, -1)),
      'a byte too much': () =>
        certificationRequestPem(Buffer.concat([certificationRequestDer(), Buffer.of(0)])),
      'a broken signature': () => certificationRequestPem(brokenSignature()),
      'a name changed after signing': () => certificationRequestPem(forgedName()),
      'an indented block': () => ` ${good()}`,
    };
    for (const [title, request] of Object.entries(badRequests))
      badSpec(title, () => ({ request: base64(request()) }), [
        ['FieldValueInvalid', 'spec.request'],
      ]);

    const signer = 'spec.signerName';
    const invalidSigner: Faults = [['FieldValueInvalid', signer]];
    const signerNames: Readonly<Record<string, Faults>> = {
      '': [['FieldValueRequired', signer]],
      'no-slash.example.com': invalidSigner,
      'two.example.com/a/b': invalidSigner,
      'nodots/a': invalidSigner,
      'example.com/': invalidSigner,
      '/a': [...invalidSigner, ...invalidSigner],
      'Example.com/a': invalidSigner,
      'example..com/a': invalidSigner,
      'example.com/A': invalidSigner,
      'example.com/a_b': invalidSigner,
      'example.com/-a': invalidSigner,
      'kubernetes.io/legacy-unknown': invalidSigner,
      [`${'a'.repeat(64)}.com/a`]: invalidSigner,
      [`${'a.'.repeat(127)}aa/a`]: [['FieldValueTooLong', signer]],
      [`example.com/${'a.'.repeat(280)}b`]: [['FieldValueTooLong', signer]],
      [`example.com/${'a'.repeat(254)}`]: invalidSigner,
    };
    for (const [signerName, faults] of Object.entries(signerNames)) {
      const shown =
        signerName.length > 40 ? `${signerName.slice(0, 20)}… (${signerName.length})` : signerName;
      badSpec(`signer "${shown}"`, () => ({ signerName }), faults);
    }

    const usagesRequired: Faults = [['FieldValueRequired', 'spec.usages']];
    badSpec('no usages', () => ({ usages: undefined }), usagesRequired);
    badSpec('empty usages', () => ({ usages: [] }), usagesRequired);
    badSpec('an unknown usage', () => ({ usages: ['server auth', 'mining'] }), [
      ['FieldValueNotSupported', 'spec.usages[1]'],
    ]);
    badSpec('a usage twice', () => ({ usages: ['server auth', 'server auth'] }), [
      ['FieldValueDuplicate', 'spec.usages[1]'],
    ]);
    for (const expirationSeconds of [-1, 0, 1, 599])
      badSpec(`a duration of ${expirationSeconds} s`, () => ({ expirationSeconds }), [
        ['FieldValueInvalid', 'spec.expirationSeconds'],
      ]);
    badSpec('everything wrong at once', () => ({ request: '', usages: [], signerName: '' }), [
      ['FieldValueInvalid', 'spec.request'],
      ...usagesRequired,
      ['FieldValueRequired', signer],
    ]);

    test('no name at all: 422', async () => {
      const answer = await asPod('POST', collection, newRequest({}, { name: undefined }));
      invalid(answer, [['FieldValueRequired', 'metadata.name']]);
    });
    for (const badName of ['.', '..', 'a/b', 'a%b'])
      test(`the name "${badName}": 422`, async () => {
        const answer = await asPod('POST', collection, newRequest({}, { name: badName }));
        invalid(answer, [['FieldValueInvalid', 'metadata.name']]);
      });
    const badMetadata: Readonly<Record<string, readonly [metadata: object, field: string]>> = {
      'a generated name with a slash': [{ generateName: 'a/' }, 'generateName'],
      'a label key with a blank': [{ labels: { 'a b': 'c' } }, 'labels'],
      'a label value with a blank': [{ labels: { a: 'b c' } }, 'labels'],
      'a label value of 64 characters': [{ labels: { a: 'x'.repeat(64) } }, 'labels'],
      'a label key with two slashes': [{ labels: { 'a/b/c': 'd' } }, 'labels'],
      'a label prefix in upper case': [{ labels: { 'A.b/c': 'd' } }, 'labels'],
      'an annotation key with a blank': [{ annotations: { 'a b': 'c' } }, 'annotations'],
    };
    for (const [title, [metadata, field]] of Object.entries(badMetadata))
      test(`${title}: 422`, async () => {
        const answer = await asPod('POST', collection, newRequest({}, metadata));
        invalid(answer, [['FieldValueInvalid', `metadata.${field}`]]);
      });
    test('labels and annotations of every form', async () => {
      const labels = { 'a.b/C_d': '', x: 'Y_z.1' };
      const annotations = { 'A.b/c': 'anything, "even" this' };
      const wanted = newRequest({}, { labels, annotations });
      const { metadata } = accepted(await asPod('POST', collection, wanted), 201);
      assert.deepEqual(metadata.labels, labels);
      assert.deepEqual(metadata.annotations, annotations);
    });
    test('a resource version: 500', async () => {
      const answer = await asPod('POST', collection, newRequest({}, { resourceVersion: '5' }));
      assert.equal(answer.code, 500, JSON.stringify(answer));
    });
    test('a name with characters that others may not have', async () => {
      const named = newRequest({}, { name: `${run}:A_ b` });
      const object = accepted(await asPod('POST', collection, named), 201);
      const path = `${collection}/${encodeURIComponent(named.metadata.name)}`;
      assert.equal(accepted(await asPod('GET', path)).metadata.uid, object.metadata.uid);
    });
  });

  describe('bodies', () => {
    const row = (
      title: string,
      body: () => unknown,
      expected: { code: number; reason: string; contentType?: string | null },
    ): void => {
      const { code, reason, contentType } = expected;
      test(`${title}: ${code}`, async () => {
        const answer = await call({
          method: 'POST',
          path: collection,
          token: bench.api.podToken,
          body: body(),
          ...(contentType === undefined ? {} : { contentType }),
        });
        if (code < 300) assert.equal(answer.code, code, JSON.stringify(answer));
        else refused(answer, code, reason);
      });
    };
    const bad = { code: 400, reason: 'BadRequest' };
    const fine = { code: 201, reason: '' };
    row('not JSON', () => 'hello', bad);
    row('nothing', () => '', bad);
    row('half of it', () => JSON.stringify(newRequest()).slice(0, -1), bad);
    row('another kind', () => ({ ...newRequest(), kind: 'Pod' }), bad);
    row('another version', () => ({ ...newRequest(), apiVersion: 'certificates.k8s.io/v7' }), bad);
    row('a text for usages', () => newRequest({ usages: 'server auth' }), bad);
    row('a number for the signer', () => newRequest({ signerName: 7 }), bad);
    row('a request that is no base64', () => newRequest({ request: '-----BEGIN' }), bad);
    row('half a second', () => newRequest({ expirationSeconds: 600.5 }), bad);
    row('more seconds than 32 bits hold', () => newRequest({ expirationSeconds: 2 ** 31 }), bad);
    row('seconds as text', () => newRequest({ expirationSeconds: '600' }), bad);
    row('a list for the spec', () => ({ ...newRequest(), spec: [] }), bad);
    row('more than 3 MiB', () => newRequest({ colour: 'x'.repeat(3 * 1024 * 1024) }), {
      code: 413,
      reason: 'RequestEntityTooLarge',
    });
    const type = { code: 415, reason: 'UnsupportedMediaType' };
    row('plain text', () => newRequest(), { ...type, contentType: 'text/plain' });
    row('a patch', () => newRequest(), { ...type, contentType: mergePatch });
    row('JSON with a charset', () => newRequest(), {
      ...fine,
      contentType: 'application/json; charset=utf-8',
    });
    row('no content type', () => newRequest(), { ...fine, contentType: null });

    for (const contentType of ['application/json', 'text/plain'])
      test(`a patch of type ${contentType}: 415`, async () => {
        const answer = await admin('PATCH', pathOf(await stored()), {}, contentType);
        refused(answer, 415, 'UnsupportedMediaType');
      });
    for (const patch of ['hello', '[]', '7'])
      test(`the patch ${patch}: 400`, async () => {
        const answer = await admin('PATCH', pathOf(await stored()), patch, mergePatch);
        refused(answer, 400, 'BadRequest');
      });
    const badPatches: Readonly<Record<string, readonly [patch: object, field: string]>> = {
      'another kind': [{ kind: 'Pod' }, 'patch'],
      'a text for the conditions': [{ status: { conditions: 'x' } }, 'patch'],
      'a certificate that is no base64': [{ status: { certificate: '***' } }, 'patch'],
      'another uid': [{ metadata: { uid: 'mine' } }, 'metadata.uid'],
    };
    for (const [title, [patch, field]] of Object.entries(badPatches))
      test(`a patch with ${title}: 422`, async () => {
        const answer = await admin('PATCH', pathOf(await stored(), 'status'), patch, mergePatch);
        const { details } = refused(answer, 422, 'Invalid');
        const seen = details.causes?.map((each) => `${each.reason} ${each.field}`);
        assert.deepEqual(seen, [`FieldValueInvalid ${field}`]);
      });
    test('a patch with another name: 400', async () => {
      const patch = { metadata: { name: 'another' } };
      const answer = await admin('PATCH', pathOf(await stored()), patch, mergePatch);
      refused(answer, 400, 'BadRequest');
    });
  });
}

const allUsages = [
  ...['signing', 'digital signature', 'content commitment', 'key encipherment', 'key agreement'],
  ...['data encipherment', 'cert sign', 'crl sign', 'encipher only', 'decipher only', 'any'],
  ...['server auth', 'client auth', 'code signing', 'email protection', 's/mime'],
  ...['ipsec end system', 'ipsec tunnel', 'ipsec user', 'timestamping', 'ocsp signing'],
  ...['microsoft sgc', 'netscape sgc'],
];
