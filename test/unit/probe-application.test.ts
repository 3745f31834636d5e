import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { applicationProbe } from '../../src/agent/probe-application.ts';
import { type NewestSet } from '../../src/application/newest-set.ts';
import { metricsRegistry } from '../../src/node/prometheus-text.ts';
import { manualClock } from '../support/manual-clock.ts';

const minute = 60_000;

const setOf = (fingerprint: string, bundlePem = ''): NewestSet => ({
  id: fingerprint + bundlePem,
  fingerprint,
  dnsName: undefined,
  keyPem: '',
  chainPem: '',
  bundlePem,
});

/** An application that serves what `state.serves` says; each handshake takes 10 ms. */
function scene(context: TestContext) {
  const clock = manualClock(new Date('2026-03-01T00:00:00.000Z'));
  const state: { set: NewestSet | undefined; serves: string | undefined } = {
    set: undefined,
    serves: undefined,
  };
  const looks: number[] = [];
  const said: string[] = [];
  const metrics = metricsRegistry();
  const probe = applicationProbe(
    { host: '127.0.0.1', port: 8443 },
    {
      clock,
      metrics,
      log: (_level, event) => said.push(event),
      current: () => state.set,
      async handshake(_address, _set, stop) {
        looks.push(clock.uptimeMs());
        const served = state.serves;
        await clock.pause(10, stop);
        if (served === undefined)
          throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
        return served;
      },
    },
  );
  const stopping = new AbortController();
  const running = probe.run(stopping.signal);
  context.after(async () => {
    stopping.abort();
    await running;
  });
  const publish = (set: NewestSet): void => {
    state.set = set;
    probe.published();
  };
  const gauges = (): readonly (string | undefined)[] =>
    ['reachable', 'serves_current'].map(
      (name) => new RegExp(`^podseal_application_${name} (\\d)$`, 'm').exec(metrics.text())?.[1],
    );
  return { clock, state, looks, said, probe, publish, gauges };
}

describe('applicationProbe()', () => {
  test('without a set nobody is asked', async (context) => {
    const { clock, looks, probe, gauges } = scene(context);
    await clock.advance(10 * minute);
    deepEqual(looks, []);
    equal(probe.report(), 'unknown');
    deepEqual(gauges(), [undefined, undefined]);
  });

  test('an application that starts, reloads, and serves what is on the volume', async (context) => {
    const { clock, state, said, probe, publish, gauges } = scene(context);
    publish(setOf('a'));
    await clock.advance(5_000);
    equal(probe.report(), 'unreachable');
    deepEqual(gauges(), ['0', '0']);
    state.serves = 'a';
    await clock.advance(10_000);
    equal(probe.report(), 'current');
    deepEqual(gauges(), ['1', '1']);
    publish(setOf('b'));
    await clock.advance(5_000);
    equal(probe.report(), 'other');
    deepEqual(gauges(), ['1', '0']);
    state.serves = 'b';
    await clock.advance(10_000);
    equal(probe.report(), 'current');
    // The moments in which an application starts or reloads are no news.
    deepEqual(said, ['application.current', 'application.current']);
  });

  test('an application that does not reload is reported once, after a minute', async (context) => {
    const { clock, state, said, publish } = scene(context);
    state.serves = 'a';
    publish(setOf('a'));
    await clock.advance(minute);
    publish(setOf('b'));
    await clock.advance(59_000);
    deepEqual(said, ['application.current']);
    await clock.advance(10 * minute);
    deepEqual(said, ['application.current', 'application.outdated']);
    state.serves = 'b';
    await clock.advance(minute);
    equal(said.at(-1), 'application.current');
  });

  test('an application that goes away is noticed within a minute', async (context) => {
    const { clock, state, said, probe, publish } = scene(context);
    state.serves = 'a';
    publish(setOf('a'));
    await clock.advance(10 * minute);
    state.serves = undefined;
    await clock.advance(minute);
    equal(probe.report(), 'unreachable');
    deepEqual(said, ['application.current', 'application.unreachable']);
  });

  test('looks once a minute when all is well, also after a change of the bundle alone', async (context) => {
    const { clock, state, looks, publish } = scene(context);
    state.serves = 'a';
    publish(setOf('a'));
    await clock.advance(10 * minute);
    ok(looks.length >= 10 && looks.length <= 11, `${looks.length} looks`);
    const before = looks.length;
    publish(setOf('a', 'another bundle'));
    await clock.advance(minute / 2);
    equal(looks.length, before + 1);
  });

  test('what was seen while the certificate was replaced does not count', async (context) => {
    const { clock, state, looks, probe, publish } = scene(context);
    state.serves = 'a';
    publish(setOf('a'));
    await clock.advance(5);
    publish(setOf('b'));
    await clock.advance(6);
    equal(looks.length, 2);
    equal(probe.report(), 'unknown', 'the first look was called off, the second is under way');
    await clock.advance(10);
    equal(probe.report(), 'other');
    match(String(looks[1]), /^5$/);
  });
});
