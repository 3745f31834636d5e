import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { requestName } from '../../src/certificates/signing-request.ts';
import { agentSettings } from '../../src/cli/settings.ts';
import { createPod, type TestPod } from '../cluster/pod.ts';
import { certificationRequestPem } from '../contract/certification-requests.ts';
import { administrator } from '../support/administrator.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { openssl } from '../support/openssl.ts';
import { podScene, type PodScene } from '../support/pod-scene.ts';
import { type LogLine } from '../support/program.ts';
import {
  requester,
  type ApiUser,
  type ImpersonatedUser,
  type Requester,
} from '../support/requester.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
const { api } = plane;

const file = join(import.meta.dirname, '../../examples/admission/signing-requests.yaml');
const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const policies = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies';
const bindings = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings';
const clusterRoleBindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
const merge = 'application/merge-patch+json';
const podNameKey = 'authentication.kubernetes.io/pod-name';
const podUidKey = 'authentication.kubernetes.io/pod-uid';

/** In the name of every user of this file, and of nobody else: the test's policy concerns them alone. */
const id = randomBytes(4).toString('hex');
const namespace = `admission-${id}`;
const policyName = `podseal-admission-${id}`;
const signerName = `test.podseal.dev/admission-${id}`;
const secondSignerName = `test.podseal.dev/admission-second-${id}`;
const accountName = `system:serviceaccount:${namespace}:default`;
/** On the list of the platform, alone of its namespace. */
const issuerName = `system:serviceaccount:${namespace}:issuer`;

interface Expression {
  readonly name: string;
  readonly expression: string;
}

interface Policy {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly variables: readonly Expression[];
    readonly failurePolicy: string;
    readonly matchConditions?: readonly Expression[];
  };
}

interface Binding {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly policyName: string };
}

function fromFile(): readonly [Policy, Binding] {
  const documents = parseAllDocuments(readFileSync(file, 'utf8'));
  return documents.map((each) => each.toJS() as unknown) as [Policy, Binding];
}

/**
 * The policy of the file under another name, with the test's signer names, one service account more
 * on the list of the platform, and a condition that leaves the requests of other tests alone.
 */
function policyForTest(): Policy {
  const [policy] = fromFile();
  const { metadata, spec } = policy;
  const edited = ({ name, expression }: Expression): Expression => {
    if (name === 'signerNames')
      return { name, expression: `['${signerName}', '${secondSignerName}']` };
    if (name === 'platform')
      return { name, expression: expression.replace(']', `, '${issuerName}']`) };
    return { name, expression };
  };
  return {
    ...policy,
    metadata: { ...metadata, name: policyName },
    spec: {
      ...spec,
      variables: spec.variables.map(edited),
      matchConditions: [
        { name: 'this-test', expression: `request.userInfo.username.contains('${id}')` },
      ],
    },
  };
}

function bindingForTest(): Binding {
  const [, binding] = fromFile();
  const { metadata, spec } = binding;
  return { ...binding, metadata: { ...metadata, name: policyName }, spec: { ...spec, policyName } };
}

/** Everybody who asks: tokens as the API server gives them, and users that only impersonation can make. */
interface Users {
  readonly pod: TestPod;
  readonly otherPod: TestPod;
  readonly unbound: string;
  /** A service account of kube-system; its token is bound to no pod. */
  readonly controller: string;
  /** An owner that is there: a request whose owner is not is collected at once. */
  readonly namespaceUid: string;
  /** The API server admits no other from a node than one with the node's name as its subject; base64. */
  readonly kubeletRequest: string;
}

interface NewObject {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec: Readonly<Record<string, unknown>>;
}

const randomHex = (): string => randomBytes(32).toString('hex');

/** What an agent sends, changed. */
function signingRequest(
  uid: string,
  metadata: NewObject['metadata'] = {},
  spec: NewObject['spec'] = {},
): NewObject {
  return {
    metadata: { name: requestName(uid, randomHex()), ...metadata },
    spec: {
      request: Buffer.from(certificationRequestPem()).toString('base64'),
      signerName,
      usages: ['digital signature', 'server auth'],
      expirationSeconds: 86_400,
      ...spec,
    },
  };
}

/** A good certification request followed by junk, `bytes` long in all; base64 as in JSON. */
function padded(bytes: number): string {
  return Buffer.from(certificationRequestPem().padEnd(bytes, '\n')).toString('base64');
}

function impersonated(
  user: string,
  extra: ImpersonatedUser['extra'] = {},
  groups: readonly string[] = [],
): ImpersonatedUser {
  return { user, groups, extra };
}

function podExtra(name: readonly string[], uid: readonly string[]): ImpersonatedUser['extra'] {
  return { [podNameKey]: name, [podUidKey]: uid };
}

interface Attack {
  readonly title: string;
  readonly as: (users: Users) => ApiUser;
  readonly object: (users: Users) => NewObject;
  /** What the policy says. */
  readonly message: string | RegExp | ((users: Users) => string);
}

const asPod = ({ pod }: Users): ApiUser => ({ token: pod.token });
const asNode = (): ApiUser => impersonated(`system:node:${id}`, {}, ['system:nodes']);
const asAdministrator = (): ApiUser => impersonated(`admin-${id}`, {}, ['system:masters']);

/** `amount` keys of a kilobyte each, for a place where nothing limits them. */
function kilobytes(amount: number, key: (text: string) => string): Record<string, unknown> {
  const names = Array.from({ length: amount }, (_, index) => String(index).padStart(1000, 'x'));
  return Object.fromEntries(names.map((name) => [key(name), {}]));
}

function tooLong(bytes: number): string {
  return `spec.request has ${bytes} bytes, more than 16384; ask for fewer names, and send nothing after the PEM block`;
}

function notBound(podNames: number, podUids: number): string {
  return `the token of "${accountName}" is not bound to one pod (${podNames} pod names, ${podUids} pod uids); use the token that the kubelet projects into the pod`;
}

function notForPods(username: string): string {
  return `"${username}" is no service account, and signer "${signerName}" is for pods alone; where a person decides, use another signer name`;
}

function foreign(username: string, signer: string): string {
  return `"${username}" may not address signer "${signer}", only ${signerName}, ${secondSignerName}; the lists "signerNames" and "platform" of this policy say who may ask whom`;
}

const wrongName = (uid: string): string =>
  `the name is not podseal-${uid}- and 32 hexadecimal digits, which this pod has to use`;
const wrongNameOfPod = ({ pod }: Users): string => wrongName(pod.uid);
const generated = ({ pod }: Users): string =>
  `metadata.generateName is set; send a name, podseal-${pod.uid}- and 32 hexadecimal digits, so that a restart finds its request again`;
const foreignKey = (key: string): string =>
  `the label or annotation "${key}" is not one of Podseal; send none but podseal.dev/...`;

function named(title: string, name: (users: Users) => string): Attack {
  const object = (users: Users): NewObject =>
    signingRequest(users.pod.uid, { name: name(users), generateName: undefined });
  return { title, as: asPod, object, message: wrongNameOfPod };
}

const tooMuchMetadata = /^metadata has \d+ characters, more than 4096; send a name, and few/;

/** What the right to create allows without a policy. */
const attacks: readonly Attack[] = [
  {
    title: '1.4 MB after the PEM block',
    as: asPod,
    object: ({ pod }) => signingRequest(pod.uid, {}, { request: padded(1_400_000) }),
    message: tooLong(1_400_000),
  },
  // Base64 of these three is equally long.
  ...[16_385, 16_386, 16_387].map((bytes) => ({
    title: `a request of ${bytes} bytes`,
    as: asPod,
    object: ({ pod }: Users) => signingRequest(pod.uid, {}, { request: padded(bytes) }),
    message: tooLong(bytes),
  })),
  {
    title: '1.2 MB of managed fields',
    as: asPod,
    object: ({ pod }) =>
      signingRequest(pod.uid, {
        managedFields: [
          {
            manager: 'podseal',
            operation: 'Update',
            apiVersion: 'certificates.k8s.io/v1',
            fieldsType: 'FieldsV1',
            fieldsV1: { 'f:metadata': { 'f:labels': kilobytes(1200, (text) => `f:${text}`) } },
          },
        ],
      }),
    message: tooMuchMetadata,
  },
  {
    title: '1 MB of generateName beside the name',
    as: asPod,
    object: ({ pod }) => signingRequest(pod.uid, { generateName: 'x'.repeat(1_000_000) }),
    message: tooMuchMetadata,
  },
  {
    title: '400 KB of labels of Podseal',
    as: asPod,
    object: ({ pod }) => {
      const labels = Array.from({ length: 4000 }, (_, index) => [
        `podseal.dev/label-${index}`,
        'x'.repeat(63),
      ]);
      return signingRequest(pod.uid, { labels: Object.fromEntries(labels) as object });
    },
    message: tooMuchMetadata,
  },
  {
    title: '200 KB in one annotation of Podseal',
    as: asPod,
    object: ({ pod }) =>
      signingRequest(pod.uid, { annotations: { 'podseal.dev/note': 'x'.repeat(200_000) } }),
    message: tooMuchMetadata,
  },
  {
    title: 'a name of 10,000 characters',
    as: asPod,
    object: ({ pod }) =>
      signingRequest(pod.uid, { name: `podseal-${pod.uid}-${'0'.repeat(10_000)}` }),
    message: tooMuchMetadata,
  },
  {
    title: 'a token that is bound to no pod',
    as: ({ unbound }) => ({ token: unbound }),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notBound(0, 0),
  },
  {
    title: 'a node that asks in the name of a pod',
    as: asNode,
    object: ({ pod }) => signingRequest(pod.uid),
    message: notForPods(`system:node:${id}`),
  },
  {
    title: 'an administrator who asks in the name of a pod',
    as: asAdministrator,
    object: ({ pod }) => signingRequest(pod.uid),
    message: notForPods(`admin-${id}`),
  },
  {
    title: 'a user with a pod, but no service account',
    as: ({ pod }) =>
      impersonated(`system:serviceaccount:${id}`, podExtra([pod.name], [pod.uid]), [
        'system:masters',
      ]),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notForPods(`system:serviceaccount:${id}`),
  },
  {
    title: 'an impersonated service account without a pod',
    as: () => impersonated(accountName),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notBound(0, 0),
  },
  {
    title: 'a pod without its uid',
    as: ({ pod }) => impersonated(accountName, podExtra([pod.name], [])),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notBound(1, 0),
  },
  {
    title: 'a pod without its name',
    as: ({ pod }) => impersonated(accountName, podExtra([], [pod.uid])),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notBound(0, 1),
  },
  {
    title: 'two pod uids in one token',
    as: ({ pod, otherPod }) =>
      impersonated(accountName, podExtra([pod.name], [pod.uid, otherPod.uid])),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notBound(1, 2),
  },
  {
    title: 'two pod names in one token',
    as: ({ pod, otherPod }) =>
      impersonated(accountName, podExtra([pod.name, otherPod.name], [pod.uid])),
    object: ({ pod }) => signingRequest(pod.uid),
    message: notBound(2, 1),
  },
  {
    title: 'an empty pod uid',
    as: ({ pod }) => impersonated(accountName, podExtra([pod.name], [''])),
    object: () => signingRequest(''),
    message: notBound(1, 1),
  },
  {
    title: "a pod that takes another pod's name",
    as: asPod,
    object: ({ otherPod }) => signingRequest(otherPod.uid),
    message: wrongNameOfPod,
  },
  {
    title: "a pod uid that is the beginning of another's",
    as: ({ pod }) => impersonated(accountName, podExtra([pod.name], [pod.uid.slice(0, 8)])),
    object: ({ pod }) => signingRequest(pod.uid),
    message: ({ pod }) => wrongName(pod.uid.slice(0, 8)),
  },
  {
    title: 'a pod uid that is a pattern',
    as: ({ pod }) => impersonated(accountName, podExtra([pod.name], ['.*'])),
    object: ({ otherPod }) => signingRequest(otherPod.uid),
    message: wrongName('.*'),
  },
  named('a name of no meaning', () => `anything-${randomHex()}`),
  named('a name that only contains the right one', ({ pod }) => {
    return `x${requestName(pod.uid, randomHex())}`;
  }),
  named('31 digits', ({ pod }) => requestName(pod.uid, randomHex()).slice(0, -1)),
  named('33 digits', ({ pod }) => `${requestName(pod.uid, randomHex())}0`),
  named('32 characters that are no digits', ({ pod }) => requestName(pod.uid, 'g'.repeat(64))),
  named('31 digits and a line break', ({ pod }) => {
    return `${requestName(pod.uid, randomHex()).slice(0, -1)}\n`;
  }),
  named('digits in upper case', ({ pod }) => requestName(pod.uid, 'AB'.repeat(32))),
  named('digits with a dash among them', ({ pod }) => {
    return `podseal-${pod.uid}-0123456789abcdef-0123456789abcde`;
  }),
  {
    title: 'a generated name',
    as: asPod,
    object: ({ pod }) =>
      signingRequest(pod.uid, { name: undefined, generateName: `podseal-${pod.uid}-` }),
    message: generated,
  },
  {
    title: 'a generateName beside the right name',
    as: asPod,
    object: ({ pod }) => signingRequest(pod.uid, { generateName: 'podseal-' }),
    message: generated,
  },
  {
    title: 'a finalizer',
    as: asPod,
    object: ({ pod }) => signingRequest(pod.uid, { finalizers: ['example.com/never'] }),
    message: 'metadata has finalizers; send none, a request goes when it is deleted',
  },
  {
    title: 'an owner',
    as: asPod,
    object: ({ pod, namespaceUid }) => {
      const owner = { apiVersion: 'v1', kind: 'Namespace', name: namespace, uid: namespaceUid };
      return signingRequest(pod.uid, { ownerReferences: [owner] });
    },
    message: 'metadata has ownerReferences; send none, a request goes when it is deleted',
  },
  {
    title: 'an annotation that another signer would obey',
    as: asPod,
    object: ({ pod }) =>
      signingRequest(pod.uid, {
        annotations: { 'experimental.cert-manager.io/request-is-ca': 'true' },
      }),
    message: foreignKey('experimental.cert-manager.io/request-is-ca'),
  },
  {
    title: 'a label that others select by',
    as: asPod,
    object: ({ pod }) =>
      signingRequest(pod.uid, {
        labels: { 'podseal.dev/renewal': 'true', 'app.kubernetes.io/managed-by': 'Helm' },
      }),
    message: foreignKey('app.kubernetes.io/managed-by'),
  },
  ...['kubernetes.io/kube-apiserver-client', 'example.com/x'].flatMap((signer) => [
    {
      title: `a pod that addresses signer ${signer}`,
      as: asPod,
      object: ({ pod }: Users) => signingRequest(pod.uid, {}, { signerName: signer }),
      message: foreign(accountName, signer),
    },
    {
      title: `a service account without a pod that addresses signer ${signer}`,
      as: ({ unbound }: Users) => ({ token: unbound }),
      object: ({ pod }: Users) => signingRequest(pod.uid, {}, { signerName: signer }),
      message: foreign(accountName, signer),
    },
  ]),
  {
    title: 'a service account whose name begins like one of the platform',
    as: () => impersonated(`system:serviceaccount:kube-system-${id}:default`),
    object: ({ pod }) => signingRequest(pod.uid, {}, { signerName: 'example.com/x' }),
    message: foreign(`system:serviceaccount:kube-system-${id}:default`, 'example.com/x'),
  },
];

/** What has to go on as before. */
const honest: readonly Omit<Attack, 'message'>[] = [
  { title: 'a pod', as: asPod, object: ({ pod }) => signingRequest(pod.uid) },
  {
    title: 'a pod that renews',
    as: asPod,
    object: ({ pod }) => signingRequest(pod.uid, { labels: { 'podseal.dev/renewal': 'true' } }),
  },
  // Base64 of 16,384 is as long as that of 16,386.
  ...[16_382, 16_383, 16_384].map((bytes) => ({
    title: `a pod, ${bytes} bytes`,
    as: asPod,
    object: ({ pod }: Users) => signingRequest(pod.uid, {}, { request: padded(bytes) }),
  })),
  {
    title: 'a pod, for the second signer name',
    as: asPod,
    object: ({ pod }) => signingRequest(pod.uid, {}, { signerName: secondSignerName }),
  },
  {
    title: 'the other pod of the same service account',
    as: ({ otherPod }) => ({ token: otherPod.token }),
    object: ({ otherPod }) => signingRequest(otherPod.uid),
  },
  {
    title: 'an administrator in place of a pod, with true facts',
    as: ({ pod }) => impersonated(accountName, podExtra([pod.name], [pod.uid])),
    object: ({ pod }) => signingRequest(pod.uid),
  },
  ...['kubernetes.io/kube-apiserver-client-kubelet', 'kubernetes.io/kubelet-serving'].map(
    (signer) => ({
      title: `a kubelet for signer ${signer}`,
      as: asNode,
      object: ({ kubeletRequest }: Users) =>
        signingRequest(
          '',
          { name: undefined, generateName: 'csr-' },
          { signerName: signer, request: kubeletRequest },
        ),
    }),
  ),
  // Of a size at which a rule that counts would give up.
  ...['kubernetes.io/kube-apiserver-client', 'example.com/x'].map((signer) => ({
    title: `an administrator for signer ${signer}, of any name and size`,
    as: asAdministrator,
    object: () =>
      signingRequest(
        '',
        {
          name: `anything-${id}`,
          finalizers: ['example.com/mine'],
          annotations: { note: 'x'.repeat(200_000) },
        },
        { signerName: signer, request: padded(800_000), usages: ['client auth'] },
      ),
  })),
  {
    title: 'a service account of kube-system for a foreign signer',
    as: ({ controller }) => ({ token: controller }),
    object: () => signingRequest('', { name: `anything-${id}` }, { signerName: 'example.com/x' }),
  },
  {
    title: 'a service account of cert-manager for a foreign signer',
    as: () => impersonated(`system:serviceaccount:cert-manager:${id}`),
    object: () => signingRequest('', { name: `anything-${id}` }, { signerName: 'example.com/x' }),
  },
  {
    title: 'one service account on the list, for a foreign signer',
    as: () => impersonated(issuerName),
    object: () => signingRequest('', { name: `anything-${id}` }, { signerName: 'example.com/x' }),
  },
];

interface Stage {
  readonly users: Users;
  readonly scene: PodScene;
  readonly requester: Requester;
}

let stage: Stage | undefined;

function onStage(): Stage {
  ok(stage);
  return stage;
}

interface Answer {
  readonly status: number;
  readonly message: string;
}

/** Creates what is asked for, and deletes it again when it was created. */
async function tryToCreate({ as, object }: Omit<Attack, 'message'>): Promise<Answer> {
  const { users, requester } = onStage();
  const { status, body } = await requester.post(as(users), collection, object(users));
  const { message = '', metadata } = body as { message?: string; metadata: { name?: string } };
  if (status === 201 && metadata.name !== undefined) await remove(metadata.name);
  return { status, message };
}

async function remove(name: string): Promise<void> {
  const path = pathOf(name);
  await api.must('PATCH', path, { metadata: { finalizers: null } }, merge);
  await api.must('DELETE', path);
}

const pathOf = (name: string): string => `${collection}/${encodeURIComponent(name)}`;
const accountsOf = (inNamespace: string): string =>
  `/api/v1/namespaces/${inNamespace}/serviceaccounts`;

async function makeStage(): Promise<Stage> {
  const scene = await podScene(plane, { namespace });
  const otherPod = await createPod(api, { namespace, name: 'web-1' });
  const makeAccount = (inNamespace: string, name: string): Promise<unknown> =>
    api.must('POST', accountsOf(inNamespace), { metadata: { name } });
  const tokenOf = async (inNamespace: string, name: string): Promise<string> => {
    const path = `${accountsOf(inNamespace)}/${name}/token`;
    return ((await api.must('POST', path, { spec: {} })) as { status: { token: string } }).status
      .token;
  };
  const bind = (role: string, accounts: readonly (readonly [string, string])[]) =>
    api.must('POST', clusterRoleBindings, {
      metadata: { name: `${namespace}-${role}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: accounts.map((account) => ({
        kind: 'ServiceAccount',
        namespace: account[0],
        name: account[1],
      })),
    });
  await makeAccount('kube-system', namespace);
  await makeAccount(namespace, 'impersonator');
  await bind('cluster-admin', [[namespace, 'impersonator']]);
  await bind('podseal-workload', [
    ['kube-system', namespace],
    ['cert-manager', id],
    [namespace, 'issuer'],
    [`kube-system-${id}`, 'default'],
  ]);
  const subject = `/O=system:nodes/CN=system:node:${id}`;
  const kubelet = await openssl([
    'req',
    '-new',
    '-newkey',
    'ed25519',
    '-nodes',
    '-keyout',
    '/dev/null',
    '-subj',
    subject,
  ]);
  const made = await api.must('GET', `/api/v1/namespaces/${namespace}`);
  const users = {
    namespaceUid: (made as { metadata: { uid: string } }).metadata.uid,
    kubeletRequest: Buffer.from(kubelet.text).toString('base64'),
    pod: scene.pod,
    otherPod,
    unbound: await tokenOf(namespace, 'default'),
    controller: await tokenOf('kube-system', namespace),
  };
  const impersonator = await tokenOf(namespace, 'impersonator');
  return { users, scene, requester: requester(plane.serverUrl, plane.caPem, impersonator) };
}

before(async () => {
  stage = await makeStage();
  // The API server learns of the rights by a watch.
  const { users, requester } = stage;
  for (const { title, as } of [...attacks, ...honest])
    await until(`the right to create for: ${title}`, async () => {
      const path = `${collection}?dryRun=All`;
      const { status, body } = await requester.post(as(users), path, signingRequest(id));
      if (status !== 403) equal(status, 201, JSON.stringify(body));
      return status === 201;
    });
});

after(async () => {
  const ours = `?fieldSelector=${encodeURIComponent(`spec.signerName=${signerName}`)}`;
  await api.request('DELETE', collection + ours);
  for (const role of ['cluster-admin', 'podseal-workload'])
    await api.request('DELETE', `${clusterRoleBindings}/${namespace}-${role}`);
  await api.request('DELETE', `${clusterRoleBindings}/podseal-workload-${namespace}-default`);
  await api.request('DELETE', `${accountsOf('kube-system')}/${namespace}`);
  // There is no kubelet to end the pods, and a namespace waits for them.
  const path = `/api/v1/namespaces/${namespace}`;
  await api.request('DELETE', `${path}/pods?gracePeriodSeconds=0`);
  await api.request('DELETE', path);
  stage?.requester.close();
  await stage?.scene.close();
  api.close();
});

describe('the API server without the policy', { timeout: 120_000 }, () => {
  for (const attack of attacks)
    test(`admits ${attack.title}`, async () => {
      const { status, message } = await tryToCreate(attack);
      equal(status, 201, message);
    });

  test('keeps a request with a finalizer, whoever deletes it', async () => {
    const { users, requester } = onStage();
    const { pod } = users;
    const wanted = signingRequest(pod.uid, { finalizers: ['example.com/never'] });
    const path = pathOf(String(wanted.metadata['name']));
    equal((await requester.post({ token: pod.token }, collection, wanted)).status, 201);
    await api.must('DELETE', path);
    const left = (await api.must('GET', path)) as { metadata: { deletionTimestamp?: string } };
    ok(left.metadata.deletionTimestamp);
    await api.must('PATCH', path, { metadata: { finalizers: null } }, merge);
    equal((await api.request('GET', path)).status, 404);
  });
});

describe('the API server with the policy', { timeout: 120_000 }, () => {
  before(async () => {
    await api.must('POST', policies, policyForTest());
    await api.must('POST', bindings, bindingForTest());
    await until('the policy to be in force', async () => {
      const { users, requester } = onStage();
      const unnamed = signingRequest(users.pod.uid, { name: `anything-${id}` });
      const path = `${collection}?dryRun=All`;
      return (await requester.post({ token: users.pod.token }, path, unnamed)).status === 422;
    });
  });

  after(async () => {
    await api.request('DELETE', `${bindings}/${policyName}`);
    await api.request('DELETE', `${policies}/${policyName}`);
  });

  for (const attack of attacks)
    test(`refuses ${attack.title}`, async () => {
      const { status, message } = await tryToCreate(attack);
      equal(status, 422, message);
      const said = message.split(
        `ValidatingAdmissionPolicy '${policyName}' with binding '${policyName}' denied request: `,
      )[1];
      ok(said !== undefined, message);
      const expected =
        typeof attack.message === 'function' ? attack.message(onStage().users) : attack.message;
      if (typeof expected === 'string') equal(said, expected);
      else match(said, expected);
    });

  for (const request of honest)
    test(`admits ${request.title}`, async () => {
      const { status, message } = await tryToCreate(request);
      equal(status, 201, message);
    });

  test('admits what kubectl applies for an administrator', async () => {
    const name = `by-hand-${id}`;
    const object = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      ...signingRequest('', { name }, { signerName: 'example.com/x' }),
    };
    const asAdmin = ['--as', `admin-${id}`, '--as-group', 'system:masters'];
    const printed = await plane.kubectl([...asAdmin, 'apply', '-f', '-'], JSON.stringify(object));
    match(printed, /created/);
    await remove(name);
  });

  test('init gets its certificate', async () => {
    const { scene } = onStage();
    const person = administrator(api, signerName);
    const init = scene.run('init', { PODSEAL_SIGNER_NAME: signerName });
    await person.approveAndSign(await person.pending(), scene.ca);
    equal(await init.exit, 0, init.output());
  });

  test('init that asks for too much says what the policy says', async () => {
    const { scene } = onStage();
    const names = Array.from({ length: 240 }, (_, index) => `${'x'.repeat(60)}.a${index}.example`);
    const directory = join(scene.root, 'empty-volume');
    mkdirSync(directory);
    const init = scene.run('init', {
      PODSEAL_SIGNER_NAME: signerName,
      PODSEAL_DNS_NAMES: names.join(','),
      PODSEAL_DIR: directory,
    });
    const refused = (): LogLine | undefined =>
      init.lines().find(({ code }) => code === 'API_REFUSED');
    const { message } = await until('the refusal in the log', refused);
    match(message, /spec\.request has \d+ bytes, more than 16384; ask for fewer names/);
  });
});

describe('examples/admission/signing-requests.yaml', { timeout: 60_000 }, () => {
  test('is accepted as it is', async () => {
    const printed = await plane.kubectl(['apply', '--dry-run=server', '-f', file]);
    match(printed, /policy.* created \(server dry run\)\n.*policybinding.* created \(server/);
  });

  test('has no expression whose types do not fit', async () => {
    const [policy] = fromFile();
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
    equal(fromFile()[0].spec.failurePolicy, 'Fail');
  });

  test('names the signer that an agent asks by default', () => {
    const [policy] = fromFile();
    const list = policy.spec.variables.find(({ name }) => name === 'signerNames');
    equal(list?.expression, `['${agentSettings.PODSEAL_SIGNER_NAME}']`);
  });
});

interface TypeChecked {
  readonly status: {
    readonly observedGeneration?: number;
    readonly typeChecking?: { readonly expressionWarnings?: readonly unknown[] };
  };
}
