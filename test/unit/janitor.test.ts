import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type ObservedRequest } from '../../src/certificates/observed-request.ts';
import { type PodsealError } from '../../src/errors.ts';
import { type LivePod } from '../../src/identity/live-pod.ts';
import { janitor, type Janitor } from '../../src/signer/janitor.ts';
import { aPod, aRequest, aUser, theTokenOf } from '../support/approval-builders.ts';
import { noon } from '../support/certificate-builders.ts';
import { type ManualClock, manualClock } from '../support/manual-clock.ts';
import {
  condition,
  failure,
  type IssuanceTwin,
  issuanceTwin,
  type LogTwin,
  logTwin,
  type MetricsTwin,
  metricsTwin,
} from '../support/signer-twins.ts';

const secondMs = 1_000;
const minuteMs = 60_000;
const signerName = 'podseal.dev/serving';

interface Scene {
  readonly clock: ManualClock;
  readonly api: IssuanceTwin;
  readonly janitor: Janitor;
  readonly logged: LogTwin;
  readonly metrics: MetricsTwin;
  readonly failures: readonly PodsealError[];
  /** Every removal and every read of a pod, in order. */
  readonly calls: readonly string[];
  /** By name, as live reads find them. */
  readonly pods: Map<string, LivePod>;
  /** Thrown by reads of pods. */
  failing: PodsealError | undefined;
  /** Creates or changes the request, and the watch tells. */
  see(request: ObservedRequest): ObservedRequest;
  lead(): () => Promise<void>;
}

function sceneOf(t: TestContext): Scene {
  const clock = manualClock(noon);
  const api = issuanceTwin();
  const logged = logTwin();
  const metrics = metricsTwin();
  const failures: PodsealError[] = [];
  const calls: string[] = [];
  const pods = new Map<string, LivePod>();
  const leading: (() => Promise<void>)[] = [];
  t.after(() => Promise.all(leading.map((stop) => stop())));
  api.before = (call, name) => calls.push(`${call} ${name}`);
  const cleaner = janitor({
    clock,
    metrics,
    log: logged.log,
    random: { fraction: () => 1 },
    issuance: api,
    maximumOpenRequests: 3,
    readPod({ namespace, name }) {
      calls.push(`read ${namespace}/${name}`);
      return scene.failing ? Promise.reject(scene.failing) : Promise.resolve(pods.get(name));
    },
    onFailure: (error) => failures.push(error),
  });
  const follower = cleaner.follower((each) => each.signerName === signerName);
  const scene: Scene = {
    ...{ clock, api, janitor: cleaner, logged, metrics, failures, calls, pods },
    failing: undefined,
    see(request) {
      const written = api.put(request);
      follower.put(written);
      return written;
    },
    lead() {
      const stopping = new AbortController();
      const ran = cleaner.run(stopping.signal);
      const stop = (): Promise<void> => {
        stopping.abort();
        return ran;
      };
      leading.push(stop);
      return stop;
    },
  };
  return scene;
}

const pending = (name: string, changes: Partial<ObservedRequest> = {}): ObservedRequest => ({
  ...aRequest({ by: theTokenOf(aPod()) }),
  name,
  uid: `uid-of-${name}`,
  ...changes,
});
const denied = { conditions: [condition('Denied')] };
const approved = { conditions: [condition('Approved')] };
const failed = { conditions: [condition('Approved'), condition('Failed')] };

describe('janitor() and what is finished', () => {
  for (const [why, changes, minutes] of [
    ['denied', denied, 60],
    ['failed', failed, 60],
    ['issued', approved, 10],
  ] as const)
    test(`removes ${why} ones after ${minutes} minutes`, async (t) => {
      const scene = sceneOf(t);
      scene.lead();
      scene.see(pending('one'));
      await scene.clock.advance(minuteMs);
      const certificate = why === 'issued' ? 'a certificate' : undefined;
      const finished = scene.api.put(pending('one', changes), certificate);
      scene.janitor.follower(() => true).put(finished);
      await scene.clock.advance(minutes * minuteMs - 1);
      assert.deepEqual(scene.calls, []);
      await scene.clock.advance(secondMs);
      assert.deepEqual(scene.calls, ['remove one']);
      assert.equal(scene.api.stored.size, 0);
      assert.equal(scene.metrics.counted('podseal_signer_removed_total', { why }), 1);
      assert.deepEqual(scene.logged.lines[0]?.fields, { request: 'one', pod: 'shop/web-0', why });
    });

  test('counts while it stands by, and removes as soon as it leads', async (t) => {
    const scene = sceneOf(t);
    scene.see(pending('one', denied));
    await scene.clock.advance(60 * minuteMs);
    assert.deepEqual(scene.calls, []);
    scene.lead();
    await scene.clock.advance(0);
    assert.deepEqual(scene.calls, ['remove one']);
  });

  test('is not hurried by a step of the wall clock', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    scene.see(pending('one', denied));
    scene.clock.step(24 * 60 * minuteMs);
    await scene.clock.advance(59 * minuteMs);
    assert.deepEqual(scene.calls, []);
  });

  test('leaves one alone that was created anew under the same name, and counts nothing', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    scene.see(pending('one', denied));
    scene.api.put(pending('one', { uid: 'another' }));
    await scene.clock.advance(61 * minuteMs);
    assert.deepEqual(scene.calls, ['remove one']);
    assert.equal(scene.api.stored.get('one')?.request.uid, 'another');
    assert.equal(scene.metrics.counted('podseal_signer_removed_total'), 0);
    assert.deepEqual(scene.logged.lines, []);
  });

  test('forgets what is gone', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    scene.janitor.follower(() => true).remove(scene.see(pending('one', denied)));
    await scene.clock.advance(61 * minuteMs);
    assert.deepEqual(scene.calls, []);
  });

  test('keeps the requests of two signer names apart when their lists come anew', async (t) => {
    const scene = sceneOf(t);
    const [ours, other] = [signerName, 'podseal.dev/other'].map((name) => ({
      follower: scene.janitor.follower((each) => each.signerName === name),
      request: scene.api.put(pending(`of ${name}`, { ...denied, signerName: name })),
    }));
    assert.ok(ours && other);
    ours.follower.replace([ours.request]);
    other.follower.replace([other.request]);
    ours.follower.replace([]);
    scene.lead();
    await scene.clock.advance(61 * minuteMs);
    assert.deepEqual(scene.calls, ['remove of podseal.dev/other']);
  });
});

describe('janitor() and what is too many', () => {
  test('removes the excess of one pod at once, the oldest denied first', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    for (const name of ['a', 'b', 'c']) scene.see(pending(name));
    await scene.clock.advance(10 * secondMs);
    assert.deepEqual(scene.calls, []);
    scene.see(pending('b', denied));
    scene.see(pending('d'));
    await scene.clock.advance(secondMs);
    assert.deepEqual(scene.calls, ['remove b']);
    assert.equal(scene.metrics.counted('podseal_signer_removed_total', { why: 'excess' }), 1);
  });

  test('counts each pod for itself, and nobody who is no pod', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      scene.see(pending(`admin-${name}`, { requester: aUser('kubernetes-admin') }));
      const pod = aPod({ name: `web-${name}`, uid: `uid-${name}` });
      scene.see(pending(`pod-${name}`, { requester: theTokenOf(pod) }));
    }
    await scene.clock.advance(minuteMs);
    assert.deepEqual(scene.calls, []);
  });

  test('counts a pod across signer names', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    for (const name of ['a', 'b', 'c']) scene.see(pending(name));
    const other = pending('d', { signerName: 'podseal.dev/other' });
    scene.janitor.follower(() => true).put(scene.api.put(other));
    await scene.clock.advance(secondMs);
    assert.deepEqual(scene.calls, ['remove d']);
  });
});

describe('janitor() and what may be abandoned', () => {
  test('reads the pod after two minutes, and again every two while it is there', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    scene.pods.set('web-0', aPod());
    scene.see(pending('one'));
    await scene.clock.advance(2 * minuteMs - 1);
    assert.deepEqual(scene.calls, []);
    await scene.clock.advance(1);
    assert.deepEqual(scene.calls, ['read shop/web-0']);
    await scene.clock.advance(10 * minuteMs);
    assert.equal(scene.calls.length, 6);
    assert.equal(scene.api.stored.size, 1);
  });

  for (const [what, changes] of [
    ['pending', {}],
    ['approved', approved],
  ] as const)
    for (const [how, pod] of [
      ['gone', undefined],
      ['another one of the same name', aPod({ uid: 'another' })],
    ] as const)
      test(`removes a ${what} one when its pod is ${how}`, async (t) => {
        const scene = sceneOf(t);
        scene.lead();
        if (pod) scene.pods.set('web-0', pod);
        scene.see(pending('one', changes));
        await scene.clock.advance(2 * minuteMs);
        assert.deepEqual(scene.calls, ['read shop/web-0', 'remove one']);
        assert.equal(
          scene.metrics.counted('podseal_signer_removed_total', { why: 'abandoned' }),
          1,
        );
      });

  test('removes nothing while it cannot read the pod', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    scene.failing = failure('API_UNREACHABLE');
    scene.see(pending('one'));
    await scene.clock.advance(5 * minuteMs);
    assert.equal(scene.api.stored.size, 1);
    scene.failing = undefined;
    await scene.clock.advance(minuteMs);
    assert.equal(scene.api.stored.size, 0);
  });

  test('never touches one that is from no pod: a person may take hours', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    scene.see(pending('one', { requester: aUser('kubernetes-admin') }));
    await scene.clock.advance(6 * 60 * minuteMs);
    assert.deepEqual(scene.calls, []);
  });

  test('is not held up by what people ask for', async (t) => {
    const scene = sceneOf(t);
    scene.lead();
    for (let i = 0; i < 50; i++)
      scene.see(pending(`of-people-${i}`, { requester: aUser('kubernetes-admin') }));
    scene.see(pending('abandoned'));
    await scene.clock.advance(2 * minuteMs);
    assert.deepEqual(scene.calls, ['read shop/web-0', 'remove abandoned']);
  });

  test('reads few pods at a time, so that the rest of the work is not held up', async (t) => {
    const scene = sceneOf(t);
    for (let i = 0; i < 50; i++) {
      const pod = aPod({ name: `web-${i}`, uid: `uid-${i}` });
      scene.pods.set(pod.name, pod);
      scene.see(pending(`request-${i}`, { requester: theTokenOf(pod) }));
    }
    await scene.clock.advance(3 * minuteMs);
    scene.lead();
    await scene.clock.advance(0);
    assert.equal(scene.calls.length, 20);
    await scene.clock.advance(2 * secondMs);
    assert.equal(new Set(scene.calls).size, 50);
  });
});

describe('janitor() under failures', () => {
  const names = Array.from({ length: 40 }, (_, index) => `request-${index}`);
  const seeAll = async (scene: Scene): Promise<void> => {
    for (const name of names)
      scene.see(pending(name, { ...denied, requester: aUser('kubernetes-admin') }));
    await scene.clock.advance(60 * minuteMs);
  };

  test('does not let a few that cannot be removed hold up the rest', async (t) => {
    const scene = sceneOf(t);
    await seeAll(scene);
    const stuck = new Set(names.slice(0, 6));
    scene.api.before = (_call, name) => {
      if (stuck.has(name)) throw failure('API_FORBIDDEN');
    };
    scene.lead();
    await scene.clock.advance(20 * secondMs);
    assert.deepEqual(new Set(scene.api.stored.keys()), stuck);
    assert.ok(scene.failures.length > 0);
    stuck.clear();
    await scene.clock.advance(minuteMs);
    assert.equal(scene.api.stored.size, 0);
  });

  test('asks an API server in trouble few times, and keeps to Retry-After', async (t) => {
    const scene = sceneOf(t);
    await seeAll(scene);
    let calls = 0;
    scene.api.before = () => {
      calls++;
      throw failure('API_UNREACHABLE', 100_000);
    };
    scene.lead();
    await scene.clock.advance(99 * secondMs);
    assert.equal(calls, 4);
    scene.api.before = () => undefined;
    await scene.clock.advance(secondMs);
    assert.equal(scene.api.stored.size, 0);
  });

  test('stops in the middle when it no longer leads', async (t) => {
    const scene = sceneOf(t);
    await seeAll(scene);
    const stop = scene.lead();
    await stop();
    assert.ok(scene.api.stored.size >= names.length - 4);
  });
});
