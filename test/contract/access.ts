import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type PolicyRule } from '../embedded-api/authorization.ts';
import { type Answer, type Call } from './api-call.ts';
import {
  base64,
  certificate,
  collection,
  condition,
  group,
  mergePatch,
  pathOf,
  plural,
  refused,
  type Bench,
  type StatusJson,
} from './bench.ts';

/** Who may do what: authentication, authorization, signers. */
export function accessContract(bench: Bench): void {
  const { call, newRequest, run, signerName, stored } = bench;

  describe('who asks', () => {
    const row = (
      title: string,
      asked: () => Call,
      expected: { code: number; reason?: string; message?: () => string },
    ): void => {
      test(`${title}: ${expected.code}`, async () => {
        const answer = await call(asked());
        assert.equal(answer.code, expected.code, JSON.stringify(answer));
        if (expected.reason === undefined) return;
        const { message } = refused(answer, expected.code, expected.reason);
        if (expected.message) assert.equal(message, expected.message());
      });
    };
    const get = (path: string, token?: () => string) => (): Call => ({
      method: 'GET',
      path,
      token: token?.(),
    });
    const pod = (): string => bench.api.podToken;
    const may = (verb: string, path: string, name = ''): (() => string) => {
      const what = `${plural}.${group}${name === '' ? '' : ` "${name}"`}`;
      return () =>
        `${what} is forbidden: User "system:serviceaccount:${bench.api.pod.namespace}:${bench.api.pod.serviceAccount}" cannot ${verb} resource "${path}" in API group "${group}" at the cluster scope`;
    };
    const unknown = (): string => 'nobody-has-this-token';

    for (const path of ['/readyz', '/livez', '/healthz'])
      row(`${path} without a token`, get(path), { code: 200 });
    row('readiness with an unknown token', get('/readyz', unknown), {
      code: 401,
      reason: 'Unauthorized',
    });
    row('a request without a token', get(`${collection}/x`), {
      code: 403,
      reason: 'Forbidden',
      message: () =>
        `${plural}.${group} "x" is forbidden: User "system:anonymous" cannot get resource "${plural}" in API group "${group}" at the cluster scope`,
    });
    row('a request with an unknown token', get(`${collection}/x`, unknown), {
      code: 401,
      reason: 'Unauthorized',
      message: () => 'Unauthorized',
    });
    row('a pod that lists', get(collection, pod), {
      code: 403,
      reason: 'Forbidden',
      message: may('list', plural),
    });
    row('a pod that deletes', () => ({ method: 'DELETE', path: `${collection}/x`, token: pod() }), {
      code: 403,
      reason: 'Forbidden',
      message: may('delete', plural, 'x'),
    });
    row(
      'a pod that approves itself',
      () => ({
        method: 'PUT',
        path: `${collection}/x/approval`,
        token: pod(),
        body: newRequest(),
      }),
      { code: 403, reason: 'Forbidden', message: may('update', `${plural}/approval`, 'x') },
    );
    row(
      'a pod that signs for itself',
      () => ({
        method: 'PATCH',
        path: `${collection}/x/status`,
        token: pod(),
        body: {},
        contentType: mergePatch,
      }),
      { code: 403, reason: 'Forbidden', message: may('patch', `${plural}/status`, 'x') },
    );
    row('a pod on an unknown path', get('/nowhere', pod), {
      code: 403,
      reason: 'Forbidden',
      message: () =>
        `forbidden: User "system:serviceaccount:${bench.api.pod.namespace}:${bench.api.pod.serviceAccount}" cannot get path "/nowhere"`,
    });
    const asAdmin = (method: string, path: string) => (): Call => ({
      ...{ method, path, token: bench.api.adminToken },
      ...(method === 'POST' || method === 'PUT' ? { body: newRequest() } : {}),
    });
    row('an unknown path', asAdmin('GET', '/nowhere'), { code: 404 });
    const notFound = { code: 404, reason: 'NotFound' };
    row('an unknown resource', asAdmin('GET', `${collection}x`), notFound);
    row('an unknown subresource', asAdmin('GET', `${collection}/x/nothing`), notFound);
    row('a path below a subresource', asAdmin('GET', `${collection}/x/status/y`), notFound);
    row('a slash at the end', asAdmin('GET', `${collection}/`), { code: 200 });
    row('an escape that is none', asAdmin('GET', `${collection}/%zz`), { code: 400 });
    const notAllowed = { code: 405, reason: 'MethodNotAllowed' };
    row('POST to one object', asAdmin('POST', `${collection}/x`), notAllowed);
    row('POST to a subresource', asAdmin('POST', `${collection}/x/approval`), notAllowed);
    row('PUT to the collection', asAdmin('PUT', collection), notAllowed);
    row('DELETE of a subresource', asAdmin('DELETE', `${collection}/x/status`), notAllowed);
    row('OPTIONS', asAdmin('OPTIONS', `${collection}/x`), notAllowed);
    row('POST to the version', asAdmin('POST', '/version'), notAllowed);
    test('the version is told to everybody', async () => {
      const { code, body } = await call({ method: 'GET', path: '/version' });
      assert.equal(code, 200);
      const { major, minor, gitVersion } = body as Record<string, string>;
      assert.equal(major, '1');
      assert.match(minor ?? '', /^\d+/);
      assert.ok(gitVersion?.startsWith(`v1.${minor}`), gitVersion);
    });
  });

  describe('signers', () => {
    const rulesFor = (verb: string, resourceName: string): PolicyRule[] => [
      {
        apiGroups: [group],
        resources: [`${plural}/approval`, `${plural}/status`],
        verbs: ['update'],
      },
      {
        apiGroups: [group],
        resources: ['signers'],
        verbs: [verb],
        resourceNames: [resourceName],
      },
    ];
    const acts = {
      approve: { subresource: 'approval', status: { conditions: [condition('Approved')] } },
      sign: { subresource: 'status', status: { certificate: base64(certificate) } },
    } as const;
    for (const verb of ['approve', 'sign'] as const) {
      const attempt = async (rules: PolicyRule[], unchanged = false): Promise<Answer> => {
        const token = await bench.api.tokenWith(rules);
        const object = await stored();
        const { subresource, status } = acts[verb];
        const body = unchanged ? object : { ...object, status };
        const method = 'PUT';
        const answer = await call({ method, path: pathOf(object, subresource), token, body });
        if (answer.code === 403)
          assert.equal(
            (answer.body as StatusJson).message,
            `${plural}.${group} "${object.metadata.name}" is forbidden: user not permitted to ${verb} requests with signerName "${signerName}"`,
          );
        return answer;
      };
      const domain = `${run}.example.com`;
      for (const named of [signerName, `${domain}/*`])
        test(`${verb} for ${named === signerName ? 'the signer' : 'its domain'}: 200`, async () => {
          assert.equal((await attempt(rulesFor(verb, named))).code, 200);
        });
      for (const [title, named] of [
        ['another signer', `${domain}/other`],
        ['a wildcard over part of a name', `${domain}/sign*`],
      ] as const)
        test(`${verb} for ${title}: 403`, async () => {
          refused(await attempt(rulesFor(verb, named)), 403, 'Forbidden');
        });
      test(`${verb} with the other verb: 403`, async () => {
        const other = verb === 'sign' ? 'approve' : 'sign';
        refused(await attempt(rulesFor(other, signerName)), 403, 'Forbidden');
      });
      test(`${verb}: who writes nothing new is ${verb === 'sign' ? 'not asked' : 'asked'}`, async () => {
        const answer = await attempt(rulesFor(verb, `${domain}/other`), true);
        assert.equal(answer.code, verb === 'sign' ? 200 : 403, JSON.stringify(answer));
      });
    }
  });
}
