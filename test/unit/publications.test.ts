import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { servicesFile } from '../../src/injector/services-file.ts';
import { newCa, noon } from '../support/certificate-builders.ts';
import { type ManualClock, manualClock } from '../support/manual-clock.ts';
import {
  labelled,
  ownNamespace,
  type PublishingApi,
  publishingScene,
  type ReplicaTwin,
  service,
  webhookTwin,
} from '../support/publishing-twins.ts';
import { failure } from '../support/signer-twins.ts';

const bundlePem = newCa({ commonName: 'root' }).pem;
const nextPem = newCa({ commonName: 'next' }).pem;
const web = new Map([['app', 'web']]);
const services = { namespace: 'shop', name: 'podseal-services' } as const;
const trust = { namespace: 'shop', name: 'podseal-trust' } as const;

interface Scene {
  readonly clock: ManualClock;
  readonly api: PublishingApi;
  readonly replica: () => ReplicaTwin;
  /** A replica that leads until the test ends. */
  readonly leader: () => Promise<ReplicaTwin & { readonly calls: readonly string[] }>;
}

/** One labelled namespace with one Service; everything stands there already. */
function sceneOf(t: TestContext): Scene {
  const clock = manualClock(noon);
  const { api, replica } = publishingScene(clock, bundlePem);
  api.namespaces.set('shop', labelled('shop'));
  api.services.push(service('shop', 'web'));
  api.write(services, servicesFile(api.services));
  api.write(trust, bundlePem);
  const ends: (() => Promise<void>)[] = [];
  t.after(() => Promise.all(ends.map((end) => end())));
  return {
    clock,
    api,
    replica,
    async leader() {
      const leading = replica();
      api.tell();
      ends.push(leading.start());
      await clock.advance(5_000);
      return { ...leading, calls: api.calls.splice(0) };
    },
  };
}

describe('the leader', () => {
  test('writes nothing where all is current', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    const { calls } = await leader();
    deepEqual(
      calls.filter((call) => !call.startsWith('pods')),
      [],
    );
    api.relist();
    await clock.advance(5_000);
    deepEqual(api.calls, []);
  });

  test('gathers changes that come close together', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    await leader();
    for (const name of ['a', 'b', 'c']) {
      api.services.push(service('shop', name));
      api.tell();
      deepEqual(api.writes(), []);
      await clock.advance(60);
    }
    await clock.advance(200);
    deepEqual(api.writes(), ['change shop/podseal-services']);
    deepEqual(api.published('shop'), ['a', 'b', 'c', 'web']);
  });

  test('writes once a second at most, and the newest in the end', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    await leader();
    for (let i = 0; i < 50; i++) {
      api.services.push(service('shop', `s${i}`));
      api.tell();
      await clock.advance(100);
    }
    const writes = api.writes().length;
    ok(writes >= 4 && writes <= 6, `${writes} writes in 5 s`);
    await clock.advance(2_000);
    equal(api.published('shop')?.length, 51);
    // Once, because it was not this replica that wrote what stood there.
    equal(api.calls.filter((call) => call === 'services shop').length, 1);
    api.services.splice(0, 10);
    api.tell();
    await clock.advance(2_000);
    equal(api.published('shop')?.length, 41);
  });

  test('writes what changed alone', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    api.namespaces.set('bank', labelled('bank', { injects: false, publishes: true }));
    await leader();
    deepEqual(api.published('bank'), []);
    api.services.push(service('bank', 'vault'));
    api.tell();
    await clock.advance(2_000);
    deepEqual(api.writes(), ['change bank/podseal-services']);
    api.calls.length = 0;
    api.trust = nextPem;
    api.tell();
    await clock.advance(2_000);
    deepEqual(api.writes().toSorted(), ['change bank/podseal-trust', 'change shop/podseal-trust']);
    equal(api.text('shop', 'podseal-trust'), nextPem);
  });

  test('leaves alone what is not labelled, is being deleted, or is our own', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    api.namespaces.set('plain', labelled('plain', { injects: false }));
    api.namespaces.set('ending', labelled('ending', { isTerminating: true }));
    api.namespaces.set(ownNamespace, labelled(ownNamespace));
    await leader();
    await clock.advance(5_000);
    equal(api.standing.size, 2);
  });

  test('restores what was deleted in a namespace that lost its label: a pod may need it', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    await leader();
    api.namespaces.set('shop', labelled('shop', { injects: false }));
    api.tell();
    api.remove(trust);
    api.tell();
    await clock.advance(1_000);
    equal(api.text('shop', 'podseal-trust'), bundlePem);
  });

  test('forgets a namespace that is gone: another of its name starts anew', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    await leader();
    for (const how of ['watch', 'list'] as const) {
      api.namespaces.set('shop', labelled('shop'));
      api.tell();
      await clock.advance(1_000);
      api.namespaces.delete('shop');
      api.standing.clear();
      if (how === 'watch') api.tell();
      else api.relist();
      api.namespaces.set('shop', labelled('shop', { injects: false }));
      api.tell();
      await clock.advance(5_000);
      equal(api.standing.size, 0);
    }
  });

  test('does not write a file that is too large, and says so once', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    const replica = await leader();
    const { logged, metrics } = replica;
    const selector = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i) => [`example.com/${i}`, 'v'.repeat(50)]),
    );
    for (const name of ['large', 'larger']) {
      api.services.push(service('shop', name, { selector }));
      api.tell();
      await clock.advance(2_000);
    }
    deepEqual(api.writes(), []);
    equal(logged.events().filter((event) => event === 'publication.large').length, 1);
    replica.updateGauges();
    equal(metrics.gauge('podseal_injector_namespaces_too_large'), 1);
    api.services.splice(1);
    api.tell();
    await clock.advance(2_000);
    replica.updateGauges();
    equal(metrics.gauge('podseal_injector_namespaces_too_large'), 0);
  });

  test('asks the API for the Services before it undoes what somebody wrote', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    await leader();
    // Another replica knew of a Service that our watch has not told of.
    api.late.add('Services');
    api.services.push(service('shop', 'late'));
    api.write(services, servicesFile(api.services));
    api.tell();
    await clock.advance(5_000);
    deepEqual(api.calls, ['services shop']);
    deepEqual(api.published('shop'), ['late', 'web']);
  });

  test('tries again with growing gaps, and lets no other namespace wait', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    api.namespaces.set('bank', labelled('bank'));
    api.before = (call) => {
      if (call.startsWith('create bank')) throw failure('API_REFUSED');
    };
    const { failures } = await leader();
    const early = failures.length;
    ok(early >= 2);
    api.services.push(service('shop', 'new'));
    api.tell();
    await clock.advance(1_500);
    deepEqual(api.published('shop'), ['new', 'web']);
    await clock.advance(60_000);
    const later = failures.length - early;
    ok(later >= 3 && later <= 14, `${later} attempts in a minute`);
    api.before = () => undefined;
    await clock.advance(20_000);
    deepEqual(api.published('bank'), []);
  });

  test('writes nothing without an owner, and everything when there is one', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    api.standing.clear();
    api.webhook = undefined;
    await leader();
    equal(api.standing.size, 0);
    api.webhook = webhookTwin('owner-2', bundlePem);
    api.tell();
    await clock.advance(1_000);
    equal(api.standing.size, 2);
    deepEqual(api.standing.get('shop/podseal-trust')?.configMap.owners, ['owner-2']);
  });

  test('writes nothing any more when it has stopped leading', async (t) => {
    const { clock, api, replica } = sceneOf(t);
    const leading = replica();
    api.tell();
    const stop = leading.start();
    await clock.advance(1_000);
    const stopped = stop();
    await clock.advance(1_000);
    await stopped;
    api.services.push(service('shop', 'new'));
    api.tell();
    await clock.advance(10_000);
    deepEqual(api.writes(), []);
    leading.updateGauges();
    equal(leading.metrics.gauge('podseal_injector_namespaces'), 0);
  });
});

describe('the caBundle', () => {
  test('is set in every webhook when it differs, once', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    api.webhook = webhookTwin('owner', undefined, bundlePem);
    await leader();
    deepEqual(api.webhook.caBundles, [bundlePem, bundlePem]);
    api.trust = nextPem;
    api.tell();
    await clock.advance(5_000);
    deepEqual(api.webhook.caBundles, [nextPem, nextPem]);
    equal(api.calls.filter((call) => call === 'set caBundle').length, 1);
    // The watch tells of something older while it is written.
    api.before = (call) => {
      if (call === 'set caBundle') api.relist();
    };
    api.trust = bundlePem;
    api.tell();
    await clock.advance(5_000);
    equal(api.calls.filter((call) => call === 'set caBundle').length, 2);
  });

  test('waits for the watch when somebody else wrote, and says nothing of it', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    const { failures } = await leader();
    api.webhook = { ...webhookTwin('owner', 'wiped'), resourceVersion: '7' };
    api.tell();
    // Changed once more, and the watch is late.
    api.webhook = { ...api.webhook, resourceVersion: '8' };
    await clock.advance(1_000);
    api.tell();
    await clock.advance(1_000);
    deepEqual(api.webhook.caBundles, [bundlePem]);
    deepEqual(failures, []);
  });

  test('is tried again with growing gaps when the API refuses', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    const { failures } = await leader();
    api.before = (call) => {
      if (call === 'set caBundle') throw failure('API_FORBIDDEN');
    };
    api.trust = nextPem;
    api.tell();
    await clock.advance(60_000);
    ok(failures.length >= 6 && failures.length <= 15, `${failures.length} attempts in a minute`);
    api.before = () => undefined;
    await clock.advance(15_000);
    deepEqual(api.webhook?.caBundles, [nextPem]);
  });

  test('is not touched while there is no bundle that can be used', async (t) => {
    const { clock, api, leader } = sceneOf(t);
    api.trust = 'broken';
    const { logged } = await leader();
    await clock.advance(5_000);
    deepEqual(api.calls, []);
    deepEqual(api.webhook?.caBundles, [bundlePem]);
    ok(logged.events().includes('trust.unusable'));
  });
});

describe('ensure()', () => {
  test('makes no call where all is current', async (t) => {
    const { api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    deepEqual(await follower.ensure('shop', web), []);
    deepEqual(api.calls, []);
  });

  test('asks once for all pods that no known Service selects', async (t) => {
    const { api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    api.services.push(service('shop', 'new'));
    const labels = new Map([['app', 'new']]);
    await Promise.all(Array.from({ length: 50 }, () => follower.ensure('shop', labels)));
    // The second for those who asked while the first was under way.
    deepEqual(api.calls.toSorted(), [
      'change shop/podseal-services',
      'services shop',
      'services shop',
    ]);
    deepEqual(api.published('shop'), ['new', 'web']);
  });

  test('counts no Service that proves nothing', async (t) => {
    const { api, replica } = sceneOf(t);
    api.services.length = 0;
    api.services.push(
      service('shop', 'web', { isExternalName: true }),
      service('shop', 'all', { selector: {} }),
      service('bank', 'web'),
    );
    api.write(services, servicesFile([]));
    const follower = replica();
    api.tell();
    await follower.ensure('shop', web);
    deepEqual(api.calls, ['services shop']);
  });

  test('creates both in a namespace that it is told of a moment later', async (t) => {
    const { clock, api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    api.namespaces.set('new', labelled('new', { injects: false }));
    const answer = follower.ensure('new', web);
    await clock.advance(200);
    deepEqual(api.calls, []);
    api.tell();
    await clock.advance(200);
    deepEqual(await answer, []);
    deepEqual(api.published('new'), []);
    equal(api.text('new', 'podseal-trust'), bundlePem);
  });

  test('makes no call for a namespace that is not known after a second', async (t) => {
    const { clock, api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    const answer = follower.ensure('made-up', web);
    await clock.advance(1_100);
    match((await answer).join(), /"made-up" is not known yet/);
    deepEqual(api.calls, []);
  });

  test("does nothing in our own namespace, the system's, and in one that is being deleted", async (t) => {
    const { api, replica } = sceneOf(t);
    api.namespaces.set('ending', labelled('ending', { isTerminating: true }));
    const systems = ['kube-system', 'kube-node-lease'];
    for (const each of systems) api.namespaces.set(each, labelled(each, { injects: false }));
    const follower = replica();
    api.tell();
    for (const namespace of [ownNamespace, ...systems, 'ending'])
      deepEqual(await follower.ensure(namespace, web), []);
    deepEqual(api.calls, []);
  });

  test('believes no watch that has fallen silent', async (t) => {
    const { api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    api.remove(trust);
    follower.silentMs.set('ConfigMaps podseal-trust', 121_000);
    deepEqual(await follower.ensure('shop', web), []);
    equal(api.text('shop', 'podseal-trust'), bundlePem);
    deepEqual(follower.reasonsNotReady(), ['nothing heard for minutes: ConfigMaps podseal-trust']);
    follower.silentMs.clear();
    deepEqual(follower.reasonsNotReady(), []);
    api.services.push(service('shop', 'also', { selector: { app: 'web' } }));
    follower.silentMs.set('Services', 121_000);
    await follower.ensure('shop', web);
    deepEqual(api.published('shop'), ['also', 'web']);
  });

  test('publishes the Services, and warns, when there is no bundle yet', async (t) => {
    const { api, replica } = sceneOf(t);
    api.trust = undefined;
    api.standing.clear();
    const follower = replica();
    api.tell();
    const warnings = await follower.ensure('shop', web);
    match(
      warnings.join(),
      /^podseal: the pod waits for the trust bundle, which the signer has not/,
    );
    deepEqual(api.published('shop'), ['web']);
    equal(api.text('shop', 'podseal-trust'), undefined);
  });

  test('asks for the owner when none is known', async (t) => {
    const { api, replica } = sceneOf(t);
    api.standing.clear();
    api.late.add('the webhook');
    const follower = replica();
    api.tell();
    deepEqual(await follower.ensure('shop', web), []);
    equal(api.standing.size, 2);
    api.webhook = undefined;
    const other = replica();
    api.tell();
    match((await other.ensure('shop', web)).join(), /^podseal: nothing is published/);
  });

  test('answers after two seconds when the API is slow, and its work goes on', async (t) => {
    const { clock, api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    api.standing.clear();
    api.tell();
    const wait = new AbortController();
    api.before = (call) =>
      call.startsWith('create') ? clock.pause(8_000, wait.signal) : undefined;
    let warnings: readonly string[] | undefined;
    void follower.ensure('shop', web).then((all) => (warnings = all));
    await clock.advance(1_900);
    equal(warnings, undefined);
    await clock.advance(200);
    match(String(warnings), /the pod may have to wait: nothing was heard .* for 2 s/);
    await clock.advance(6_500);
    equal(api.standing.size, 2);
  });

  for (const code of ['API_UNREACHABLE', 'API_FORBIDDEN', 'API_REFUSED', 'API_CONFLICT'] as const)
    test(`warns when the API says ${code}`, async (t) => {
      const { api, replica } = sceneOf(t);
      api.standing.clear();
      const follower = replica();
      api.tell();
      api.before = (call) => {
        if (call.startsWith('create')) throw failure(code);
      };
      match((await follower.ensure('shop', web)).join(), new RegExp(`have to wait: .*${code}`));
      equal(follower.failures.length, 1);
    });

  test('does not write an older list over what another replica knew', async (t) => {
    const { api, replica } = sceneOf(t);
    const follower = replica();
    api.tell();
    api.late.add('Services');
    api.services.push(service('shop', 'new'));
    api.write(services, servicesFile(api.services));
    api.tell();
    deepEqual(await follower.ensure('shop', web), []);
    deepEqual(api.published('shop'), ['new', 'web']);
    deepEqual(api.writes(), []);
  });
});
