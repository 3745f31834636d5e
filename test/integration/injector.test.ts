import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type PodObject } from '../../src/injector/pod-object.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { injectorScene, type InjectorScene } from '../support/injector-scene.ts';
import { until } from '../support/until.ts';

/** `podseal injector` behind the real API server, with the webhooks of deploy/. */

const plane = sharedControlPlane();
const { api } = plane;

describe('podseal injector', () => {
  let scene: InjectorScene;
  before(async () => {
    scene = await injectorScene(plane);
  });
  after(async () => {
    await (scene as InjectorScene | undefined)?.close();
    api.close();
  });

  interface Wanted {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly spec?: Readonly<Record<string, unknown>>;
    readonly dryRun?: boolean;
  }
  let made = 0;
  const create = async (namespace: string, wanted: Wanted = {}) => {
    const query = wanted.dryRun ? '?dryRun=All' : '';
    return api.request('POST', `/api/v1/namespaces/${namespace}/pods${query}`, {
      metadata: {
        name: `web-${made++}`,
        labels: { app: 'web', ...wanted.labels },
        annotations: wanted.annotations ?? {},
      },
      spec: { containers: [{ name: 'web', image: 'app' }], ...wanted.spec },
    });
  };
  const isInjected = (pod: unknown): boolean => {
    const { metadata, spec } = pod as PodObject;
    const names = (spec.initContainers ?? []).map(({ name }) => name);
    const isLabelled = metadata.labels?.['podseal.dev/agent'] === 'injected';
    equal(names.includes('podseal'), isLabelled);
    return isLabelled;
  };
  const configMap = (namespace: string, name: string) =>
    api.request('GET', `/api/v1/namespaces/${namespace}/configmaps/${name}`);

  test('pods are chosen by labels of theirs and of their namespace', async () => {
    const enabled = await scene.namespace();
    const other = await scene.namespace({});
    const asks = { labels: { 'podseal.dev/inject': 'true' } };
    const refuses = { labels: { 'podseal.dev/inject': 'false' } };
    const outcomes = [];
    for (const [namespace, wanted] of [
      [enabled, {}],
      [enabled, asks],
      [enabled, refuses],
      [other, {}],
      [other, asks],
      [other, refuses],
    ] as const) {
      const { status, body } = await create(namespace, wanted);
      equal(status, 201, JSON.stringify(body));
      outcomes.push(isInjected(body));
    }
    deepEqual(outcomes, [true, true, false, false, true, false]);
    // Those that nobody asked for never reached it.
    equal(await scene.injector.metric('podseal_injector_reviews_total'), 3);
  });

  test('what the agent reads is there before the pod is', async () => {
    const namespace = await scene.namespace({});
    await api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
    });
    const labels = { 'podseal.dev/inject': 'true' };
    equal((await create(namespace, { labels })).status, 201);
    const { body } = await configMap(namespace, 'podseal-services');
    const { data } = body as { data: Readonly<Record<string, string>> };
    match(data['services.json'] ?? '', /^\[\n\{"name":"web","selector":\{"app":"web"\}/);
    equal((await configMap(namespace, 'podseal-trust')).status, 200);
  });

  test('a dry run writes nothing', async () => {
    const namespace = await scene.namespace({});
    const labels = { 'podseal.dev/inject': 'true' };
    const { status, body } = await create(namespace, { labels, dryRun: true });
    equal(status, 201);
    ok(isInjected(body));
    equal((await configMap(namespace, 'podseal-services')).status, 404);
  });

  test('a wrong annotation is refused with every problem', async () => {
    const namespace = await scene.namespace();
    const annotations = { 'podseal.dev/lifetme': '1h', 'podseal.dev/key-algorithm': 'DSA' };
    const { status, body } = await create(namespace, { annotations });
    equal(status, 422);
    const { message } = body as { message: string };
    match(message, /podseal\.dev\/lifetme is no annotation .* podseal\.dev\/key-algorithm: "DSA"/);
  });

  test('what a pod waits for stands in its annotation, until it is true', async () => {
    const namespace = await scene.namespace();
    const account = { metadata: { name: 'stranger' } };
    await api.must('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, account);
    const annotations = { 'podseal.dev/services': 'web' };
    const warningsOf = async (spec: Wanted['spec'] = {}) => {
      const { status, body } = await create(namespace, { annotations, spec });
      equal(status, 201, JSON.stringify(body));
      return (body as PodObject).metadata.annotations?.['podseal.dev/warnings'] ?? '';
    };
    const warnings = await warningsOf({ serviceAccountName: 'stranger' });
    match(warnings, /service account stranger may not ask .*kubectl create clusterrolebinding/);
    match(warnings, /waits for Service "web" to select it/);
    await api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
    });
    equal(await warningsOf(), '');
  });

  test('a new certificate and another CA fail no call', async () => {
    const namespace = await scene.namespace();
    let going = true;
    let calls = 0;
    const statuses = new Set<number>();
    const callers = Array.from({ length: 8 }, async () => {
      while (going) {
        const { status, body } = await create(namespace, { dryRun: true });
        statuses.add(status);
        // One that failed would be let through, as failurePolicy says.
        ok(isInjected(body), 'a call failed');
        calls++;
      }
    });
    const rotations = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        const served = scene.injector.lines().filter(isNewCertificate).length;
        if (i === 1) await scene.replaceCa();
        else scene.renew();
        await until(
          'the new certificate',
          () => scene.injector.lines().filter(isNewCertificate).length > served,
        );
        const enough = calls + 100;
        await until('calls with it', () => calls > enough);
      }
    };
    await rotations().finally(() => (going = false));
    await Promise.all(callers);
    deepEqual([...statuses], [201]);
  });

  const isNewCertificate = ({ event }: { readonly event: string }): boolean =>
    event === 'webhook.certificate';

  describe('when it does not answer, pods are created without it', () => {
    const servers: Server[] = [];
    after(async () => {
      for (const each of servers) each.close();
      await scene.callInstead(scene.url);
    });
    const listening = async (onSocket: Parameters<typeof createServer>[1]): Promise<string> => {
      const server = createServer({}, onSocket);
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      return `https://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/inject`;
    };
    const isLeftAlone = async (url: string): Promise<number> => {
      const namespace = await scene.namespace();
      await scene.callInstead(url);
      // The API server takes up the new address after a moment.
      return until('the API server to call there', async () => {
        const startedAt = Date.now();
        const { status, body } = await create(namespace, { dryRun: true });
        equal(status, 201);
        return isInjected(body) ? undefined : Date.now() - startedAt + 1;
      });
    };

    test('dead', async () => {
      await isLeftAlone('https://127.0.0.1:1/inject');
    });

    test('garbage', async () => {
      const garbage = await listening((socket) => {
        socket.on('error', () => undefined);
        socket.end('HTTP/1.1 200 OK\r\n\r\nno answer');
      });
      await isLeftAlone(garbage);
    });

    test('slow: after five seconds', async () => {
      const silent = await listening((socket) => socket.on('error', () => undefined));
      const ms = await isLeftAlone(silent);
      ok(ms >= 4_500 && ms < 25_000, String(ms));
    });
  });
});
