import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test, type TestContext } from 'node:test';
import { generateKey } from '../../src/node/key-generator.ts';
import { trustBundleName } from '../../src/kubernetes/trust-publication.ts';
import {
  type Certificate,
  certificatesFromPem,
  certificatesPem,
  subjectNamesIn,
} from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { type CaSecret } from '../../src/trust/ca-secret.ts';
import { verifyChain } from '../../src/trust/verify-chain.ts';
import { createPod, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { administrator } from '../support/administrator.ts';
import {
  conditionOf,
  namesOf,
  readRequest,
  requestFor,
  sendRequest,
  type SentSpec,
} from '../support/asking.ts';
import { newCa, type TestCa } from '../support/certificate-builders.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import {
  controllerSystem,
  type ControllerSystem,
  removeNamespace,
} from '../support/controllers.ts';
import { requester } from '../support/requester.ts';
import { until } from '../support/until.ts';

/**
 * `podseal signer` on a real API server: its CA, its bundle, and what it leaves alone. That it removes what is
 * finished after minutes, and what is abandoned, is tested with a clock that is moved by hand
 * (test/unit/janitor.test.ts) and with a hurried one (controller-rbac.test.ts).
 */

const plane = sharedControlPlane();
const { api } = plane;
const users = requester(plane.serverUrl, plane.caPem, '');
const shop = `shop-signer-${randomBytes(4).toString('hex')}`;
const merge = 'application/merge-patch+json';

before(async () => {
  await prepareNamespace(api, shop);
  await api.must('POST', `/api/v1/namespaces/${shop}/services`, {
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
  });
});
after(async () => {
  users.close();
  await removeNamespace(api, shop);
  api.close();
});

let pods = 0;
const newPod = (): Promise<TestPod> =>
  createPod(api, { namespace: shop, name: `web-${pods++}`, labels: { app: 'web' } });

const newSignerName = (): string => `test.podseal.dev/signer-${randomBytes(4).toString('hex')}`;

interface Scene {
  readonly system: ControllerSystem;
  readonly signerName: string;
  /** Asks as a new pod, unless another one is given; resolves to the request's name. */
  ask(spec?: Partial<SentSpec>, pod?: TestPod): Promise<string>;
  /** As a person; of this signer name, unless another one is given. */
  approve(name: string): Promise<void>;
  /** A request that was approved, and the chain that was issued for it. */
  issued(): Promise<readonly Certificate[]>;
  /** What stands in Secret, ConfigMap and ClusterTrustBundle; undefined: it is not there. */
  secret(): Promise<CaSecret | undefined>;
  published(): Promise<Readonly<Record<string, string>> | undefined>;
  clusterBundle(): Promise<string | undefined>;
  store(secret: CaSecret): Promise<void>;
}

async function sceneFor(t: TestContext): Promise<Scene> {
  const signerName = newSignerName();
  const system = await controllerSystem(plane, { signerNames: [signerName] });
  t.after(() => system.close());
  const inNamespace = `/api/v1/namespaces/${system.namespace}`;
  const dataOf = async (path: string): Promise<Record<string, string> | undefined> => {
    const { status, body } = await api.request('GET', `${inNamespace}/${path}`);
    return status === 200 ? ((body as { data?: Record<string, string> }).data ?? {}) : undefined;
  };
  const scene: Scene = {
    system,
    signerName,
    async ask(spec = {}, pod) {
      const asking = pod ?? (await newPod());
      const request = requestFor(namesOf(asking, 'web'));
      return sendRequest(users, { token: asking.token }, { signerName, ...spec }, { request });
    },
    approve: (name) => administrator(api, signerName).decide(name, 'Approved'),
    async issued() {
      const name = await scene.ask();
      await scene.approve(name);
      const base64 = await until(
        'a certificate',
        async () => (await readRequest(api, name))?.status.certificate,
      );
      return certificatesFromPem(Buffer.from(base64, 'base64').toString());
    },
    async secret() {
      const data = await dataOf('secrets/podseal-ca');
      const entry = (key: string): string => Buffer.from(data?.[key] ?? '', 'base64').toString();
      return (
        data && { certificate: entry('tls.crt'), key: entry('tls.key'), root: entry('ca.crt') }
      );
    },
    published: () => dataOf('configmaps/podseal-trust'),
    async clusterBundle() {
      const { body } = await api.request('GET', clusterBundlePath(signerName));
      return (body as { spec?: { trustBundle: string } }).spec?.trustBundle;
    },
    async store({ certificate = '', key = '', root = '' }) {
      const base64 = (text: string): string => Buffer.from(text).toString('base64');
      const data = {
        'tls.crt': base64(certificate),
        'tls.key': base64(key),
        'ca.crt': base64(root),
      };
      const path = `${inNamespace}/secrets`;
      const { status } = await api.request('PATCH', `${path}/podseal-ca`, { data }, merge);
      if (status !== 404) return;
      await api.must('POST', path, {
        metadata: { name: 'podseal-ca' },
        type: 'kubernetes.io/tls',
        data,
      });
    },
  };
  return scene;
}

const clusterBundlePath = (signerName: string): string =>
  `/apis/certificates.k8s.io/v1/clustertrustbundles/${trustBundleName(signerName)}`;

const validity = {
  notBefore: new Date(Date.now() - 86_400_000),
  notAfter: new Date(Date.now() + 30 * 86_400_000),
};
const caNamed = (commonName: string, more: Parameters<typeof newCa>[0] = {}): TestCa =>
  newCa({ commonName: `${commonName} ${randomBytes(4).toString('hex')}`, validity, ...more });
const secretOf = (ca: TestCa, root = ca): CaSecret => ({
  certificate: ca.pem,
  key: privateKeyPem(ca.keyPair),
  root: root.pem,
});
const bundle = (...cas: readonly TestCa[]): string =>
  bundleOf(cas.map(({ certificate }) => certificate)).pem;

/** Whether the chain leads to one of these roots. */
function verdictOf(
  [leaf, ...above]: readonly Certificate[],
  roots: readonly Certificate[],
): string {
  assert.ok(leaf);
  return verifyChain(leaf, above, bundleOf(roots), new Date()).kind;
}

describe('the signer and its CA', () => {
  test('makes one, publishes its root, and signs below it', async (t) => {
    const scene = await sceneFor(t);
    const signer = await scene.system.start('signer');
    const chain = await scene.issued();
    const secret = await scene.secret();
    const [ca] = certificatesFromPem(secret?.certificate ?? '');
    const [root] = certificatesFromPem(secret?.root ?? '');
    assert.ok(ca && root);
    assert.deepEqual(chain.map(({ fingerprint }) => fingerprint).slice(1), [ca.fingerprint]);
    assert.equal(verdictOf(chain, [root]), 'trusted');
    const published = await scene.published();
    assert.deepEqual(published, {
      'ca.crt': certificatesPem([root]),
      'signing-ca.crt': certificatesPem([ca, root]),
    });
    assert.equal(await scene.clusterBundle(), certificatesPem([root]));
    await signer.ready();
  });

  test('makes exactly one where two replicas begin at once, without a lease', async (t) => {
    const scene = await sceneFor(t);
    const changes = { PODSEAL_LEASE: 'off' };
    const both = await Promise.all([
      scene.system.start('signer', { ...changes, POD_NAME: 'a' }),
      scene.system.start('signer', { ...changes, POD_NAME: 'b' }),
    ]);
    const signs = await Promise.all(both.map((each) => each.logged('ca.signs')));
    const [ca] = certificatesFromPem((await scene.secret())?.certificate ?? '');
    assert.deepEqual(
      signs.map((line) => line['fingerprint']),
      [ca?.fingerprint, ca?.fingerprint],
    );
    const made = both.flatMap((each) => each.lines()).filter(({ event }) => event === 'ca.made');
    assert.equal(made.length, 1);
    assert.equal(certificatesFromPem((await scene.published())?.['ca.crt'] ?? '').length, 1);
  });

  for (const [what, make] of [
    [
      'a root with an RSA key',
      async () => secretOf(caNamed('rsa', { keyPair: await generateKey('RSA2048') })),
    ],
    [
      'an intermediate with its root, as cert-manager and Vault write it',
      () => {
        const root = caNamed('root');
        return secretOf(caNamed('intermediate', { parent: root }), root);
      },
    ],
  ] as const)
    test(`signs with ${what}`, async (t) => {
      const scene = await sceneFor(t);
      const secret = await make();
      await scene.store(secret);
      await scene.system.start('signer');
      const chain = await scene.issued();
      assert.equal(verdictOf(chain, certificatesFromPem(secret.root ?? '')), 'trusted');
      assert.equal((await scene.published())?.['ca.crt'], secret.root);
    });

  test('goes on with the last good one when its Secret is bad or deleted, and says why', async (t) => {
    const scene = await sceneFor(t);
    const [good, other] = [caNamed('good'), caNamed('other')];
    await scene.store(secretOf(good));
    const signer = await scene.system.start('signer');
    const refusals = (): string[] =>
      signer.lines().flatMap(({ event, message }) => (event === 'ca.refused' ? [message] : []));
    assert.equal(verdictOf(await scene.issued(), [good.certificate]), 'trusted');
    const expired = caNamed('x', { validity: { ...validity, notAfter: new Date(Date.now() - 1) } });
    const changes: readonly (readonly [RegExp, () => Promise<unknown>])[] = [
      [
        /tls\.key does not belong/,
        () => scene.store({ ...secretOf(good), key: privateKeyPem(other.keyPair) }),
      ],
      [/expired at/, () => scene.store(secretOf(expired))],
      [
        /not the certificate of a CA/,
        () => scene.store(secretOf(caNamed('none', { isCa: false }))),
      ],
      [
        /does not lead to the root/,
        () => scene.store(secretOf(caNamed('low', { parent: good }), other)),
      ],
      [
        /there is no such Secret/,
        () => api.must('DELETE', `/api/v1/namespaces/${scene.system.namespace}/secrets/podseal-ca`),
      ],
    ];
    for (const [why, change] of changes) {
      await change();
      await until(`a refusal: ${why.source}`, () => refusals().some((line) => why.test(line)));
      assert.equal(verdictOf(await scene.issued(), [good.certificate]), 'trusted');
      assert.equal(await signer.metric('podseal_signer_ca_usable'), 0);
    }
    assert.equal((await scene.published())?.['ca.crt'], good.pem);
    await scene.store(secretOf(good));
    await until(
      'the Secret to be used',
      async () => (await signer.metric('podseal_signer_ca_usable')) === 1,
    );
  });

  test('marks nothing Failed while there is no CA to sign with, and signs when there is', async (t) => {
    const scene = await sceneFor(t);
    await scene.store({ certificate: 'x', key: 'y', root: '' });
    const signer = await scene.system.start('signer');
    await signer.logged('ca.refused');
    const name = await scene.ask();
    await scene.approve(name);
    assert.equal((await signer.get('/readyz')).status, 503);
    assert.match(
      (await signer.get('/readyz')).body,
      /no CA in Secret .*: tls\.crt holds no certificate/,
    );
    const ca = caNamed('late');
    await scene.store(secretOf(ca));
    await until('a certificate', async () => (await readRequest(api, name))?.status.certificate);
    await signer.ready();
  });

  test('publishes another one before it signs, and lets it settle', async (t) => {
    const scene = await sceneFor(t);
    const [old, next] = [caNamed('old'), caNamed('next')];
    await scene.store(secretOf(old));
    const signer = await scene.system.start('signer', { PODSEAL_CA_SETTLE: '3s' });
    assert.equal(verdictOf(await scene.issued(), [old.certificate]), 'trusted');
    await scene.store(secretOf(next));
    await until(
      'both roots',
      async () => (await scene.published())?.['ca.crt'] === bundle(old, next),
    );
    await until(
      'both in the ClusterTrustBundle',
      async () => (await scene.clusterBundle()) === bundle(old, next),
    );
    const signs = (): unknown =>
      signer.lines().findLast(({ event }) => event === 'ca.signs')?.['fingerprint'];
    assert.equal(signs(), old.certificate.fingerprint);
    await until('the next one to sign', () => signs() === next.certificate.fingerprint);
    assert.equal(verdictOf(await scene.issued(), [next.certificate]), 'trusted');
    const published = await scene.published();
    assert.equal(published?.['ca.crt'], bundle(old, next), 'what the old one signed is out there');
    assert.equal(published['signing-ca.crt'], next.pem);
  });

  test('restores its bundle within 15 seconds when it is edited or deleted', async (t) => {
    const scene = await sceneFor(t);
    await scene.system.start('signer');
    const good = await until('a bundle', async () =>
      (await scene.clusterBundle()) ? scene.published() : undefined,
    );
    const stranger = caNamed('stranger').pem;
    const configMap = `/api/v1/namespaces/${scene.system.namespace}/configmaps/podseal-trust`;
    const clusterBundle = clusterBundlePath(scene.signerName);
    const bundlePem = good['ca.crt'] ?? '';
    const edits: readonly (() => Promise<unknown>)[] = [
      async () => {
        await api.must('PATCH', configMap, { data: { 'ca.crt': bundlePem + stranger } }, merge);
        const spec = { trustBundle: bundlePem + stranger };
        await api.must('PATCH', clusterBundle, { spec }, merge);
      },
      async () => {
        await api.must('DELETE', configMap);
        await api.must('DELETE', clusterBundle);
      },
    ];
    for (const edit of edits) {
      const startedAt = Date.now();
      await edit();
      await until('the bundle as it was', async () => {
        const published = await scene.published();
        const isRestored = published?.['ca.crt'] === bundlePem;
        return isRestored && (await scene.clusterBundle()) === bundlePem;
      });
      // 15 seconds, and what a busy machine takes.
      assert.ok(Date.now() - startedAt < 20_000);
      assert.deepEqual(await scene.published(), good);
    }
  });
});

describe('what the signer publishes', () => {
  interface Owned {
    readonly metadata: { readonly ownerReferences?: readonly Readonly<Record<string, string>>[] };
  }
  /** ConfigMap and ClusterTrustBundle. */
  const pathsOf = ({ system, signerName }: Scene): readonly string[] => [
    `/api/v1/namespaces/${system.namespace}/configmaps/podseal-trust`,
    clusterBundlePath(signerName),
  ];
  /** Of both; undefined: it is not there. */
  const ownersOf = (scene: Scene) =>
    Promise.all(
      pathsOf(scene).map(async (path) => {
        const { status, body } = await api.request('GET', path);
        return status === 200 ? ((body as Owned).metadata.ownerReferences ?? []) : undefined;
      }),
    );
  const owned = (scene: Scene) =>
    until('owners', async () => (await ownersOf(scene)).every((owners) => owners?.length));
  const roleOf = ({ system }: Scene): string =>
    `/apis/rbac.authorization.k8s.io/v1/clusterroles/${system.namespace.replace('podseal', 'podseal-signer')}`;

  test('goes with the ClusterRole of the signer', async (t) => {
    const scene = await sceneFor(t);
    const signer = await scene.system.start('signer');
    const role = (await api.must('GET', roleOf(scene))) as { metadata: Record<string, string> };
    const { name, uid } = role.metadata;
    const owner = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', name, uid };
    await owned(scene);
    assert.deepEqual(await ownersOf(scene), [[owner], [owner]]);
    // An older version left one without an owner, with other roots.
    await signer.stop();
    await api.must('DELETE', clusterBundlePath(scene.signerName));
    await api.must('POST', clusterBundlePath(scene.signerName).replace(/[^/]*$/, ''), {
      metadata: { name: trustBundleName(scene.signerName) },
      spec: { signerName: scene.signerName, trustBundle: caNamed('former').pem },
    });
    const next = await scene.system.start('signer');
    await owned(scene);
    assert.deepEqual(await ownersOf(scene), [[owner], [owner]]);
    assert.equal(await scene.clusterBundle(), (await scene.published())?.['ca.crt']);
    await next.stop();
    await api.must('DELETE', roleOf(scene));
    await until('both to be collected', async () =>
      (await ownersOf(scene)).every((owners) => owners === undefined),
    );
  });

  test('is published without an owner where there is no such role, and that is said once', async (t) => {
    const scene = await sceneFor(t);
    const signer = await scene.system.start('signer', { PODSEAL_CLUSTER_ROLE: 'not-there' });
    const { message } = await signer.logged('trust.unowned');
    assert.match(message, /would outlive Podseal: Cannot get ClusterRole "not-there"/);
    await scene.issued();
    await scene.store(secretOf(caNamed('next')));
    await until(
      'another look',
      async () => (await scene.clusterBundle())?.split('BEGIN').length === 3,
    );
    assert.deepEqual(await ownersOf(scene), [[], []]);
    assert.equal(signer.lines().filter(({ event }) => event === 'trust.unowned').length, 1);
  });
});

describe('the signer and requests', () => {
  test('signs what a person approved, and marks Failed what breaks rules, with every reason', async (t) => {
    const scene = await sceneFor(t);
    await scene.system.start('signer');
    const person = administrator(api, scene.signerName);
    const pod = await newPod();
    const send = (request: string, spec: Partial<SentSpec> = {}): Promise<string> =>
      sendRequest(
        users,
        { token: pod.token },
        { signerName: scene.signerName, ...spec },
        { request },
      );
    // Another pod's names: the person's decision.
    const wide = await send(requestFor({ dnsNames: ['db.bank.svc'] }));
    await person.decide(wide, 'Approved');
    const base64 = await until(
      'a certificate',
      async () => (await readRequest(api, wide))?.status.certificate,
    );
    const [leaf] = certificatesFromPem(Buffer.from(base64, 'base64').toString());
    assert.ok(leaf);
    assert.deepEqual(subjectNamesIn(leaf).dnsNames, ['db.bank.svc']);
    const bad = await send(requestFor({ dnsNames: ['google.com', 'Web.shop.svc'] }), {
      usages: ['code signing', 'server auth'],
      expirationSeconds: 2 ** 31 - 1,
    });
    await person.decide(bad, 'Approved');
    const message = await until('Failed', async () =>
      conditionOf(await readRequest(api, bad), 'Failed'),
    );
    for (const line of [
      /^- well-formed-names "Web\.shop\.svc": /m,
      /^- usages "code signing": /m,
      /^- lifetime "2147483647s": /m,
      /^- ca-constraints "google\.com": /m,
    ])
      assert.match(message, line);
    assert.equal((await readRequest(api, bad))?.status.certificate, undefined);
  });

  test('removes at once what one pod asks for too much, the newest, and nothing of other pods', async (t) => {
    const scene = await sceneFor(t);
    const signer = await scene.system.start('signer');
    await signer.ready();
    const [pod, other] = [await newPod(), await newPod()];
    const ofOther = await scene.ask({}, other);
    const names: string[] = [];
    for (let i = 0; i < 3; i++) names.push(await scene.ask({}, pod));
    // Times of creation have whole seconds: the next one is to be the newest.
    await until('another second', () => Date.now() % 1000 < 100);
    const excess = [await scene.ask({}, pod), await scene.ask({}, pod)];
    for (const name of excess)
      await until(
        'the excess to be gone',
        async () => (await readRequest(api, name)) === undefined,
      );
    for (const name of [...names, ofOther]) assert.ok(await readRequest(api, name), name);
    assert.equal(await signer.metric('podseal_signer_removed_total', { why: 'excess' }), 2);
  });
});

describe('approver and signer beside other signers', () => {
  const foreign = [
    'kubernetes.io/kube-apiserver-client',
    'issuers.cert-manager.io/shop.corporate',
    'test.podseal.dev/somebody-else',
  ] as const;

  test('touch nothing of theirs, and let them work', async (t) => {
    const scene = await sceneFor(t);
    await Promise.all([scene.system.start('signer'), scene.system.start('approver')]);
    const pod = await newPod();
    const usages = ['digital signature', 'client auth'];
    const asked = async (signerName: string, decision?: 'Approved' | 'Denied'): Promise<string> => {
      const request = requestFor(namesOf(pod, 'web'));
      const sent = { signerName, usages };
      const name = await sendRequest(users, { token: pod.token }, sent, { request });
      t.after(() =>
        api.request('DELETE', `/apis/certificates.k8s.io/v1/certificatesigningrequests/${name}`),
      );
      if (decision) await administrator(api, signerName).decide(name, decision);
      return name;
    };
    const names: string[] = [];
    for (const signerName of foreign)
      // More than three of one pod, which would be too many of ours.
      for (const decision of [undefined, undefined, undefined, 'Denied', 'Denied'] as const)
        names.push(await asked(signerName, decision));
    for (const signerName of foreign.slice(1)) names.push(await asked(signerName, 'Approved'));
    const byKubernetes = await asked(foreign[0], 'Approved');
    const before = await Promise.all(names.map((name) => readRequest(api, name)));

    // Its own signer works on while ours does, with a certificate of its own CA.
    const certificate = await until(
      "kube-controller-manager's certificate",
      async () => (await readRequest(api, byKubernetes))?.status.certificate,
    );
    const [leaf] = certificatesFromPem(Buffer.from(certificate, 'base64').toString());
    const [root] = certificatesFromPem(await scene.system.bundle());
    assert.ok(leaf && root);
    assert.notEqual(verdictOf([leaf], [root]), 'trusted');

    // What came later of ours is approved, signed, and removed where it is too much: theirs was passed over.
    const own = await scene.ask();
    await until(
      'a certificate of ours',
      async () => (await readRequest(api, own))?.status.certificate,
    );
    const greedy = await newPod();
    const wanting = { signerName: scene.signerName };
    const request = requestFor({ dnsNames: [`missing.${shop}.svc`] });
    const waiting: string[] = [];
    for (let i = 0; i < 4; i++)
      waiting.push(await sendRequest(users, { token: greedy.token }, wanting, { request }));
    await until('the excess of ours to be gone', async () => {
      const left = await Promise.all(waiting.map((name) => readRequest(api, name)));
      return left.includes(undefined);
    });
    assert.deepEqual(await Promise.all(names.map((name) => readRequest(api, name))), before);
  });
});
