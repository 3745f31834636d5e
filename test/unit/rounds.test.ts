import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type ListedPod } from '../../src/injection/listed-pod.ts';
import { servicesFile } from '../../src/injector/services-file.ts';
import { slippedThrough } from '../../src/injector/slipped-through.ts';
import { newCa, noon } from '../support/certificate-builders.ts';
import { type ManualClock, manualClock } from '../support/manual-clock.ts';
import {
  labelled,
  listedPod,
  ownNamespace,
  type PublishingApi,
  publishingScene,
  type ReplicaTwin,
} from '../support/publishing-twins.ts';
import { failure } from '../support/signer-twins.ts';

const bundlePem = newCa({ commonName: 'root' }).pem;
/** How often pods are looked through, give or take a fourth. */
const roundMs = 180_000;
const plain = labelled('shop', { injects: false });
const injectedLabels = { 'podseal.dev/agent': 'injected' };

interface Scene {
  readonly clock: ManualClock;
  readonly api: PublishingApi;
  readonly leader: ReplicaTwin;
}

/** A leader, and a namespace without a label that has both ConfigMaps of ours. */
async function sceneOf(t: TestContext, ...pods: readonly ListedPod[]): Promise<Scene> {
  const clock = manualClock(noon);
  const { api, replica } = publishingScene(clock, bundlePem);
  api.namespaces.set('shop', plain);
  api.write({ namespace: 'shop', name: 'podseal-services' }, servicesFile([]));
  api.write({ namespace: 'shop', name: 'podseal-trust' }, bundlePem);
  api.pods.push(...pods);
  const leader = replica();
  api.tell();
  const stop = leader.start();
  t.after(stop);
  await clock.advance(1_000);
  return { clock, api, leader };
}

describe('what no pod needs any more', () => {
  test('goes in the second round', async (t) => {
    const { clock, api } = await sceneOf(t);
    equal(api.standing.size, 2);
    await clock.advance(roundMs);
    deepEqual(api.writes(), ['remove shop/podseal-services', 'remove shop/podseal-trust']);
    api.tell();
    await clock.advance(roundMs * 3);
    equal(api.writes().length, 2);
  });

  for (const [what, keep] of [
    ['its label', (api: PublishingApi) => api.namespaces.set('shop', labelled('shop'))],
    ['an injected pod', (api: PublishingApi) => api.pods.push(injectedPod('web'))],
    [
      'a pod that asks',
      (api: PublishingApi) =>
        api.pods.push(listedPod('shop', 'asks', { labels: { 'podseal.dev/inject': 'true' } })),
    ],
  ] as const)
    test(`stays with ${what}, and goes later`, async (t) => {
      const { clock, api } = await sceneOf(t);
      keep(api);
      api.tell();
      await clock.advance(roundMs * 4);
      deepEqual(api.writes(), []);
      api.pods.length = 0;
      api.namespaces.set('shop', plain);
      api.tell();
      await clock.advance(roundMs * 3);
      equal(api.standing.size, 0);
    });

  test('stays when it is not ours', async (t) => {
    const clock = manualClock(noon);
    const { api, replica } = publishingScene(clock, bundlePem);
    // Without a bundle, nobody's is taken over.
    api.trust = undefined;
    for (const name of ['shop', 'bank']) {
      api.namespaces.set(name, labelled(name, { injects: false }));
      api.write({ namespace: name, name: 'podseal-trust' }, 'x', { owners: ['other'] });
    }
    api.write({ namespace: 'shop', name: 'podseal-services' }, servicesFile([]));
    const leader = replica();
    api.tell();
    t.after(leader.start());
    await clock.advance(roundMs * 4);
    deepEqual([...api.standing.keys()].toSorted(), ['bank/podseal-trust', 'shop/podseal-trust']);
  });

  test('comes back for a pod that another replica admitted meanwhile', async (t) => {
    const { clock, api } = await sceneOf(t);
    api.before = (call) => {
      if (call === 'remove shop/podseal-trust') api.pods.push(injectedPod('just-now'));
    };
    await clock.advance(roundMs);
    api.tell();
    await clock.advance(2_000);
    equal(api.standing.size, 2);
  });

  test('stays while pods cannot be listed, which is tried again soon', async (t) => {
    const { clock, api, leader } = await sceneOf(t);
    api.before = (call) => {
      if (call.startsWith('pods')) throw failure('API_UNREACHABLE');
    };
    await clock.advance(roundMs * 4);
    deepEqual(api.writes(), []);
    ok(leader.failures.length >= 5);
    api.before = () => undefined;
    await clock.advance(roundMs * 3);
    equal(api.standing.size, 0);
  });

  test('that somebody else removed first is no failure', async (t) => {
    const { clock, api, leader } = await sceneOf(t);
    api.before = (call) => {
      if (call.startsWith('remove')) api.standing.clear();
    };
    await clock.advance(roundMs);
    api.tell();
    await clock.advance(roundMs * 2);
    equal(api.standing.size, 0);
    deepEqual(leader.failures, []);
  });
});

const injectedPod = (name: string): ListedPod =>
  listedPod('shop', name, { labels: injectedLabels });

describe('namespaces whose pods need it', () => {
  test('get it, though nothing stands there', async (t) => {
    const { clock, api } = await sceneOf(t, injectedPod('web'));
    api.standing.clear();
    api.namespaces.set('bank', labelled('bank', { injects: false }));
    api.pods.push(listedPod('bank', 'vault', { labels: injectedLabels }));
    api.tell();
    await clock.advance(roundMs * 1.5);
    equal(api.standing.size, 4);
  });
});

describe('pods that slipped through', () => {
  const missed = (name: string, change: Partial<ListedPod> = {}): ListedPod =>
    listedPod('team', name, change);
  const counted = ({ metrics }: ReplicaTwin): number | undefined =>
    metrics.gauge('podseal_injector_pods_not_injected');

  test('are counted, named and told of, once an hour', async (t) => {
    const { clock, api, leader } = await sceneOf(t);
    api.namespaces.set('team', labelled('team'));
    api.pods.push(missed('a'), missed('b'), missed('fine', { labels: injectedLabels }));
    api.tell();
    await clock.advance(roundMs * 1.5);
    equal(counted(leader), 2);
    deepEqual(leader.events, ['team/a NotInjected', 'team/b NotInjected']);
    const lines = () => leader.logged.lines.filter(({ event }) => event === 'pods.missed');
    deepEqual(lines()[0]?.fields['pods'], ['team/a', 'team/b']);
    match(lines()[0]?.message ?? '', /^2 pods/);
    await clock.advance(1_200_000);
    equal(leader.events.length, 2);
    equal(lines().length, 1);
    await clock.advance(3_000_000);
    equal(leader.events.length, 4);
    api.pods.length = 0;
    await clock.advance(roundMs * 1.5);
    equal(counted(leader), 0);
  });

  test('are told of in so many Events a round at most, and all in the end', async (t) => {
    const { clock, api, leader } = await sceneOf(t);
    api.namespaces.set('team', labelled('team'));
    api.pods.push(...Array.from({ length: 250 }, (_, i) => missed(`p${i}`)));
    api.tell();
    await clock.advance(roundMs * 1.2);
    equal(counted(leader), 250);
    equal(leader.events.length, 200);
    await clock.advance(roundMs);
    equal(leader.events.length, 250);
  });

  test('are looked for in one list when many namespaces are labelled', async (t) => {
    const { clock, api, leader } = await sceneOf(t);
    const ofPods = (): readonly string[] =>
      api.calls.filter((call) => call.startsWith('pods') && call.includes('!=false'));
    for (let i = 0; i < 50; i++) api.namespaces.set(`team-${i}`, labelled(`team-${i}`));
    api.pods.push(missed('a', { namespace: 'team-7' }), missed('b', { namespace: 'unlabelled' }));
    for (const lists of [50, 1]) {
      api.tell();
      api.calls.length = 0;
      await clock.advance(roundMs);
      equal(ofPods().length, lists);
      equal(counted(leader), 1);
      api.namespaces.set('one-more', labelled('one-more'));
    }
  });

  test('are counted by the leader alone', async () => {
    const clock = manualClock(noon);
    const { api, replica } = publishingScene(clock, bundlePem);
    api.namespaces.set('team', labelled('team'));
    api.pods.push(missed('a'));
    const leader = replica();
    api.tell();
    const stop = leader.start();
    await clock.advance(1_000);
    equal(counted(leader), 1);
    await stop();
    equal(counted(leader), 0);
  });

  const old = { now: noon, ownNamespace };
  const asks = (change: Partial<ListedPod>): ListedPod =>
    missed('a', { labels: { 'podseal.dev/inject': 'true' }, ...change });
  for (const [what, change, expected] of [
    ['one that asks', {}, true],
    ['one that says nothing', { labels: {} }, true],
    ['one for Linux', { os: 'linux' }, true],
    ['one that is a minute old', { createdAt: new Date(noon.getTime() - 60_000) }, true],
    ['one that was just created', { createdAt: new Date(noon.getTime() - 59_999) }, false],
    ['one that opted out', { labels: { 'podseal.dev/inject': 'false' } }, false],
    ['one for Windows', { os: 'windows' }, false],
    ['one with its own agent', { containerNames: ['app', 'podseal'] }, false],
    ['one with its own init agent', { containerNames: ['podseal-init'] }, false],
    ['one that is being deleted', { isTerminating: true }, false],
    ['a static pod', { annotations: { 'kubernetes.io/config.mirror': 'x' } }, false],
    ['one of kube-system', { namespace: 'kube-system' }, false],
    ['one of kube-node-lease', { namespace: 'kube-node-lease' }, false],
    ['one of ours', { namespace: ownNamespace }, false],
  ] as const)
    test(`${what}: ${expected ? 'yes' : 'no'}`, () => {
      equal(slippedThrough(asks(change), old), expected);
    });
});
