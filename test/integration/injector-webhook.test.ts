import { equal, match } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { sharedControlPlane } from '../support/control-plane.ts';
import { tokenOf } from '../support/publishing.ts';
import { requester, type Requester } from '../support/requester.ts';
import { until } from '../support/until.ts';
import { type ApiAnswer } from '../cluster/api-client.ts';

/** Somebody with the injector's rights would be the cluster's administrator without examples/admission/injector-webhook.yaml. */

const plane = sharedControlPlane();
const { api } = plane;
const root = join(import.meta.dirname, '../..');
const registration = '/apis/admissionregistration.k8s.io/v1';
const id = randomBytes(4).toString('hex');
const name = `podseal-webhook-${id}`;
const system = `system-webhook-${id}`;
const bindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
const one = `${registration}/mutatingwebhookconfigurations/${name}`;

type Fields = Readonly<Record<string, unknown>>;

function documents(file: string): readonly Fields[] {
  const all = parseAllDocuments(readFileSync(join(root, file), 'utf8'), { merge: true });
  return all.map((each) => each.toJS() as Fields);
}

/** For a Podseal in the test's namespace. */
function policyForTest(): readonly [Fields, Fields] {
  const [policy = {}, binding = {}] = documents('examples/admission/injector-webhook.yaml');
  const spec = policy['spec'] as { variables: { name: string; expression: string }[] };
  const variables = spec.variables.map((each) =>
    each.name === 'system' ? { ...each, expression: `'${system}'` } : each,
  );
  return [
    { ...policy, metadata: { name }, spec: { ...spec, variables } },
    { ...binding, metadata: { name }, spec: { ...(binding['spec'] as object), policyName: name } },
  ];
}

/** Of deploy/injector.yaml, for the pods of nobody. */
function webhooks(): readonly Fields[] {
  const found = documents('deploy/injector.yaml').find(
    ({ kind }) => kind === 'MutatingWebhookConfiguration',
  );
  const objectSelector = { matchLabels: { nobody: id } };
  return (found?.['webhooks'] as Fields[]).map((each) => ({ ...each, objectSelector }));
}

describe('the injector and its webhook configuration', { timeout: 60_000 }, () => {
  let people: Requester;
  const patch = (
    user: 'podseal-injector' | 'podseal-signer',
    change: (webhook: Fields) => Fields,
    all: readonly Fields[] = webhooks(),
  ): Promise<ApiAnswer> =>
    people.send(
      {
        user: `system:serviceaccount:${system}:${user}`,
        // As far as RBAC goes, anybody may.
        groups: ['system:masters'],
        extra: {},
      },
      {
        method: 'PATCH',
        path: one,
        contentType: 'application/merge-patch+json',
        body: { webhooks: all.map(change) },
      },
    );
  const withClient = (webhook: Fields, more: Fields): Fields => ({
    ...webhook,
    clientConfig: { ...(webhook['clientConfig'] as Fields), ...more },
  });
  const caBundle = Buffer.from(plane.caPem).toString('base64');

  before(async () => {
    await api.must('POST', '/api/v1/namespaces', { metadata: { name: system } });
    await until('a service account that impersonates', async () => {
      const path = `/api/v1/namespaces/${system}/serviceaccounts/default`;
      return (await api.request('GET', path)).status === 200;
    });
    await api.must('POST', bindings, {
      metadata: { name },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'cluster-admin',
      },
      subjects: [{ kind: 'ServiceAccount', namespace: system, name: 'default' }],
    });
    people = requester(plane.serverUrl, plane.caPem, await tokenOf(api, system, 'default'));
    const [policy, binding] = policyForTest();
    const configuration = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name },
      webhooks: webhooks(),
    };
    await api.must('POST', `${registration}/mutatingwebhookconfigurations`, configuration);
    await api.must('POST', `${registration}/validatingadmissionpolicies`, policy);
    await api.must('POST', `${registration}/validatingadmissionpolicybindings`, binding);
    await until('the policy to be in force', async () => {
      const timeoutSeconds = 1 + Math.floor(Math.random() * 30);
      return (
        (await patch('podseal-injector', (each) => ({ ...each, timeoutSeconds }))).status === 422
      );
    });
    equal((await patch('podseal-signer', (each) => each)).status, 200);
  });

  after(async () => {
    people.close();
    for (const kind of ['validatingadmissionpolicybindings', 'validatingadmissionpolicies'])
      await api.must('DELETE', `${registration}/${kind}/${name}`);
    for (const path of [one, `${bindings}/${name}`, `/api/v1/namespaces/${system}`])
      await api.must('DELETE', path);
    api.close();
  });

  test('it keeps the caBundle', async () => {
    const answer = await patch('podseal-injector', (each) => withClient(each, { caBundle }));
    equal(answer.status, 200, JSON.stringify(answer.body));
  });

  const everything = [
    { apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'], operations: ['*'], scope: '*' },
  ];
  const changes: Readonly<Record<string, Fields>> = {
    rules: { rules: everything },
    namespaceSelector: { namespaceSelector: {} },
    objectSelector: { objectSelector: {} },
    failurePolicy: { failurePolicy: 'Fail' },
    matchPolicy: { matchPolicy: 'Exact' },
    matchConditions: { matchConditions: [{ name: 'never', expression: 'false' }] },
    reinvocationPolicy: { reinvocationPolicy: 'Never' },
    sideEffects: { sideEffects: 'None' },
    timeoutSeconds: { timeoutSeconds: 30 },
    admissionReviewVersions: { admissionReviewVersions: ['v1', 'v1beta1'] },
    'another name': { name: 'others.podseal.dev' },
  };
  const refused = ({ status, body }: ApiAnswer): void => {
    equal(status, 422, JSON.stringify(body));
    match(JSON.stringify(body), /may change nothing but caBundle/);
  };
  for (const [what, change] of Object.entries(changes))
    test(`it does not change ${what}`, async () => {
      const [first, ...others] = webhooks();
      refused(
        await patch('podseal-injector', (each) => each, [{ ...first, ...change }, ...others]),
      );
    });

  test('it has nobody else called', async () => {
    const service = { namespace: 'shop', name: 'evil', path: '/inject', port: 443 };
    refused(await patch('podseal-injector', (each) => withClient(each, { service })));
    const url = { url: 'https://example.com/', service: null };
    refused(await patch('podseal-injector', (each) => withClient(each, url)));
  });

  test('it adds no webhook and takes none away', async () => {
    const [first = {}] = webhooks();
    refused(
      await patch('podseal-injector', (each) => each, [...webhooks(), { ...first, name: 'c.d.e' }]),
    );
    refused(await patch('podseal-injector', (each) => each, [first]));
    refused(await patch('podseal-injector', (each) => each, []));
  });

  test('whoever installs Podseal changes what they like', async () => {
    const answer = await patch('podseal-signer', (each) => ({ ...each, timeoutSeconds: 7 }));
    equal(answer.status, 200, JSON.stringify(answer.body));
    await patch('podseal-signer', (each) => each);
  });
});
