import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test, type TestContext } from 'node:test';
import { listingOf } from '../../src/kubernetes/listing.ts';
import { readServices } from '../../src/node/pod-files.ts';
import { startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { type ApiClient } from '../cluster/api-client.ts';
import { createPod, prepareNamespace } from '../cluster/pod.ts';
import { newCa } from '../support/certificate-builders.ts';
import { installedWebhooks } from '../support/injector-scene.ts';
import {
  callsOf,
  granted,
  installInjector,
  type PublishingReplica,
  type ReplicaOptions,
  startPublishing,
  systemNamespace,
  webhookName,
} from '../support/publishing.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { until } from '../support/until.ts';

/**
 * What the injector publishes, on a real API server of its own: it writes into every namespace that is
 * labelled, so two of them would fight. What happens after minutes: test/unit/rounds.test.ts.
 */

let plane: ControlPlane;
let api: ApiClient;
let token = '';
let rootPem = '';
const running: PublishingReplica[] = [];
/** Of every replica of this file. */
const used = new Set<string>();

const merge = 'application/merge-patch+json';
const webhooks = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
const trustPath = `/api/v1/namespaces/${systemNamespace}/configmaps`;
const web = new Map([['app', 'web']]);
const injecting = { 'podseal.dev/inject': 'enabled' };
const bothNames = ['podseal-services', 'podseal-trust'] as const;

before(async () => {
  plane = await startControlPlane();
  ({ api } = plane);
  token = await installInjector(plane);
  rootPem = newCa({ commonName: 'first' }).pem;
  await api.must('POST', trustPath, {
    metadata: { name: 'podseal-trust' },
    data: { 'ca.crt': rootPem, 'signing-ca.crt': rootPem },
  });
  await createConfiguration();
});
after(() => plane.down());
afterEach(async () => {
  for (const replica of running.splice(0)) {
    await replica.stop();
    for (const each of replica.used) used.add(each);
  }
});

async function start(options: Partial<ReplicaOptions> = {}): Promise<PublishingReplica> {
  const replica = startPublishing(plane, { token, ...options });
  running.push(replica);
  await replica.synced();
  return replica;
}

/** Nothing is served there: no pod of this file is to be injected. */
async function createConfiguration(): Promise<void> {
  await api.must('POST', webhooks, {
    metadata: { name: webhookName },
    webhooks: installedWebhooks(),
  });
}

let namespaces = 0;

async function newNamespace(labels: Readonly<Record<string, string>> = {}): Promise<string> {
  const name = `shop-${namespaces++}`;
  await api.must('POST', '/api/v1/namespaces', { metadata: { name, labels } });
  return name;
}

async function newService(namespace: string, name: string, app = name): Promise<void> {
  await api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
    metadata: { name },
    spec: { selector: { app }, ports: [{ port: 443 }] },
  });
}

interface ConfigMap {
  readonly metadata: {
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: object;
  readonly immutable?: boolean;
}

const pathOf = (namespace: string, name: string): string =>
  `/api/v1/namespaces/${namespace}/configmaps/${name}`;

async function configMap(namespace: string, name: string): Promise<ConfigMap | undefined> {
  const { status, body } = await api.request('GET', pathOf(namespace, name));
  return status === 200 ? (body as ConfigMap) : undefined;
}

const trustIn = async (namespace: string): Promise<string | undefined> =>
  (await configMap(namespace, 'podseal-trust'))?.data?.['ca.crt'];

/** Names of the Services in the published file. */
async function servicesIn(namespace: string): Promise<readonly string[] | undefined> {
  const text = (await configMap(namespace, 'podseal-services'))?.data?.['services.json'];
  const services = text === undefined ? undefined : (JSON.parse(text) as { name: string }[]);
  return services?.map(({ name }) => name);
}

async function both(namespace: string): Promise<readonly ConfigMap[] | undefined> {
  const found = await Promise.all(bothNames.map((name) => configMap(namespace, name)));
  return found.every((each) => each !== undefined) ? found : undefined;
}

const written = (replica: PublishingReplica, write?: string): number =>
  replica.metrics.counted('podseal_injector_publications_total', write ? { write } : {});

const refused = (replica: PublishingReplica): readonly string[] =>
  replica.logged.lines
    .filter(({ fields }) => fields['code'] === 'API_FORBIDDEN')
    .map(({ message }) => message);

describe('published ConfigMaps', () => {
  test('of fifty namespaces, and one write for each change', async (t) => {
    const names = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        newNamespace(i % 2 === 0 ? injecting : { 'podseal.dev/publish': 'enabled' }),
      ),
    );
    for (const name of names)
      await Promise.all(['a', 'b', 'c', 'web'].map((each) => newService(name, each)));
    const [changed = '', ...others] = names;
    const replica = await start();
    await until('everything to be published', async () => {
      const found = await Promise.all(names.map(both));
      return found.every((each) => each !== undefined);
    });
    equal(written(replica), 100);
    const path = join(temporaryDirectory(t), 'services.json');
    for (const name of names) {
      const [services, trust] = (await both(name)) ?? [];
      equal(trust?.data?.['ca.crt'], rootPem);
      writeFileSync(path, services?.data?.['services.json'] ?? '');
      const read = readServices(path, web, []);
      deepEqual(read.kind === 'read' && read.services.map((each) => each.name), ['web']);
    }
    // A burst: gathered, and then at most one write a second.
    await Promise.all(Array.from({ length: 20 }, (_, i) => newService(changed, `more-${i}`)));
    await until('the new Services', async () => ((await servicesIn(changed)) ?? []).length === 24);
    const writes = written(replica) - 100;
    ok(writes >= 1 && writes <= 3, `${writes} writes`);
    await api.must('DELETE', `/api/v1/namespaces/${changed}/services/more-0`);
    await until('one less', async () => ((await servicesIn(changed)) ?? []).length === 23);
    equal(written(replica), 100 + writes + 1);
    const touched = new Set(
      replica.calls.filter((call) => call.startsWith('PATCH /api/v1/namespaces')),
    );
    deepEqual([...touched], [`PATCH ${pathOf(changed, 'podseal-services')}`]);
    deepEqual(await servicesIn(others[0] ?? ''), ['a', 'b', 'c', 'web']);
    deepEqual(refused(replica), []);
  });

  test('are restored when deleted, edited, disowned or made immutable', async () => {
    const namespace = await newNamespace(injecting);
    await newService(namespace, 'web');
    const replica = await start();
    const before = await until('both', () => both(namespace));
    const essence = (each: ConfigMap) => ({
      data: each.data,
      binaryData: each.binaryData,
      immutable: each.immutable,
      label: each.metadata.labels?.['app.kubernetes.io/managed-by'],
      owners: each.metadata.ownerReferences,
    });
    const stranger = newCa({ commonName: 'stranger' }).pem;
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: 'none' };
    const edits: readonly (readonly [string, (name: string) => Promise<unknown>])[] = [
      ['deleted', (name) => api.must('DELETE', pathOf(namespace, name))],
      ...[
        { data: { 'ca.crt': rootPem + stranger, 'services.json': '[\n]\n' } },
        { data: { more: 'x' } },
        { data: null, binaryData: { 'ca.crt': 'eA==', 'services.json': 'eA==' } },
        { metadata: { labels: null } },
        { metadata: { ownerReferences: null } },
        { metadata: { ownerReferences: [owner] } },
        { immutable: true },
        { data: { 'ca.crt': stranger, 'services.json': '[\n]\n' }, immutable: true },
      ].map(
        (change) =>
          [
            JSON.stringify(change).slice(0, 60),
            (name: string) => api.must('PATCH', pathOf(namespace, name), change, merge),
          ] as const,
      ),
    ];
    for (const [what, edit] of edits) {
      const seen = await both(namespace);
      for (const name of bothNames) await edit(name);
      await until(`both as they were: ${what}`, async () => {
        const now = await both(namespace);
        const isWritten = now?.every(
          ({ metadata }, i) => metadata.resourceVersion !== seen?.[i]?.metadata.resourceVersion,
        );
        return (
          isWritten && JSON.stringify(now?.map(essence)) === JSON.stringify(before.map(essence))
        );
      });
    }
    deepEqual(refused(replica), []);
  });

  test('follow the trust bundle, and no empty or broken one', async () => {
    const all = await Promise.all([1, 2, 3].map(() => newNamespace(injecting)));
    const replica = await start();
    const everywhere = (pem: string): Promise<unknown> =>
      until('the bundle everywhere', async () => {
        const found = await Promise.all(all.map(trustIn));
        return found.every((each) => each === pem);
      });
    await everywhere(rootPem);
    const set = (pem: string): Promise<unknown> =>
      api.must('PATCH', `${trustPath}/podseal-trust`, { data: { 'ca.crt': pem } }, merge);
    const unusable = (): number =>
      replica.logged.events().filter((event) => event === 'trust.unusable').length;
    for (const bad of ['', 'x', rootPem.replace('MII', 'MIX')]) {
      const earlier = unusable();
      await set(bad);
      await until('it to be seen', () => unusable() > earlier);
    }
    await api.must('DELETE', `${trustPath}/podseal-trust`);
    // Something to be written, so that the replica is known to have seen what came before.
    const [first = ''] = all;
    await newService(first, 'web');
    await until('the Service', async () => (await servicesIn(first))?.includes('web'));
    await everywhere(rootPem);
    rootPem += newCa({ commonName: 'second' }).pem;
    await api.must('POST', trustPath, {
      metadata: { name: 'podseal-trust' },
      data: { 'ca.crt': rootPem },
    });
    await everywhere(rootPem);
    await until('the webhook to be trusted by it', async () => (await caBundles())[0] === rootPem);
  });

  test('are taken over where somebody else made them, in labelled namespaces alone', async () => {
    const [labelled, other] = await Promise.all([newNamespace(injecting), newNamespace()]);
    for (const namespace of [labelled, other])
      await api.must('POST', `/api/v1/namespaces/${namespace}/configmaps`, {
        metadata: { name: 'podseal-trust' },
        data: { 'ca.crt': 'planted' },
      });
    await start();
    await until('ours', async () => (await trustIn(labelled)) === rootPem);
    equal(await trustIn(other), 'planted');
    equal(await servicesIn(other), undefined);
  });

  test('go when no label and no pod needs them; those of others stay', async () => {
    const [idle, used, late] = await Promise.all([1, 2, 3].map(() => newNamespace(injecting)));
    ok(idle && used && late);
    await prepareNamespace(api, used);
    await createPod(api, {
      namespace: used,
      name: 'web',
      labels: { app: 'web', 'podseal.dev/agent': 'injected' },
    });
    const replica = await start({ sweepMs: 500, spareMs: 300 });
    await until('both', async () => (await both(idle)) && (await both(used)) && both(late));
    for (const namespace of [idle, used, late])
      await api.must(
        'PATCH',
        `/api/v1/namespaces/${namespace}`,
        { metadata: { labels: { 'podseal.dev/inject': null } } },
        merge,
      );
    await until('what nobody needs to go', async () => {
      const found = await Promise.all([idle, late].map(both));
      return found.every((each) => each === undefined);
    });
    ok(await both(used));
    equal(written(replica, 'remove'), 4);
    // Restored though it is not labelled, and there again for a pod that comes.
    await api.must('DELETE', pathOf(used, 'podseal-trust'));
    await until('it to be restored', () => both(used));
    deepEqual(await replica.ensure(late, web), []);
    ok(await both(late));
  });

  test('of a file that is too large stay as they were, and it is said', async () => {
    const namespace = await newNamespace(injecting);
    await newService(namespace, 'web');
    const replica = await start();
    await until('both', () => both(namespace));
    const before = await servicesIn(namespace);
    const selector = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, i) => [`${'k'.repeat(150)}.example/${i}`, 'v'.repeat(50)]),
    );
    await api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
      metadata: { name: 'large' },
      spec: { selector, ports: [{ port: 443 }] },
    });
    await until('it to be said', () => replica.logged.events().includes('publication.large'));
    const warnings = await replica.ensure(namespace, web);
    match(warnings.join('\n'), new RegExp(`namespace ${namespace} make 1\\d{6} bytes`));
    replica.updateGauges();
    equal(replica.metrics.gauge('podseal_injector_namespaces_too_large'), 1);
    deepEqual(await servicesIn(namespace), before);
    await api.must('DELETE', `/api/v1/namespaces/${namespace}/services/large`);
    await newService(namespace, 'small');
    await until('the newest', async () => (await servicesIn(namespace))?.includes('small'));
    replica.updateGauges();
    equal(replica.metrics.gauge('podseal_injector_namespaces_too_large'), 0);
  });
});

describe('ensure()', () => {
  test('publishes before the pod, and makes no call when all is current', async () => {
    const replica = await start({ followsOnly: true });
    const namespace = await newNamespace();
    await newService(namespace, 'web');
    deepEqual(await replica.ensure(namespace, web), []);
    deepEqual(await servicesIn(namespace), ['web']);
    equal(await trustIn(namespace), rootPem);
    await until('the caches to know', async () => {
      const callsBefore = replica.calls.length;
      deepEqual(await replica.ensure(namespace, web), []);
      return replica.calls.length === callsBefore;
    });
  });

  test('knows a Service that was made a moment before', async () => {
    const replica = await start({ followsOnly: true });
    for (let i = 0; i < 20; i++) {
      const namespace = await newNamespace();
      await newService(namespace, 'first');
      await replica.ensure(namespace, new Map([['app', 'first']]));
      await newService(namespace, 'second');
      await replica.ensure(namespace, new Map([['app', 'second']]));
      deepEqual(await servicesIn(namespace), ['first', 'second']);
    }
  });

  test('by three replicas at once, of a hundred pods', async () => {
    const replicas = await Promise.all([
      start({ followsOnly: true }),
      start({ followsOnly: true }),
      start(),
    ]);
    const namespace = await newNamespace(injecting);
    await newService(namespace, 'web');
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        (replicas[i % 3] ?? replicas[0]).ensure(namespace, web),
      ),
    );
    deepEqual(answers.flat(), []);
    deepEqual(await servicesIn(namespace), ['web']);
    // Somebody's edit is overcome by all of them at once.
    await api.must(
      'PATCH',
      pathOf(namespace, 'podseal-services'),
      { data: { 'services.json': 'x' } },
      merge,
    );
    await newService(namespace, 'late');
    const late = new Map([['app', 'late']]);
    await Promise.all(replicas.map((each) => each.ensure(namespace, late)));
    deepEqual(await servicesIn(namespace), ['late', 'web']);
    // And nobody takes it back.
    const writes = (): number => replicas.reduce((sum, each) => sum + written(each), 0);
    await until('quiet', async () => {
      const earlier = writes();
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      return writes() === earlier;
    });
    deepEqual(await servicesIn(namespace), ['late', 'web']);
    deepEqual(replicas.flatMap(refused), []);
  });

  test('of a namespace that is being deleted, or that is not there, is quiet', async () => {
    const replica = await start({ followsOnly: true });
    const namespace = await newNamespace();
    await api.must(
      'PATCH',
      `/api/v1/namespaces/${namespace}`,
      {
        metadata: { finalizers: ['podseal.dev/test'] },
      },
      merge,
    );
    await api.must('POST', `/api/v1/namespaces/${namespace}/configmaps`, {
      metadata: { name: 'holds-it', finalizers: ['podseal.dev/test'] },
    });
    await api.must('DELETE', `/api/v1/namespaces/${namespace}`);
    deepEqual(await replica.ensure(namespace, web), []);
    match((await replica.ensure('never-made', web)).join(), /"never-made" is not known yet/);
    deepEqual(refused(replica), []);
    await api.must(
      'PATCH',
      pathOf(namespace, 'holds-it'),
      { metadata: { finalizers: null } },
      merge,
    );
  });

  test('says what a quota refuses', async () => {
    const namespace = await newNamespace();
    await api.must('POST', `/api/v1/namespaces/${namespace}/resourcequotas`, {
      metadata: { name: 'none' },
      spec: { hard: { 'count/configmaps': '0' } },
    });
    const replica = await start({ followsOnly: true });
    await until('a refusal', async () => {
      const warnings = await replica.ensure(namespace, web);
      return warnings.some((each) => each.includes('exceeded quota'));
    });
    deepEqual(refused(replica), []);
  });
});

async function caBundles(): Promise<readonly (string | undefined)[]> {
  const found = (await api.must('GET', `${webhooks}/${webhookName}`)) as {
    webhooks: readonly { clientConfig: { caBundle?: string } }[];
  };
  return found.webhooks.map(({ clientConfig: { caBundle } }) =>
    caBundle === undefined ? undefined : Buffer.from(caBundle, 'base64').toString(),
  );
}

describe('the webhook configuration', () => {
  test('trusts the bundle, also after it was applied anew, and loses nothing else', async () => {
    const replica = await start();
    const isTrusted = (): Promise<unknown> =>
      until('the bundle in all webhooks', async () =>
        (await caBundles()).every((each) => each === rootPem),
      );
    await isTrusted();
    const { webhooks: wanted } = (await api.must('GET', `${webhooks}/${webhookName}`)) as {
      webhooks: readonly { clientConfig: object }[];
    };
    const stranger = Buffer.from(newCa({ commonName: 'stranger' }).pem).toString('base64');
    for (const caBundle of [undefined, stranger]) {
      const applied = installedWebhooks().map((each) => ({
        ...each,
        clientConfig: { ...each.clientConfig, caBundle },
      }));
      await api.must('PATCH', `${webhooks}/${webhookName}`, { webhooks: applied }, merge);
      await isTrusted();
      const now = (await api.must('GET', `${webhooks}/${webhookName}`)) as {
        webhooks: readonly object[];
      };
      deepEqual(now.webhooks, wanted);
    }
    await until('the metric', () => {
      replica.updateGauges();
      return replica.metrics.gauge('podseal_injector_ca_bundle_current') === 1;
    });
  });

  test('owns what is published: Kubernetes removes it with it, and it comes back', async () => {
    const namespace = await newNamespace(injecting);
    const replica = await start();
    const [first] = await until('both', () => both(namespace));
    await api.must('DELETE', `${webhooks}/${webhookName}`);
    await until('Kubernetes to remove it', async () => {
      const found = await Promise.all(bothNames.map((name) => configMap(namespace, name)));
      return found.every((each) => each === undefined);
    });
    const warnings = await replica.ensure(namespace, web);
    match(warnings.join('\n'), /nothing is published/);
    equal(await both(namespace), undefined);
    await createConfiguration();
    const [again] = await until('both again', () => both(namespace));
    ok(first?.metadata.ownerReferences?.[0]?.uid !== again?.metadata.ownerReferences?.[0]?.uid);
  });
});

describe('replicas', () => {
  test('one writes, and another goes on when it ends', async () => {
    const namespace = await newNamespace(injecting);
    const a = await start({ holder: 'a' });
    await until('both', () => both(namespace));
    const b = await start({ holder: 'b' });
    await newService(namespace, 'one');
    await until('the Service', async () => (await servicesIn(namespace))?.includes('one'));
    equal(written(b), 0);
    await a.stop();
    await newService(namespace, 'two');
    await until('the next Service', async () => (await servicesIn(namespace))?.includes('two'));
    equal(written(b), 1);
  });
});

describe('pods that slipped through', () => {
  test('are counted, and told of in an Event', async () => {
    const [labelled, other] = await Promise.all([newNamespace(injecting), newNamespace()]);
    ok(labelled && other);
    for (const each of [labelled, other]) await prepareNamespace(api, each);
    const make = (namespace: string, name: string, labels: Readonly<Record<string, string>>) =>
      createPod(api, { namespace, name, labels });
    const missed = [
      await make(labelled, 'missed', {}),
      await make(other, 'asked', { 'podseal.dev/inject': 'true' }),
    ];
    await make(labelled, 'out', { 'podseal.dev/inject': 'false' });
    await make(labelled, 'injected', { 'podseal.dev/agent': 'injected' });
    await make(other, 'plain', {});
    const eventOf = async (pod: { namespace: string; name: string }) => {
      const query = encodeURIComponent(`involvedObject.name=${pod.name},reason=NotInjected`);
      const path = `/api/v1/namespaces/${pod.namespace}/events?fieldSelector=${query}`;
      const { items } = (await api.must('GET', path)) as {
        items: readonly { message: string; lastTimestamp: string }[];
      };
      return items[0];
    };
    const old = { aheadMs: 120_000, sweepMs: 1_000 };
    const first = await start(old);
    for (const pod of missed) {
      const event = await until(`an Event of ${pod.name}`, () => eventOf(pod));
      match(event.message, /Create it anew/);
    }
    equal(first.metrics.gauge('podseal_injector_pods_not_injected'), 2);
    for (const name of ['out', 'injected'])
      equal(await eventOf({ namespace: labelled, name }), undefined);
    // A pod that asks is a reason to publish to its namespace.
    await until('both', () => both(other));
    await first.stop();
    equal(first.metrics.gauge('podseal_injector_pods_not_injected'), 0);
    // The next leader says so again, in the same Event.
    const [pod] = missed;
    ok(pod);
    const said = (await eventOf(pod))?.lastTimestamp;
    await start({ ...old, aheadMs: 240_000 });
    await until('it to be said again', async () => (await eventOf(pod))?.lastTimestamp !== said);
  });
});

test('of pods that are many, the API sends their metadata alone', async () => {
  const namespace = await newNamespace();
  await prepareNamespace(api, namespace);
  await createPod(api, { namespace, name: 'web', labels: { app: 'web' } });
  const listing = listingOf(callsOf(plane, token), {
    what: 'Pods',
    resource: 'pods',
    path: `/api/v1/namespaces/${namespace}/pods`,
    rbacFile: '',
    labelSelector: 'app=web',
    metadataOnly: true,
    read: (object) => Object.keys(object).sort().join(),
  });
  deepEqual((await listing.list(undefined)).items, ['apiVersion,kind,metadata']);
});

test('the rights of examples/rbac are used, each of them, and no others', (t: TestContext) => {
  if (running.length > 0 || used.size === 0) t.skip('needs all other tests of this file');
  // The review of a pod's service account is the admission's.
  const wanted = [...granted()].filter((each) => each !== 'create subjectaccessreviews');
  deepEqual([...used].sort(), wanted.sort());
});
