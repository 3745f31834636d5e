import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { sharedControlPlane } from '../support/control-plane.ts';
import { rbacObjects } from '../support/controllers.ts';
import { tokenOf } from '../support/publishing.ts';
import { type ApiUser, requester, type Requester, type SentCall } from '../support/requester.ts';
import { until } from '../support/until.ts';

/** Who may write what is published: each attack goes through without examples/admission/published-names.yaml. */

const plane = sharedControlPlane();
const { api } = plane;
const file = join(import.meta.dirname, '../../examples/admission/published-names.yaml');
const registration = '/apis/admissionregistration.k8s.io/v1';
const policies = `${registration}/validatingadmissionpolicies`;
const bindings = `${registration}/validatingadmissionpolicybindings`;
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const merge = 'application/merge-patch+json';
const apply = 'application/apply-patch+yaml';

const id = randomBytes(4).toString('hex');
const policyName = `podseal-published-${id}`;
const shop = `shop-names-${id}`;
const system = `system-names-${id}`;
const account = (namespace: string, name: string): string =>
  `system:serviceaccount:${namespace}:${name}`;

interface Expression {
  readonly name: string;
  readonly expression: string;
}

interface Policy {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly failurePolicy: string;
    readonly variables: readonly Expression[];
    readonly validations: readonly object[];
  };
}

function documents(): readonly [Policy, { readonly spec: object }] {
  const all = parseAllDocuments(readFileSync(file, 'utf8'));
  return all.map((each) => each.toJS() as unknown) as [Policy, { readonly spec: object }];
}

/** The policy for a Podseal in the test's namespace, which leaves the namespaces of other tests alone. */
function policyForTest(): object {
  const [policy] = documents();
  const { spec } = policy;
  return {
    ...policy,
    metadata: { name: policyName },
    spec: {
      ...spec,
      variables: spec.variables.map(({ name, expression }) => ({
        name,
        expression: name === 'system' ? `'${system}'` : expression,
      })),
      matchConditions: [
        { name: 'this-test', expression: `request.namespace.endsWith('-names-${id}')` },
      ],
    },
  };
}

/** Everybody by the rights that they have in a cluster. */
const users = {
  /** A service account with role edit in its namespace. */
  tenant: account(shop, 'tenant'),
  /** The same, and called as the injector is. */
  namesake: account(shop, 'podseal-injector'),
  administrator: `admin-${id}`,
  injector: account(system, 'podseal-injector'),
  signer: account(system, 'podseal-signer'),
  approver: account(system, 'podseal-approver'),
  collector: account('kube-system', 'generic-garbage-collector'),
  namespaces: account('kube-system', 'namespace-controller'),
  migrator: account('kube-system', 'storage-version-migrator-controller'),
  manager: 'system:kube-controller-manager',
} as const;
type UserName = keyof typeof users;

/** Those whose rights this test does not arrange may do anything, as far as RBAC goes. */
const withoutRbac: readonly UserName[] = [
  ...(['administrator', 'signer', 'approver', 'collector'] as const),
  ...(['namespaces', 'migrator', 'manager'] as const),
];

const as = (name: UserName): ApiUser => ({
  user: users[name],
  groups: withoutRbac.includes(name) ? ['system:masters'] : [],
  extra: {},
});

const configMaps = (namespace: string, name?: string): string =>
  `/api/v1/namespaces/${namespace}/configmaps${name === undefined ? '' : `/${name}`}`;
const named = (name: string, more: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data: { 'ca.crt': 'planted' },
  ...more,
});

const create = (namespace: string, name: string, more: object = {}): SentCall => ({
  method: 'POST',
  path: configMaps(namespace),
  body: named(name, more),
});
const patch = (namespace: string, name: string, body: object, contentType = merge): SentCall => ({
  method: 'PATCH',
  path: configMaps(namespace, name),
  body,
  contentType,
});
const remove = (namespace: string, name: string): SentCall => ({
  method: 'DELETE',
  path: configMaps(namespace, name),
});
const planting = { data: { 'ca.crt': 'planted' } };
const applied = (name: string): SentCall => ({
  ...patch(shop, name, named(name), apply),
  path: `${configMaps(shop, name)}?fieldManager=attacker&force=true`,
});

interface Attempt {
  readonly title: string;
  readonly by: UserName;
  readonly call: SentCall;
  /** Of the two in the shop, which stand there otherwise. */
  readonly missing?: true;
}

interface Attack extends Attempt {
  readonly message: RegExp;
}

const onlyInjector =
  /injector of Podseal alone writes it, .* podseal\.dev\/publish=enabled to have it there$/;
const wouldRestore =
  /injector of Podseal alone writes it, and would restore it; it goes by itself when/;
const nothingElse = /the injector publishes podseal-services and podseal-trust, and nothing else$/;
const onlySigner = /trust bundle of the whole cluster, which the signer of Podseal alone writes/;

const attacks: readonly Attack[] = [
  ...(['podseal-trust', 'podseal-services'] as const).flatMap((name): readonly Attack[] => [
    {
      title: `a tenant plants ${name} before Podseal comes`,
      by: 'tenant',
      missing: true,
      call: create(shop, name),
      message: onlyInjector,
    },
    {
      title: `a tenant plants ${name} by apply`,
      by: 'tenant',
      missing: true,
      call: applied(name),
      message: onlyInjector,
    },
    {
      title: `a tenant changes ${name} by merge patch`,
      by: 'tenant',
      call: patch(shop, name, planting),
      message: onlyInjector,
    },
    {
      title: `a tenant changes ${name} by JSON patch`,
      by: 'tenant',
      call: patch(
        shop,
        name,
        [{ op: 'replace', path: '/data', value: planting.data }],
        'application/json-patch+json',
      ),
      message: onlyInjector,
    },
    {
      title: `a tenant changes ${name} by apply`,
      by: 'tenant',
      call: applied(name),
      message: onlyInjector,
    },
    {
      title: `a tenant replaces ${name}`,
      by: 'tenant',
      call: { method: 'PUT', path: configMaps(shop, name), body: named(name) },
      message: onlyInjector,
    },
    {
      title: `a tenant deletes ${name}`,
      by: 'tenant',
      call: remove(shop, name),
      message: wouldRestore,
    },
    {
      title: `a tenant deletes ${name} by its field`,
      by: 'tenant',
      call: remove(shop, `?fieldSelector=metadata.name=${name}`),
      message: wouldRestore,
    },
  ]),
  {
    title: 'a tenant deletes all that is labelled so',
    by: 'tenant',
    call: remove(shop, '?labelSelector=app.kubernetes.io/managed-by=podseal'),
    message: wouldRestore,
  },
  ...[
    { immutable: true },
    { metadata: { finalizers: ['example.com/never'] } },
    { metadata: { labels: { 'app.kubernetes.io/managed-by': null } } },
    { metadata: { annotations: { note: 'x' } } },
    {
      metadata: {
        ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'none', uid: 'none' }],
      },
    },
    { binaryData: { 'ca.crt': 'eA==' }, data: null },
  ].map((change): Attack => ({
    title: `a tenant changes no text, but ${JSON.stringify(change)}`,
    by: 'tenant',
    call: patch(shop, 'podseal-trust', change),
    message: onlyInjector,
  })),
  {
    title: 'a namesake of the injector, in another namespace',
    by: 'namesake',
    call: patch(shop, 'podseal-trust', planting),
    message: onlyInjector,
  },
  {
    title: 'an administrator by mistake',
    by: 'administrator',
    call: patch(shop, 'podseal-trust', planting),
    message: onlyInjector,
  },
  {
    title: 'the signer in a namespace of somebody else',
    by: 'signer',
    call: patch(shop, 'podseal-trust', planting),
    message: onlyInjector,
  },
  {
    title: 'the approver in the namespace of Podseal',
    by: 'approver',
    call: patch(system, 'podseal-trust', planting),
    message: onlySigner,
  },
  {
    title: 'an administrator in the namespace of Podseal',
    by: 'administrator',
    call: remove(system, 'podseal-trust'),
    message: onlySigner,
  },
  ...[patch(system, 'podseal-trust', planting), remove(system, 'podseal-trust')].map(
    (call): Attack => ({
      title: `the injector on what it publishes from: ${call.method}`,
      by: 'injector',
      call,
      message: onlySigner,
    }),
  ),
  {
    title: 'the injector plants a ConfigMap of another name',
    by: 'injector',
    call: create(shop, 'app-settings'),
    message: nothingElse,
  },
  {
    title: 'the injector plants one in the namespace of Podseal',
    by: 'injector',
    call: create(system, 'podseal-policy'),
    message: nothingElse,
  },
  {
    title: 'the injector plants one whose name begins so',
    by: 'injector',
    call: create(shop, '', { metadata: { generateName: 'podseal-trust' } }),
    message: nothingElse,
  },
  ...(['collector', 'namespaces', 'migrator', 'manager'] as const).map((by): Attack => ({
    title: `${users[by]} changes what it says`,
    by,
    call: patch(shop, 'podseal-trust', planting),
    message: onlyInjector,
  })),
  {
    title: 'a controller of Kubernetes makes it immutable',
    by: 'manager',
    call: patch(shop, 'podseal-trust', { immutable: true }),
    message: onlyInjector,
  },
  {
    title: 'a controller of Kubernetes adds bytes to it',
    by: 'manager',
    call: patch(shop, 'podseal-trust', { binaryData: { more: 'eA==' } }),
    message: onlyInjector,
  },
  {
    title: 'a controller of Kubernetes creates one',
    by: 'manager',
    missing: true,
    call: create(shop, 'podseal-trust'),
    message: onlyInjector,
  },
];

const honest: readonly Attempt[] = [
  ...(['podseal-trust', 'podseal-services'] as const).flatMap((name): readonly Attempt[] => [
    {
      title: `the injector creates ${name}`,
      by: 'injector',
      missing: true,
      call: create(shop, name),
    },
    { title: `the injector changes ${name}`, by: 'injector', call: patch(shop, name, planting) },
    { title: `the injector deletes ${name}`, by: 'injector', call: remove(shop, name) },
  ]),
  {
    title: 'the signer changes its bundle',
    by: 'signer',
    call: patch(system, 'podseal-trust', { data: { 'ca.crt': 'next' } }),
  },
  ...(['collector', 'namespaces', 'manager'] as const).map((by): Attempt => ({
    title: `${users[by]} deletes it`,
    by,
    call: remove(shop, 'podseal-trust'),
  })),
  {
    title: 'the garbage collector takes an owner away',
    by: 'collector',
    call: patch(shop, 'podseal-trust', { metadata: { ownerReferences: null } }),
  },
  {
    title: 'storage migration writes it as it is',
    by: 'migrator',
    call: patch(shop, 'podseal-trust', {}),
  },
  {
    title: 'the namespace controller deletes all at once',
    by: 'namespaces',
    call: { method: 'DELETE', path: configMaps(shop) },
  },
  { title: 'a tenant has ConfigMaps of other names', by: 'tenant', call: create(shop, 'x-trust') },
  {
    title: 'a tenant has one with a generated name',
    by: 'tenant',
    call: create(shop, '', { metadata: { generateName: 'podseal-trust' } }),
  },
  { title: 'the approver is not concerned', by: 'approver', call: create(system, 'approvers') },
];

let client: Requester;

async function send({ by, call }: Attempt): Promise<{ status: number; message: string }> {
  const { status, body } = await client.send(as(by), call);
  return { status, message: (body as { message?: string }).message ?? '' };
}

/** What stands in the shop and the system, before each attempt; written by who may. */
async function arrange(): Promise<void> {
  for (const namespace of [shop, system]) {
    const { items } = (await api.must('GET', configMaps(namespace))) as {
      items: readonly { metadata: { name: string; finalizers?: readonly string[] } }[];
    };
    for (const { metadata } of items) {
      const { name } = metadata;
      if (name === 'kube-root-ca.crt') continue;
      const writer = namespace === system && name === 'podseal-trust' ? 'signer' : 'injector';
      const user = { user: users[writer], groups: ['system:masters'], extra: {} };
      const isPublished = ['podseal-trust', 'podseal-services'].includes(name);
      const by = isPublished ? user : as('administrator');
      if (metadata.finalizers)
        await client.send(by, patch(namespace, name, { metadata: { finalizers: null } }));
      const { status } = await client.send(by, remove(namespace, name));
      // Kubernetes collects what has an owner that is not there.
      ok(status === 200 || status === 404, `${status}`);
    }
  }
  const labels = { 'app.kubernetes.io/managed-by': 'podseal' };
  for (const [by, namespace, name] of [
    ['injector', shop, 'podseal-trust'],
    ['injector', shop, 'podseal-services'],
    ['signer', system, 'podseal-trust'],
  ] as const) {
    const user = { user: users[by], groups: ['system:masters'], extra: {} };
    const call = create(namespace, name, {
      metadata: { name, labels },
      data: { 'ca.crt': 'good' },
    });
    equal((await client.send(user, call)).status, 201);
  }
}

async function attempt(each: Attempt): Promise<{ status: number; message: string }> {
  if (each.missing)
    for (const name of ['podseal-trust', 'podseal-services'])
      await client.send(as('namespaces'), remove(shop, name));
  return send(each);
}

before(async () => {
  for (const name of [shop, system])
    await api.must('POST', '/api/v1/namespaces', { metadata: { name } });
  await until('the impersonator', async () => {
    const path = `/api/v1/namespaces/${shop}/serviceaccounts`;
    return (await api.request('GET', `${path}/default`)).status === 200;
  });
  const subject = (namespace: string, name: string) => ({
    kind: 'ServiceAccount',
    namespace,
    name,
  });
  await api.must('POST', `${rbac}/clusterrolebindings`, {
    metadata: { name: `impersonator-${id}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [subject(shop, 'default')],
  });
  await api.must('POST', `${rbac}/namespaces/${shop}/rolebindings`, {
    metadata: { name: 'editors' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' },
    subjects: [subject(shop, 'tenant'), subject(shop, 'podseal-injector')],
  });
  const role = rbacObjects('injector').find(({ kind }) => kind === 'ClusterRole');
  await api.must('POST', `${rbac}/clusterroles`, {
    metadata: { name: `podseal-injector-${id}` },
    rules: role?.rules,
  });
  await api.must('POST', `${rbac}/clusterrolebindings`, {
    metadata: { name: `podseal-injector-${id}` },
    roleRef: {
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'ClusterRole',
      name: `podseal-injector-${id}`,
    },
    subjects: [subject(system, 'podseal-injector')],
  });
  client = requester(plane.serverUrl, plane.caPem, await tokenOf(api, shop, 'default'));
  // The API server learns of the rights by a watch.
  for (const by of ['tenant', 'namesake', 'injector'] as const)
    await until(`the rights of ${users[by]}`, async () => {
      const call = create(shop, `dry-${id}`);
      const { status } = await client.send(as(by), { ...call, path: `${call.path}?dryRun=All` });
      return status === 201;
    });
});

after(async () => {
  for (const name of [`impersonator-${id}`, `podseal-injector-${id}`])
    await api.request('DELETE', `${rbac}/clusterrolebindings/${name}`);
  await api.request('DELETE', `${rbac}/clusterroles/podseal-injector-${id}`);
  for (const name of [shop, system]) await api.request('DELETE', `/api/v1/namespaces/${name}`);
  client.close();
  api.close();
});

describe('without the policy', { timeout: 120_000 }, () => {
  beforeEach(arrange);
  for (const attack of attacks)
    test(attack.title, async () => {
      const { status, message } = await attempt(attack);
      ok(status < 300, message);
    });
});

describe('with the policy', { timeout: 120_000 }, () => {
  before(async () => {
    await api.must('POST', policies, policyForTest());
    const [, binding] = documents();
    await api.must('POST', bindings, {
      ...binding,
      metadata: { name: policyName },
      spec: { ...binding.spec, policyName },
    });
    await until('the policy to be in force', async () => {
      const call = create(shop, 'podseal-trust');
      const { status } = await client.send(as('tenant'), {
        ...call,
        path: `${call.path}?dryRun=All`,
      });
      return status === 422;
    });
  });
  beforeEach(arrange);
  after(async () => {
    await api.request('DELETE', `${bindings}/${policyName}`);
    await api.request('DELETE', `${policies}/${policyName}`);
  });

  for (const attack of attacks)
    test(`refused: ${attack.title}`, async () => {
      const { status, message } = await attempt(attack);
      equal(status, 422, message);
      match(message, attack.message);
      const found = await api.request('GET', configMaps(shop, 'podseal-trust'));
      if (attack.missing) equal(found.status, 404);
      else deepEqual((found.body as { data?: object }).data, { 'ca.crt': 'good' });
    });

  for (const each of honest)
    test(`allowed: ${each.title}`, async () => {
      const { status, message } = await attempt(each);
      ok(status < 300, message);
    });

  test('the message names who, what and where', async () => {
    const { message } = await send({
      title: '',
      by: 'tenant',
      call: remove(shop, 'podseal-trust'),
    });
    match(
      message,
      new RegExp(`"${users.tenant}" may not delete ConfigMap "${shop}/podseal-trust": `),
    );
  });

  test('Kubernetes removes what lost its owner, and orphans what it is told to', async () => {
    const owned = async (name: string): Promise<void> => {
      const { metadata } = (await api.must('POST', configMaps(shop), {
        metadata: { name: `owner-of-${name}` },
      })) as { metadata: { uid: string } };
      const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: `owner-of-${name}` };
      const ownerReferences = [{ ...reference, uid: metadata.uid }];
      const user = { user: users.injector, groups: ['system:masters'], extra: {} };
      const { status } = await client.send(
        user,
        patch(shop, name, { metadata: { ownerReferences } }),
      );
      equal(status, 200);
    };
    await owned('podseal-trust');
    await owned('podseal-services');
    const owner = (name: string): string => configMaps(shop, `owner-of-${name}`);
    await api.must('DELETE', owner('podseal-trust'));
    await until('it to be collected', async () => {
      return (await api.request('GET', configMaps(shop, 'podseal-trust'))).status === 404;
    });
    await api.must('DELETE', owner('podseal-services'), { propagationPolicy: 'Orphan' });
    await until('it to be orphaned', async () => {
      const { status, body } = await api.request('GET', configMaps(shop, 'podseal-services'));
      const { metadata } = body as { metadata: { ownerReferences?: unknown } };
      return status === 200 && metadata.ownerReferences === undefined;
    });
  });

  test('a namespace with both is deleted', async () => {
    const name = `gone-names-${id}`;
    await api.must('POST', '/api/v1/namespaces', { metadata: { name } });
    for (const each of ['podseal-trust', 'podseal-services'])
      equal((await client.send(as('injector'), create(name, each))).status, 201);
    await api.must('DELETE', `/api/v1/namespaces/${name}`);
    await until('it to be gone', async () => {
      return (await api.request('GET', `/api/v1/namespaces/${name}`)).status === 404;
    });
  });
});

describe('examples/admission/published-names.yaml', { timeout: 60_000 }, () => {
  test('is accepted as it is', async () => {
    const printed = await plane.kubectl(['apply', '--dry-run=server', '-f', file]);
    match(printed, /policy.* created \(server dry run\)\n.*policybinding.* created \(server/);
  });

  test('has no expression whose types do not fit', async () => {
    const [policy] = documents();
    // Without a binding it is judged by nobody.
    const name = `${policyName}-types`;
    await api.must('POST', policies, { ...policy, metadata: { name } });
    try {
      const { typeChecking } = await until('the types to be checked', async () => {
        const { status } = (await api.must('GET', `${policies}/${name}`)) as TypeChecked;
        return status.observedGeneration === undefined ? undefined : status;
      });
      deepEqual(typeChecking?.expressionWarnings ?? [], []);
    } finally {
      await api.request('DELETE', `${policies}/${name}`);
    }
  });

  test('refuses what it cannot judge', () => {
    equal(documents()[0].spec.failurePolicy, 'Fail');
  });
});

interface TypeChecked {
  readonly status: {
    readonly observedGeneration?: number;
    readonly typeChecking?: { readonly expressionWarnings?: readonly unknown[] };
  };
}
