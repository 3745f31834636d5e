import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { trustBundleName } from '../../src/kubernetes/trust-publication.ts';
import { createPod, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { administrator } from '../support/administrator.ts';
import {
  conditionOf,
  namesOf,
  readRequest,
  requestFor,
  sendRequest,
  type StoredRequest,
} from '../support/asking.ts';
import { newCa } from '../support/certificate-builders.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import {
  controllerSystem,
  rbacObjects,
  removeNamespace,
  type ControllerName,
  type ControllerSystem,
  type RbacRule,
  type RunningController,
} from '../support/controllers.ts';
import { requester } from '../support/requester.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
const { api } = plane;
const users = requester(plane.serverUrl, plane.caPem, '');
const id = randomBytes(4).toString('hex');
const shop = `shop-rbac-${id}`;
const merge = 'application/merge-patch+json';
/** In front of the rest of a line of the program's log, when the API server answers 403. */
const mayNot = 'The service account may not';

/** A minute passes in a second: for what a program does after minutes. */
const hurriedClock = `data:text/javascript,${encodeURIComponent(`
  const RealDate = Date, startedAt = Date.now();
  const now = () => startedAt + (RealDate.now() - startedAt) * 60;
  globalThis.Date = class extends RealDate {
    constructor(...args) { if (args.length > 0) super(...args); else super(now()); }
    static now() { return now(); }
  };
  const uptime = performance.now.bind(performance);
  performance.now = () => uptime() * 60;`)}`;

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

/** One program at work, and a pod that asks under its signer name. */
interface Scene {
  readonly of: ControllerName;
  readonly system: ControllerSystem;
  readonly program: RunningController;
  readonly pod: TestPod;
  readonly signerName: string;
  /** Counts what the API server refused; of one call, or of all. */
  refusals(): number;
}

let pods = 0;

function newPod(podIPs: readonly string[] = ['10.97.0.10']): Promise<TestPod> {
  const name = `web-${pods++}`;
  return createPod(api, { namespace: shop, name, labels: { app: 'web' }, podIPs });
}

async function scene(
  of: ControllerName,
  { lost, changes = {} }: { lost?: Lost; changes?: Readonly<Record<string, string>> } = {},
): Promise<Scene & { close(): Promise<void> }> {
  const signerName = `test.podseal.dev/rbac-${randomBytes(4).toString('hex')}`;
  const without = (rule: RbacRule): RbacRule =>
    lost && rule.resources.includes(lost.resource)
      ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== lost.verb) }
      : rule;
  const system = await controllerSystem(plane, { signerNames: [signerName], alterRule: without });
  const program = await system.start(of, changes);
  const hint = `${mayNot} ${lost?.call ?? ''}`;
  return {
    of,
    system,
    program,
    pod: await newPod(),
    signerName,
    refusals: () => hintsOf(system, hint).length,
    close: () => system.close(),
  };
}

/** Asks as the scene's pod, for the names of its Service and `extra`. */
function ask(
  { pod, signerName }: Scene,
  extra: { readonly dnsNames?: string[]; readonly ipAddresses?: string[] } = {},
  as = pod,
): Promise<string> {
  const names = namesOf(pod, 'web');
  const request = requestFor({
    ...names,
    dnsNames: [...names.dnsNames, ...(extra.dnsNames ?? [])],
    ipAddresses: extra.ipAddresses ?? [],
  });
  return sendRequest(users, { token: as.token }, { signerName }, { request });
}

/** Waits until it has happened, or one call more than `before` was refused; whether it has happened. */
async function happens(
  scene: Scene,
  look: () => Promise<boolean>,
  before = scene.refusals(),
): Promise<boolean> {
  await until(
    'it to happen or to be refused',
    async () => (await look()) || scene.refusals() > before,
  );
  return look();
}

const isDecided = (request: StoredRequest | undefined): boolean =>
  (request?.status.conditions ?? []).length > 0;

/**
 * What somebody can see of a program's work. Each tries once and resolves to whether it happened; with
 * the file as it is, all of them do, sooner or later.
 */
const duties = {
  ready(scene) {
    return happens(scene, async () => (await scene.program.get('/readyz')).status === 200);
  },
  async decides(scene) {
    const name = await ask(scene);
    return happens(scene, async () => isDecided(await readRequest(api, name)));
  },
  tellsThePod,
  async tellsThePodAgain(scene) {
    await ask(scene, { dnsNames: ['first.example.com'] });
    await until('an Event', () => eventOf(scene, 'Denied'));
    return tellsThePod(await startedAnew(scene));
  },
  async knowsNewServices(scene) {
    const elsewhere = `${shop}-${randomBytes(2).toString('hex')}`;
    await api.must('POST', '/api/v1/namespaces', { metadata: { name: elsewhere } });
    const path = `/api/v1/namespaces/${elsewhere}/services`;
    const spec = { selector: { app: 'web' }, ports: [{ port: 443 }] };
    const made = await api.must('POST', path, { metadata: { name: 'bank' }, spec });
    const { clusterIP } = (made as { spec: { clusterIP: string } }).spec;
    const name = await handled(scene, { ipAddresses: [clusterIP] });
    await api.request('DELETE', `/api/v1/namespaces/${elsewhere}`);
    return conditionOf(await readRequest(api, name), 'Denied')?.includes('/bank') ?? false;
  },
  async knowsNewNodes(scene) {
    const node = `node-${randomBytes(4).toString('hex')}`;
    const address = `10.98.${randomBytes(2).join('.')}`;
    const status = { addresses: [{ type: 'InternalIP', address }] };
    await api.must('POST', '/api/v1/nodes', { metadata: { name: node }, status });
    const pod = await newPod([address]);
    const name = await handled({ ...scene, pod }, { ipAddresses: [address] });
    const found = await readRequest(api, name);
    await api.must('DELETE', `/api/v1/nodes/${node}`);
    return !isDecided(found);
  },
  async knowsNewServiceRanges(scene) {
    // Of IPv6 and tiny: no other test's Service gets its address here.
    const network = `fd00:10:97:${randomInt(0x1000, 0x10000).toString(16)}::`;
    const ranges = '/apis/networking.k8s.io/v1/servicecidrs';
    const range = `range-${randomBytes(4).toString('hex')}`;
    await api.must('POST', ranges, {
      metadata: { name: range },
      spec: { cidrs: [`${network}/126`] },
    });
    const name = await handled(scene, { ipAddresses: [`${network}1`] });
    await api.must('DELETE', `${ranges}/${range}`);
    return !isDecided(await readRequest(api, name));
  },
  async publishes(scene) {
    return happens(scene, async () => (await configMap(scene)) !== undefined);
  },
  async publishesForTheCluster(scene) {
    return happens(scene, async () => (await clusterBundle(scene)) !== undefined);
  },
  async readsTheClusterBundle(scene) {
    return isGranted(scene, { ...clusterBundleAccess, verb: 'get', name: bundleName(scene) });
  },
  async signs(scene) {
    const name = await approved(scene);
    return happens(scene, async () => isIssued(await readRequest(api, name)));
  },
  tellsThePodOfCertificates,
  async tellsThePodOfCertificatesAgain(scene) {
    await issued(scene);
    await until('an Event', () => eventOf(scene, 'Issued'));
    return tellsThePodOfCertificates(await startedAnew(scene));
  },
  async takesAnotherCa(scene) {
    const root = await replaceCa(scene);
    return happens(scene, async () => (await configMap(scene))?.includes(root) ?? false);
  },
  async ownsTheBundle(scene) {
    return happens(
      scene,
      async () => (await readConfigMap(scene)).metadata?.ownerReferences !== undefined,
    );
  },
  async ownsTheClusterBundle(scene) {
    return happens(
      scene,
      async () => (await readClusterBundle(scene)).metadata?.ownerReferences !== undefined,
    );
  },
  async takesAnotherCaForTheCluster(scene) {
    const root = await replaceCa(scene);
    return happens(scene, async () => (await clusterBundle(scene))?.includes(root) ?? false);
  },
  async removesTheExcess(scene) {
    // PODSEAL_MAX_OPEN_REQUESTS is 1.
    const names = [await ask(scene), await ask(scene)];
    return happens(scene, async () => {
      const left = await Promise.all(names.map((name) => readRequest(api, name)));
      return left.includes(undefined);
    });
  },
  async removesWhatIsAbandoned(scene) {
    const pod = await newPod();
    const name = await ask({ ...scene, pod });
    const path = `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
    await api.must('DELETE', path, { gracePeriodSeconds: 0 });
    return happens(scene, async () => (await readRequest(api, name)) === undefined);
  },
  async losesARaceWithoutFailing(scene) {
    await scene.system.start(scene.of, { PODSEAL_LEASE: 'off' });
    const { program } = scene;
    const failures = (): Promise<number> =>
      program.metric('podseal_controller_failures_total', { code: 'API_FORBIDDEN' });
    const before = await failures();
    await until('a race that it loses', async () => {
      await issued(scene);
      return (await program.metric('podseal_signer_in_vain_total')) > 0;
    });
    return (await failures()) === before;
  },
} satisfies Record<string, (scene: Scene) => Promise<boolean>>;

type Duty = keyof typeof duties;

/** An Event is tried once: the refusal may come before the denial is seen here. */
async function tellsThePod(scene: Scene): Promise<boolean> {
  const before = scene.refusals();
  const dnsName = `${randomBytes(4).toString('hex')}.example.com`;
  const name = await ask(scene, { dnsNames: [dnsName] });
  await until('a denial', async () => isDecided(await readRequest(api, name)));
  const isTold = async (): Promise<boolean> =>
    (await eventOf(scene, 'Denied'))?.includes(dnsName) ?? false;
  return happens(scene, isTold, before);
}

async function tellsThePodOfCertificates(scene: Scene): Promise<boolean> {
  const before = scene.refusals();
  const name = await issued(scene);
  const isTold = async (): Promise<boolean> =>
    (await eventOf(scene, 'Issued'))?.includes(name) ?? false;
  return happens(scene, isTold, before);
}

/** The program that wrote an Event is quiet for a minute, another one is not. */
async function startedAnew(scene: Scene): Promise<Scene> {
  await scene.program.stop();
  return { ...scene, program: await scene.system.start(scene.of) };
}

function hintsOf({ running }: ControllerSystem, start: string): readonly string[] {
  const lines = running.flatMap((each) => each.lines());
  return lines.flatMap(({ hint }) => (hint?.startsWith(start) ? [hint] : []));
}

/** Asks, and waits until the approver has looked at the request. */
async function handled(scene: Scene, extra: Parameters<typeof ask>[1]): Promise<string> {
  const looks = async (): Promise<number> =>
    (await scene.program.metric('podseal_approver_verdicts_total')) +
    (await scene.program.metric('podseal_approver_waits_total'));
  const before = await looks();
  const name = await ask(scene, extra);
  await until('the approver to look at it', async () => (await looks()) > before);
  return name;
}

async function approved(scene: Scene): Promise<string> {
  const name = await ask(scene);
  await administrator(api, scene.signerName).decide(name, 'Approved');
  return name;
}

async function issued(scene: Scene): Promise<string> {
  const name = await approved(scene);
  await until('a certificate', async () => isIssued(await readRequest(api, name)));
  return name;
}

const isIssued = (request: StoredRequest | undefined): boolean =>
  request?.status.certificate !== undefined;

async function eventOf({ pod, of }: Scene, what: string): Promise<string | undefined> {
  const selector = encodeURIComponent(`involvedObject.uid=${pod.uid},reason=Certificate${what}`);
  const path = `/api/v1/namespaces/${pod.namespace}/events?fieldSelector=${selector}`;
  const { items } = (await api.must('GET', path)) as {
    items: { message: string; source: { component: string } }[];
  };
  return items.find(({ source }) => source.component === `podseal-${of}`)?.message;
}

interface Owned {
  readonly metadata?: { readonly ownerReferences?: readonly object[] };
}

interface ConfigMap extends Owned {
  readonly data?: Readonly<Record<string, string>>;
}

async function readConfigMap({ system }: Scene): Promise<ConfigMap> {
  const path = `/api/v1/namespaces/${system.namespace}/configmaps/podseal-trust`;
  return (await api.request('GET', path)).body as ConfigMap;
}

async function configMap(scene: Scene): Promise<string | undefined> {
  return (await readConfigMap(scene)).data?.['ca.crt'];
}

const bundleName = ({ signerName }: Scene): string => trustBundleName(signerName);
const clusterBundleAccess = { group: 'certificates.k8s.io', resource: 'clustertrustbundles' };

interface ClusterBundle extends Owned {
  readonly spec?: { readonly trustBundle: string };
}

async function readClusterBundle(scene: Scene): Promise<ClusterBundle> {
  const path = `/apis/certificates.k8s.io/v1/clustertrustbundles/${bundleName(scene)}`;
  return (await api.request('GET', path)).body as ClusterBundle;
}

async function clusterBundle(scene: Scene): Promise<string | undefined> {
  return (await readClusterBundle(scene)).spec?.trustBundle;
}

/** Resolves to the new root, when the old one has signed. */
async function replaceCa(scene: Scene): Promise<string> {
  await issued(scene);
  const ca = newCa({ validity: { notBefore: new Date(0), notAfter: new Date('2040-01-01') } });
  const key = ca.keyPair.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64');
  const data = { 'tls.crt': base64(ca.pem), 'tls.key': base64(key), 'ca.crt': base64(ca.pem) };
  const path = `/api/v1/namespaces/${scene.system.namespace}/secrets/podseal-ca`;
  await api.must('PATCH', path, { data }, merge);
  return ca.pem;
}

interface Access {
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly verb: string;
  readonly name?: string;
  readonly namespace?: string;
}

/** Asks the API server's authorizer about the program's service account. */
async function isGranted(
  { of, system }: Pick<Scene, 'of' | 'system'>,
  access: Access,
): Promise<boolean> {
  const groups = ['serviceaccounts', `serviceaccounts:${system.namespace}`, 'authenticated'];
  const review = await api.must('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    spec: {
      user: `system:serviceaccount:${system.namespace}:podseal-${of}`,
      groups: groups.map((each) => `system:${each}`),
      resourceAttributes: access,
    },
  });
  return (review as { status: { allowed: boolean } }).status.allowed;
}

interface Lost {
  readonly resource: string;
  readonly verb: string;
  /** What is refused then, as hints write it. */
  readonly call: string;
}

interface Loss {
  readonly duty: Duty;
  readonly call?: string;
  readonly changes?: Readonly<Record<string, string>>;
  /** Waited for before the duty is tried. */
  readonly event?: string;
}

const oneOpen = { PODSEAL_MAX_OPEN_REQUESTS: '1' };
const hurried = { NODE_OPTIONS: `--import=${hurriedClock}`, PODSEAL_LEASE: 'off' };
const shortLease = { changes: { PODSEAL_LEASE: '2s' }, event: 'leadership.lost' };

/** For each verb of each file, the duty that is not done without it. */
const losses: Readonly<Record<ControllerName, Readonly<Record<string, Loss>>>> = {
  approver: {
    'list certificatesigningrequests': { duty: 'ready' },
    'watch certificatesigningrequests': { duty: 'decides' },
    'update certificatesigningrequests/approval': { duty: 'decides' },
    'approve signers': { duty: 'decides', call: 'update certificatesigningrequests/approval' },
    'get pods': { duty: 'decides' },
    'list services': { duty: 'ready' },
    'watch services': { duty: 'knowsNewServices' },
    'list nodes': { duty: 'ready' },
    'watch nodes': { duty: 'knowsNewNodes' },
    'list servicecidrs': { duty: 'ready' },
    'watch servicecidrs': { duty: 'knowsNewServiceRanges' },
    'create events': { duty: 'tellsThePod' },
    'patch events': { duty: 'tellsThePodAgain' },
    'get configmaps': { duty: 'decides' },
    'create leases': { duty: 'decides' },
    'get leases': { duty: 'decides' },
    'update leases': { duty: 'decides', ...shortLease },
  },
  signer: {
    'list certificatesigningrequests': { duty: 'ready' },
    'watch certificatesigningrequests': { duty: 'signs' },
    'get certificatesigningrequests': {
      duty: 'losesARaceWithoutFailing',
      changes: { PODSEAL_LEASE: 'off' },
    },
    'delete certificatesigningrequests': { duty: 'removesTheExcess', changes: oneOpen },
    'update certificatesigningrequests/status': { duty: 'signs' },
    'sign signers': { duty: 'signs', call: 'update certificatesigningrequests/status' },
    'attest signers': { duty: 'publishesForTheCluster', call: 'create clustertrustbundles' },
    'create clustertrustbundles': { duty: 'publishesForTheCluster' },
    // Every service account has it by the ClusterRole system:cluster-trust-bundle-discovery.
    'get clustertrustbundles': { duty: 'readsTheClusterBundle' },
    'patch clustertrustbundles': { duty: 'takesAnotherCaForTheCluster' },
    'get clusterroles': { duty: 'ownsTheClusterBundle' },
    // The API server of the tests has OwnerReferencesPermissionEnforcement.
    'delete clustertrustbundles': {
      duty: 'ownsTheClusterBundle',
      call: 'patch clustertrustbundles',
    },
    'delete configmaps': { duty: 'ownsTheBundle', call: 'patch configmaps' },
    'get pods': { duty: 'removesWhatIsAbandoned', changes: hurried },
    'create events': { duty: 'tellsThePodOfCertificates' },
    'patch events': { duty: 'tellsThePodOfCertificatesAgain' },
    'list secrets': { duty: 'ready' },
    'watch secrets': { duty: 'takesAnotherCa' },
    'create secrets': { duty: 'publishes' },
    'create configmaps': { duty: 'publishes' },
    'get configmaps': { duty: 'publishes' },
    'patch configmaps': { duty: 'takesAnotherCa' },
    'create leases': { duty: 'signs' },
    'get leases': { duty: 'signs' },
    'update leases': { duty: 'signs', ...shortLease },
  },
};

for (const who of ['approver', 'signer'] as const) {
  const table = Object.entries(losses[who]);

  test(`examples/rbac/${who}.yaml grants what is tried here, and nothing else`, () => {
    const granted = rbacObjects(who).flatMap(({ rules = [] }) =>
      rules.flatMap(({ resources, verbs }) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
      ),
    );
    deepEqual(granted.sort(), table.map(([name]) => name).sort());
  });

  describe(`${who} with its file alone`, { concurrency: 3 }, () => {
    const tried = new Map(table.map(([, { duty, changes = {} }]) => [duty, changes]));
    for (const [duty, changes] of tried)
      test(duty, async (context) => {
        const own = await scene(who, { changes });
        context.after(() => own.close());
        await own.program.ready();
        await until(duty, () => duties[duty](own));
      });
  });

  describe(`${who} without`, { concurrency: 3 }, () => {
    for (const [name, { duty, call = name, changes = {}, event }] of table)
      test(`${name}: not ${duty}`, async (context) => {
        const [verb = '', resource = ''] = name.split(' ');
        const own = await scene(who, { lost: { resource, verb, call: `${call}: ` }, changes });
        context.after(() => own.close());
        // Not ready(): a signer that cannot make its CA never is.
        if (duty !== 'ready')
          await until('everything to be listed', async () => {
            const { body } = await own.program.get('/readyz');
            return !body.includes('not listed yet');
          });
        if (event !== undefined) await own.program.logged(event);
        if (duty === 'readsTheClusterBundle') {
          ok(await duties[duty](own), 'granted to every service account');
          return;
        }
        equal(await duties[duty](own), false, own.program.output());
        const hint = await until('a hint', () => hintsOf(own.system, `${mayNot} ${call}: `)[0]);
        match(hint, new RegExp(`examples/rbac/${who}\\.yaml`));
      });
  });
}

const csr = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };
const signers = { group: 'certificates.k8s.io', resource: 'signers' };

/** What each of the two could do with a little more. `SYSTEM` and `SIGNER` stand for the scene's. */
const forbidden: Readonly<Record<ControllerName, readonly Access[]>> = {
  approver: [
    { ...csr, verb: 'patch', subresource: 'status' },
    { ...csr, verb: 'update', subresource: 'status' },
    { ...csr, verb: 'delete' },
    { ...csr, verb: 'deletecollection' },
    { ...csr, verb: 'create' },
    { ...signers, verb: 'sign', name: 'SIGNER' },
    { ...signers, verb: 'attest', name: 'SIGNER' },
    { ...signers, verb: 'approve', name: 'kubernetes.io/kube-apiserver-client' },
    { resource: 'secrets', verb: 'get', namespace: 'SYSTEM', name: 'podseal-ca' },
    { resource: 'secrets', verb: 'list', namespace: 'SYSTEM', name: 'podseal-ca' },
    { resource: 'configmaps', verb: 'patch', namespace: 'SYSTEM', name: 'podseal-trust' },
    { resource: 'configmaps', verb: 'get', namespace: 'SYSTEM', name: 'kube-root-ca.crt' },
    { resource: 'pods', verb: 'patch', namespace: shop },
    { resource: 'services', verb: 'patch', namespace: shop },
  ],
  signer: [
    { ...csr, verb: 'patch', subresource: 'approval' },
    { ...csr, verb: 'update', subresource: 'approval' },
    { ...csr, verb: 'create' },
    { ...signers, verb: 'approve', name: 'SIGNER' },
    { ...signers, verb: 'sign', name: 'kubernetes.io/kube-apiserver-client' },
    { resource: 'secrets', verb: 'list', namespace: 'SYSTEM' },
    { resource: 'secrets', verb: 'list', namespace: 'SYSTEM', name: 'another' },
    { resource: 'secrets', verb: 'list', namespace: shop, name: 'podseal-ca' },
    { resource: 'secrets', verb: 'get', namespace: 'SYSTEM', name: 'another' },
    { resource: 'secrets', verb: 'patch', namespace: 'SYSTEM', name: 'podseal-ca' },
    { resource: 'secrets', verb: 'delete', namespace: 'SYSTEM', name: 'podseal-ca' },
    { resource: 'secrets', verb: 'create', namespace: shop },
    { resource: 'configmaps', verb: 'create', namespace: shop },
    { resource: 'configmaps', verb: 'get', namespace: 'SYSTEM', name: 'kube-root-ca.crt' },
    { resource: 'pods', verb: 'patch', namespace: shop },
    { resource: 'serviceaccounts', subresource: 'token', verb: 'create', namespace: 'SYSTEM' },
  ],
};

test('neither may do the work of the other, serve other signers, or see other Secrets', async (context) => {
  const signerName = `test.podseal.dev/rbac-${randomBytes(4).toString('hex')}`;
  const system = await controllerSystem(plane, { signerNames: [signerName] });
  context.after(() => system.close());
  const { namespace } = system;
  const granted = (of: ControllerName, access: Access): Promise<boolean> =>
    isGranted({ of, system }, access);
  // The authorizer has heard of the files, and looks at names in lists too.
  await until('RBAC', () => granted('approver', { ...signers, verb: 'approve', name: signerName }));
  await until('RBAC', () =>
    granted('signer', { resource: 'secrets', verb: 'list', namespace, name: 'podseal-ca' }),
  );
  for (const who of ['approver', 'signer'] as const)
    for (const access of forbidden[who]) {
      const { name, namespace: where } = access;
      const asked = {
        ...access,
        ...(name === 'SIGNER' && { name: signerName }),
        ...(where === 'SYSTEM' && { namespace }),
      };
      equal(await granted(who, asked), false, `${who}: ${JSON.stringify(asked)}`);
    }
});

test('every file of examples that a hint names is there', () => {
  const root = join(import.meta.dirname, '../..');
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(root, 'src', name), 'utf8'));
  const named = sources
    .flatMap((text) => [...text.matchAll(/examples\/[\w/-]*(?:\$\{\w+\})?[\w-]*\.\w+/g)])
    .flatMap(([path]) =>
      ['approver', 'signer'].map((program) => path.replace(/\$\{\w+\}/, program)),
    );
  ok(named.includes('examples/rbac/signer.yaml') && named.includes('examples/rbac/agent.yaml'));
  for (const path of new Set(named)) ok(existsSync(join(root, path)), path);
});
