import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type ObservedRequest } from '../../src/certificates/observed-request.ts';
import { type Change } from '../../src/controller/list-watch.ts';
import { PodsealError } from '../../src/errors.ts';
import { type ApiCalls, apiCalls } from '../../src/kubernetes/api-calls.ts';
import { readPod } from '../../src/kubernetes/cluster-objects.ts';
import { kubeconfigEndpoint } from '../../src/kubernetes/kubeconfig.ts';
import {
  apiDecisions,
  apiIssuance,
  requestListing,
} from '../../src/kubernetes/observed-requests.ts';
import { createPod, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { requestFor, sendRequest } from '../support/asking.ts';
import { newCa } from '../support/certificate-builders.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { removeNamespace } from '../support/controllers.ts';
import { requester } from '../support/requester.ts';

const plane = sharedControlPlane();
const { api } = plane;
const users = requester(plane.serverUrl, plane.caPem, '');
const id = randomUUID().slice(0, 8);
const namespace = `protobuf-${id}`;
const signerName = `test.podseal.dev/protobuf-${id}`;
const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const merge = 'application/merge-patch+json';
const chainPem = newCa().pem;

const observe = (): void => undefined;
const inProtobuf = apiCalls(kubeconfigEndpoint(plane.kubeconfig), {
  maximumConnections: 4,
  observe,
});
/** The same calls as to a server that has no protobuf. */
const inJson: ApiCalls = {
  call: ({ shape: _, ...call }) => inProtobuf.call(call),
  watch: ({ shape: _, ...call }, onLine, stop) => inProtobuf.watch(call, onLine, stop),
};

let pod: TestPod;
before(async () => {
  await prepareNamespace(api, namespace);
  pod = await createPod(api, {
    namespace,
    name: 'web-0',
    labels: { app: 'web', 'example.com/long': 'x'.repeat(63) },
    podIPs: ['10.97.0.77', 'fd00::77'],
  });
});
after(async () => {
  const selector = encodeURIComponent(`spec.signerName=${signerName}`);
  await api.request('DELETE', `${collection}?fieldSelector=${selector}`);
  await removeNamespace(api, namespace);
  users.close();
  api.close();
});

const foreign = { type: 'Foreign', status: 'False', reason: 'Whim', message: 'of another, ü' };

/** Asked by a pod, with a label, an annotation and a condition of somebody else. */
async function newRequest(): Promise<string> {
  const name = await sendRequest(
    users,
    { token: pod.token },
    { signerName },
    { request: requestFor({ dnsNames: [`web.${namespace}.svc`] }) },
  );
  const metadata = { labels: { 'podseal.dev/renewal': 'true' }, annotations: { note: 'ü' } };
  await api.must('PATCH', `${collection}/${name}`, { metadata }, merge);
  const status = { conditions: [foreign] };
  await api.must('PATCH', `${collection}/${name}/status`, { status }, merge);
  return name;
}

interface Stored {
  readonly metadata: {
    readonly labels?: object;
    readonly annotations?: object;
    readonly resourceVersion: string;
  };
  readonly spec: object;
  readonly status: { readonly conditions: readonly object[]; readonly certificate?: string };
}

const stored = async (name: string): Promise<Stored> =>
  (await api.must('GET', `${collection}/${name}`)) as Stored;

async function listed(calls: ApiCalls, name: string): Promise<ObservedRequest> {
  const { items } = await requestListing(calls, signerName, 'approver').list(undefined);
  const found = items.find((each) => each.name === name);
  ok(found);
  return found;
}

/** Without the milliseconds that JSON does not write. */
const comparable = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value).replaceAll('.000Z', 'Z'));

async function changesSince(calls: ApiCalls, version: string, count: number): Promise<unknown[]> {
  const changes: Change<ObservedRequest>[] = [];
  const stop = new AbortController();
  await requestListing(calls, signerName, 'approver').watch(
    version,
    (change) => {
      if (change.kind !== 'bookmark') changes.push(change);
      if (changes.length === count) stop.abort();
    },
    stop.signal,
  );
  return changes;
}

const codeOf = (code: string) => (error: unknown) =>
  error instanceof PodsealError && error.code === code;

describe('protobuf and JSON of one API server', { timeout: 60_000 }, () => {
  test('a request is the same in both, in each state: listed, read and watched', async () => {
    const name = await newRequest();
    const { resourceVersion } = await requestListing(inJson, signerName, 'approver').list(
      undefined,
    );
    const same = async (): Promise<ObservedRequest> => {
      const request = await listed(inProtobuf, name);
      deepEqual(comparable(request), comparable(await listed(inJson, name)));
      const [live, liveJson] = [apiIssuance(inProtobuf), apiIssuance(inJson)];
      deepEqual(comparable(await live.read(name)), comparable(await liveJson.read(name)));
      return request;
    };
    const pending = await same();
    match(pending.request, /^-----BEGIN CERTIFICATE REQUEST-----/);
    equal(pending.requester.extra['authentication.kubernetes.io/pod-uid']?.[0], pod.uid);
    equal(pending.isRenewal, true);
    equal(pending.expirationSeconds, 86_400);
    await apiDecisions(inProtobuf).approve(pending, 'as asked');
    await apiIssuance(inProtobuf).issue(await same(), chainPem);
    equal((await same()).hasCertificate, true);
    await api.must('DELETE', `${collection}/${name}`);
    const changes = await changesSince(inProtobuf, resourceVersion ?? '', 3);
    deepEqual(
      comparable(changes),
      comparable(await changesSince(inJson, resourceVersion ?? '', 3)),
    );
  });

  test('a pod is the same in both; a missing one is none', async () => {
    const read = (calls: ApiCalls, name: string) => readPod(calls, { namespace, name }, 'x.yaml');
    const found = await read(inProtobuf, pod.name);
    ok(found);
    deepEqual(found, await read(inJson, pod.name));
    equal(found.labels.get('app'), 'web');
    deepEqual(found.ipAddresses, ['10.97.0.77', 'fd00::77']);
    equal(await read(inProtobuf, 'missing'), undefined);
  });

  for (const [encoding, calls] of [
    ['protobuf', inProtobuf],
    ['JSON', inJson],
  ] as const) {
    test(`a write in ${encoding} adds what it says, and changes nothing else`, async () => {
      const name = await newRequest();
      const old = await stored(name);
      await apiDecisions(calls).approve(await listed(calls, name), 'as asked, ü');
      await apiIssuance(calls).issue(await listed(calls, name), chainPem);
      const now = await stored(name);
      deepEqual(now.metadata, { ...old.metadata, resourceVersion: now.metadata.resourceVersion });
      deepEqual(now.spec, old.spec);
      deepEqual(now.status.conditions[0], old.status.conditions[0]);
      const { type, status, reason, message } = now.status.conditions[1] as typeof foreign;
      deepEqual([type, status, reason], ['Approved', 'True', 'PodsealApproved']);
      equal(message, 'as asked, ü');
      equal(now.status.conditions.length, 2);
      equal(Buffer.from(now.status.certificate ?? '', 'base64').toString(), chainPem);
    });

    test(`denied and failed in ${encoding}`, async () => {
      const [denied, failed] = [await newRequest(), await newRequest()];
      await apiDecisions(calls).deny(await listed(calls, denied), 'no');
      await apiDecisions(calls).approve(await listed(calls, failed), 'yes');
      await apiIssuance(calls).fail(await listed(calls, failed), 'cannot');
      const conditions = async (name: string) =>
        (await stored(name)).status.conditions.map((each) => {
          const { type, message } = each as typeof foreign;
          return `${type}: ${message}`;
        });
      const others = `${foreign.type}: ${foreign.message}`;
      deepEqual(await conditions(denied), [others, 'Denied: no']);
      deepEqual(await conditions(failed), [others, 'Approved: yes', 'Failed: cannot']);
    });

    test(`a write in ${encoding} holds for the version and the object that were read`, async () => {
      const name = await newRequest();
      const read = await listed(calls, name);
      const metadata = { annotations: { note: 'changed meanwhile' } };
      await api.must('PATCH', `${collection}/${name}`, { metadata }, merge);
      await rejects(apiDecisions(calls).approve(read, 'late'), codeOf('API_CONFLICT'));
      const newest = await listed(calls, name);
      await api.must('DELETE', `${collection}/${name}`);
      await rejects(apiDecisions(calls).approve(newest, 'late'), codeOf('API_NOT_FOUND'));
    });
  }
});
