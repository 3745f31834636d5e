import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { watchCertificate } from '../../src/agent/watch.ts';
import { type AgentWorld } from '../../src/agent/world.ts';
import {
  type NewSigningRequest,
  type SigningRequest,
} from '../../src/certificates/signing-request.ts';
import { PodsealError } from '../../src/errors.ts';
import { wantedNames } from '../../src/identity/wanted-names.ts';
import { generateKey } from '../../src/node/key-generator.ts';
import { metricsRegistry } from '../../src/node/prometheus-text.ts';
import { parseCertificationRequest } from '../../src/pki/certification-request.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { decodePem } from '../../src/pki/pem.ts';
import { authorityOf, makeRoot, type Authority } from '../../src/signer/authority.ts';
import { certificateProfile } from '../../src/signer/profile.ts';
import { type PendingRequest, type PublishedSet, type Volume } from '../../src/volume/volume.ts';
import { manualClock, type ManualClock } from '../support/manual-clock.ts';

const hour = 3_600_000;
const day = 24 * hour;
const start = new Date('2026-03-01T00:00:00.000Z');

/** A volume in memory: what is published is one new value. */
function memoryVolume(): Volume {
  let published: PublishedSet | undefined;
  let pending: PendingRequest | undefined;
  return {
    read: () => published,
    publish(files, receipt) {
      const text = (name: string): string =>
        String(files.find((file) => file.name === name)?.content);
      published = {
        tlsKey: Buffer.from(text('tls.key')),
        tlsCrt: text('tls.crt'),
        caCrt: text('ca.crt'),
        receipt,
        files: files.map((file) => file.name),
      };
    },
    readPending: () => pending,
    writePending: (next) => (pending = next),
    clearPending: () => (pending = undefined),
    readTold: () => undefined,
    writeTold: () => undefined,
  };
}

async function root(name: string): Promise<{ pem: string; authority: Authority }> {
  const keyPair = await generateKey('ECDSAP256');
  const pem = makeRoot(
    {
      commonName: name,
      clusterDomain: 'cluster.local',
      trustDomain: 'cluster.local',
      notBefore: new Date(start.getTime() - day),
      notAfter: new Date(start.getTime() + 3650 * day),
      serial: randomBytes(16),
    },
    keyPair,
  );
  return { pem, authority: authorityOf(pem, privateKeyPem(keyPair)) };
}

/** An agent whose world is all in memory: an API that approves and signs at once, and a clock to move. */
async function scene(context: TestContext, lifetimeMs: number) {
  const clock: ManualClock = manualClock(start);
  const first = await root('first');
  const state = {
    services: ['web'],
    trustPem: first.pem,
    authority: first.authority,
    isAway: false,
    isDenying: false,
  };
  const requests = new Map<string, SigningRequest>();
  const created: NewSigningRequest[] = [];
  const unreachable = (): void => {
    if (state.isAway)
      throw new PodsealError('API_UNREACHABLE', 'Cannot reach the API server: away');
  };
  const issue = (request: NewSigningRequest): string => {
    const parsed = parseCertificationRequest(decodePem(request.request)[0]?.der ?? Buffer.of());
    const template = certificateProfile(
      parsed,
      { usages: request.usages, expirationSeconds: lifetimeMs / 1000 },
      {
        defaultLifetimeMs: day,
        maximumLifetimeMs: 3650 * day,
        backDateMs: 300_000,
        issuerValidity: state.authority.certificate.validity,
      },
      { now: clock.now(), serial: randomBytes(16) },
    );
    return state.authority.issue(template);
  };
  const world: AgentWorld = {
    clock,
    random: { fraction: () => 0.5 },
    retry: (attempt) => attempt(),
    generateKey,
    requests: {
      create(request) {
        unreachable();
        created.push(request);
        const condition = {
          type: state.isDenying ? 'Denied' : 'Approved',
          reason: 'Test',
          message: 'test',
        };
        const answer = {
          name: request.name,
          uid: `uid-${created.length}`,
          request: request.request,
          signerName: request.signerName,
          conditions: [condition],
          certificate: state.isDenying ? undefined : issue(request),
        };
        requests.set(request.name, answer);
        return Promise.resolve(answer);
      },
      get(name) {
        unreachable();
        return Promise.resolve(requests.get(name));
      },
    },
    sources: {
      names() {
        const services = state.services.map((name) => ({ name, clusterIPs: [], headless: false }));
        const pod = {
          name: 'web-0',
          namespace: 'shop',
          uid: 'u',
          serviceAccount: 'web',
          ipAddresses: ['10.97.0.10'],
          hostname: undefined,
          subdomain: undefined,
        };
        const settings = {
          clusterDomain: 'cluster.local',
          trustDomain: 'cluster.local',
          forms: [],
          extraDnsNames: [],
          extraIpAddresses: [],
        };
        return { kind: 'known', names: wantedNames(pod, services, settings), source: 'test' };
      },
      trust: () => [{ path: 'ca.crt', kind: 'read', pem: state.trustPem }],
      renewAnnotation: () => undefined,
    },
    volume: memoryVolume(),
    log: () => undefined,
    metrics: metricsRegistry(),
    freeMemory: () => undefined,
  };
  const agent = watchCertificate(
    {
      podUid: 'u',
      signerName: 'podseal.dev/serving',
      keyAlgorithm: 'ECDSAP256',
      lifetimeMs,
      timeoutMs: hour,
      withCommonName: false,
      payload: { keyMode: 0o400, formats: [], storePassword: '' },
    },
    world,
  );
  const stop = new AbortController();
  const running = agent.run(stop.signal);
  let failure: unknown;
  running.catch((error: unknown) => (failure = error));
  context.after(async () => {
    stop.abort();
    await clock.advance(1).catch(() => undefined);
    await running.catch(() => undefined);
  });
  await clock.advance(1_000);
  equal(created.length, 1, 'the first certificate');
  return { clock, state, created, agent, running, failure: () => failure };
}

describe('watchCertificate() as time passes', () => {
  test('a 60-day certificate is renewed once, between 30 and 40 days (timers overflow at 24.8)', async (context) => {
    const { clock, created } = await scene(context, 60 * day);
    await clock.advance(30 * day - hour);
    equal(created.length, 1);
    await clock.advance(10 * day + 2 * hour);
    equal(created.length, 2);
  });

  test('a 2-minute certificate back-dated by 5 minutes is renewed about once a minute, not in a storm', async (context) => {
    const { clock, created } = await scene(context, 120_000);
    await clock.advance(hour);
    ok(created.length > 45 && created.length <= 61, `${created.length} certificates in an hour`);
  });

  test('an API that is away for most of the lifetime and back: renewed in time', async (context) => {
    const { clock, state, created, failure } = await scene(context, day);
    state.isAway = true;
    await clock.advance(23 * hour);
    equal(created.length, 1);
    state.isAway = false;
    await clock.advance(30 * 60_000);
    equal(created.length, 2);
    equal(failure(), undefined);
  });

  test('an API that stays away past expiry: ends, saying so', async (context) => {
    const { clock, state, running } = await scene(context, day);
    state.isAway = true;
    const ended = rejects(running, (error: PodsealError) => {
      equal(error.code, 'API_UNREACHABLE');
      match(error.message, /Cannot keep the certificate fresh: it expired at 2026-03-02T00:00:/);
      return true;
    });
    await clock.advance(day + hour);
    await ended;
  });

  test('a clock stepped back by a day does not storm, and renewal still comes', async (context) => {
    const { clock, created } = await scene(context, day);
    clock.step(-day);
    await clock.advance(day);
    equal(created.length, 1);
    await clock.advance(17 * hour);
    equal(created.length, 2);
  });

  test('a clock stepped past expiry leads to one certificate at once', async (context) => {
    const { clock, created, failure } = await scene(context, day);
    clock.step(3 * day);
    await clock.advance(2 * 60_000);
    equal(created.length, 2);
    equal(failure(), undefined);
  });

  test('a replaced root leads to exactly one renewal, within five minutes', async (context) => {
    const { clock, state, created, agent } = await scene(context, day);
    const next = await root('next');
    state.trustPem = next.pem;
    state.authority = next.authority;
    agent.sourcesChanged();
    await clock.advance(5 * 60_000 + 1_000);
    equal(created.length, 2);
    deepEqual(agent.state().status.reasons, []);
    await clock.advance(hour);
    equal(created.length, 2);
  });

  test('a certificate of a CA that is not trusted yet is used as soon as it is', async (context) => {
    const { clock, state, created, agent } = await scene(context, day);
    const next = await root('next');
    state.authority = next.authority;
    await clock.advance(20 * hour);
    equal(created.length, 2);
    equal(agent.state().failure?.error.code, 'CERTIFICATE_UNTRUSTED');
    state.trustPem += next.pem;
    agent.sourcesChanged();
    await clock.advance(100);
    equal(agent.state().failure, undefined);
    equal(agent.state().pending, undefined);
    equal(created.length, 2);
  });

  test('a denied renewal keeps what is there and asks slowly, with a new key each time', async (context) => {
    const { clock, state, created, agent } = await scene(context, day);
    state.isDenying = true;
    await clock.advance(20 * hour);
    ok(agent.state().status.ready);
    const attempts = created.length - 1;
    ok(attempts >= 3 && attempts < 100, `${attempts} attempts in at least four hours`);
    equal(new Set(created.map((request) => request.name)).size, created.length);
  });

  test('a Service that went away costs no certificate, one that came does, once', async (context) => {
    const { clock, state, created, agent } = await scene(context, day);
    state.services = [];
    agent.sourcesChanged();
    await clock.advance(hour);
    equal(created.length, 1);
    state.services = ['web', 'shop'];
    agent.sourcesChanged();
    await clock.advance(60_000);
    equal(created.length, 2);
    state.services = ['web'];
    agent.sourcesChanged();
    await clock.advance(hour);
    equal(created.length, 2);
  });
});
