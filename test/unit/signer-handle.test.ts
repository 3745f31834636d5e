import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { parseDenial } from '../../src/certificates/denial.ts';
import { type ObservedRequest } from '../../src/certificates/observed-request.ts';
import { type PodsealError } from '../../src/errors.ts';
import { certificatesFromPem, subjectNamesIn } from '../../src/pki/certificate.ts';
import { keyPairOf, privateKeyPem } from '../../src/pki/key-pair.ts';
import { nameConstraints, noSubtrees } from '../../src/pki/name-constraints.ts';
import { handleRequest, type HandleWorld } from '../../src/signer/handle.ts';
import { readSigningCa, type SigningCa } from '../../src/signer/signing-ca.ts';
import { type SignerConfig } from '../../src/signer/world.ts';
import { type PodEvent, type PodReference } from '../../src/telemetry/pod-events.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { verifyChain } from '../../src/trust/verify-chain.ts';
import { contentRules, type ContentRuleId } from '../../src/vetting/content-rules.ts';
import { aRequest, type Asking, aUser } from '../support/approval-builders.ts';
import { atNoonPlus, dayMs, hourMs, newCa, noon } from '../support/certificate-builders.ts';
import { manualClock } from '../support/manual-clock.ts';
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

const ca = readSigningCaOf(newCa());

function readSigningCaOf(root: ReturnType<typeof newCa>): SigningCa {
  const secret = { certificate: root.pem, key: privateKeyPem(root.keyPair), root: undefined };
  return readSigningCa(secret, noon);
}

interface Scene extends HandleWorld {
  readonly api: IssuanceTwin;
  readonly logged: LogTwin;
  readonly counts: MetricsTwin;
  readonly events: readonly (readonly [PodReference, PodEvent])[];
}

function sceneWith(changes: Partial<HandleWorld> = {}): Scene {
  const api = issuanceTwin();
  const logged = logTwin();
  const counts = metricsTwin();
  const events: [PodReference, PodEvent][] = [];
  const config: Partial<SignerConfig> = {
    signerNames: ['podseal.dev/serving', 'podseal.dev/other'],
    defaultLifetimeMs: dayMs,
    maximumLifetimeMs: 90 * dayMs,
    backDateMs: 300_000,
  };
  return {
    ...{ api, logged, counts, events },
    clock: manualClock(noon),
    log: logged.log,
    metrics: counts,
    issuance: api,
    config: config as SignerConfig,
    randomBytes: (count) => Buffer.alloc(count, 0xab),
    ca: () => ca,
    recordEvent: (pod, event) => events.push([pod, event]),
    ...changes,
  };
}

const approved = [condition('Approved')];
const honest: Asking = { names: { dnsNames: ['web.shop.svc'] }, conditions: approved };

/** The request as it was stored before it was handled. */
const given = (scene: Scene, asking: Asking = honest): ObservedRequest =>
  scene.api.put(aRequest(asking));

const storedIn = ({ api }: Scene) => api.stored.get(aRequest().name);

describe('handleRequest() of the signer', () => {
  test('issues, counts, logs and tells the pod', async () => {
    const scene = sceneWith();
    const request = given(scene);
    assert.deepEqual(await handleRequest(request, scene), { kind: 'done' });
    const [leaf, ...above] = certificatesFromPem(storedIn(scene)?.certificate ?? '');
    assert.ok(leaf);
    assert.deepEqual(subjectNamesIn(leaf).dnsNames, ['web.shop.svc']);
    assert.equal(verifyChain(leaf, above, bundleOf(ca.roots), noon).kind, 'trusted');
    assert.equal(scene.counts.counted('podseal_signer_certificates_total'), 1);
    assert.equal(scene.counts.counted('podseal_signer_issue_seconds'), 1);
    const [line] = scene.logged.lines;
    assert.equal(line?.event, 'certificate.issued');
    assert.deepEqual(line.fields, {
      request: request.name,
      signerName: 'podseal.dev/serving',
      pod: 'shop/web-0',
      names: ['web.shop.svc'],
      serial: leaf.serial,
      fingerprint: leaf.fingerprint,
      notAfter: atNoonPlus(dayMs).toISOString(),
    });
    const [[pod, event] = []] = scene.events;
    assert.deepEqual([pod?.name, event?.reason], ['web-0', 'CertificateIssued']);
    assert.match(event?.message ?? '', new RegExp(leaf.serial));
  });

  for (const [what, changes] of [
    ['pending', { conditions: [] }],
    ['denied', { conditions: [condition('Denied')] }],
    ['failed', { conditions: [condition('Approved'), condition('Failed')] }],
    [
      'approved by nobody but a foreign condition',
      { conditions: [{ ...condition('Approved'), type: 'Ready' }] },
    ],
    ['of a foreign signer name', { signerName: 'kubernetes.io/kube-apiserver-client' }],
    ['of a signer name that only begins like ours', { signerName: 'podseal.dev/serving2' }],
  ] as const satisfies readonly (readonly [string, Asking])[])
    test(`never touches one that is ${what}`, async () => {
      const scene = sceneWith();
      const request = given(scene, { ...honest, ...changes });
      assert.deepEqual(await handleRequest(request, scene), { kind: 'done' });
      assert.deepEqual(storedIn(scene), { request, certificate: undefined });
      assert.deepEqual([scene.logged.lines, scene.events], [[], []]);
    });

  test('never touches one that is issued', async () => {
    const scene = sceneWith();
    const request = scene.api.put(aRequest(honest), 'a certificate');
    assert.deepEqual(await handleRequest(request, scene), { kind: 'done' });
    assert.equal(storedIn(scene)?.request, request);
  });

  test('waits while there is no CA, and marks nothing Failed', async () => {
    const scene = sceneWith({ ca: () => undefined });
    const request = given(scene, { ...honest, pem: 'garbage' });
    assert.deepEqual(await handleRequest(request, scene), { kind: 'again', afterMs: 1_000 });
    assert.equal(storedIn(scene)?.request, request);
  });

  test('signs for a person who asks and approves, and writes no Event then', async () => {
    const scene = sceneWith();
    const person = { by: aUser('kubernetes-admin'), names: { dnsNames: ['db.other.svc'] } };
    await handleRequest(given(scene, { ...honest, ...person }), scene);
    assert.ok(storedIn(scene)?.certificate);
    assert.deepEqual(scene.events, []);
    assert.equal(scene.logged.lines[0]?.fields['pod'], undefined);
  });

  test('signs within the validity of the CA and those above it', async () => {
    const short = { notBefore: atNoonPlus(-60_000), notAfter: atNoonPlus(hourMs) };
    const parent = newCa({ validity: short });
    const child = newCa({ commonName: 'child', parent });
    const secret = { certificate: child.pem, key: privateKeyPem(child.keyPair), root: parent.pem };
    const scene = sceneWith({ ca: () => readSigningCa(secret, noon) });
    await handleRequest(given(scene), scene);
    const [leaf] = certificatesFromPem(storedIn(scene)?.certificate ?? '');
    assert.deepEqual(leaf?.validity, short);
  });
});

describe('handleRequest() of what a person approved against the rules', () => {
  const dns = (...dnsNames: readonly string[]): Asking => ({ names: { dnsNames } });
  const constrained = readSigningCaOf(
    newCa({
      extensions: [
        nameConstraints({ permitted: { ...noSubtrees, dns: ['svc'] }, excluded: noSubtrees }),
      ],
    }),
  );
  const weak = keyPairOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey);
  const cases: Readonly<Record<ContentRuleId, readonly [Asking, RegExp]>> = {
    'certification-request': [{ pem: 'garbage' }, /it is not PEM/],
    key: [{ key: weak }, /an RSA key of 1024 bits/],
    subject: [
      { commonName: 'google.com' },
      /"google.com": the common name is none of the DNS names/,
    ],
    'number-of-names': [
      dns(...Array.from({ length: 251 }, (_, i) => `web-${i}.shop.svc`)),
      /251 names/,
    ],
    'repeated-names': [dns('web.shop.svc', 'web.shop.svc'), /asked for twice/],
    'well-formed-names': [dns('web.shop.svc', 'under_score.shop.svc'), /under_score/],
    extensions: [{ usagesInside: ['cert sign', 'server auth', 'client auth'] }, /keyUsage/],
    usages: [
      { usages: ['code signing', 'server auth'], usagesInside: ['server auth'] },
      /"code signing": this usage/,
    ],
    lifetime: [{ expirationSeconds: 91 * 86_400 }, /the longest lifetime is 90d/],
    'ca-constraints': [
      dns('google.com'),
      /"google.com": the CA's name constraints do not permit it/,
    ],
  };

  for (const rule of Object.keys(contentRules) as ContentRuleId[])
    test(`marks it Failed with the reason: ${rule}`, async () => {
      const scene = sceneWith({ ca: () => constrained });
      const [asking, why] = cases[rule];
      assert.deepEqual(await handleRequest(given(scene, { ...honest, ...asking }), scene), {
        kind: 'done',
      });
      const stored = storedIn(scene);
      assert.equal(stored?.certificate, undefined);
      const [first, failed] = stored?.request.conditions ?? [];
      assert.deepEqual([first?.type, failed?.type], ['Approved', 'Failed']);
      assert.match(failed?.message ?? '', why);
      const rules = parseDenial(failed?.message ?? '')?.reasons.map((reason) => reason.rule);
      assert.deepEqual([...new Set(rules)], [rule]);
      assert.equal(scene.counts.counted('podseal_signer_failed_total', { rule }), 1);
      assert.deepEqual(scene.logged.events(), ['request.failed']);
      assert.equal(scene.events[0]?.[1].reason, 'CertificateFailed');
    });

  test('names every reason', async () => {
    const scene = sceneWith({ ca: () => constrained });
    const asking = { ...dns('google.com', 'google.com'), commonName: 'x', expirationSeconds: 1e9 };
    await handleRequest(given(scene, { ...honest, ...asking }), scene);
    const message = storedIn(scene)?.request.conditions.at(-1)?.message ?? '';
    assert.deepEqual(
      parseDenial(message)?.reasons.map(({ rule }) => rule),
      ['subject', 'repeated-names', 'lifetime', 'ca-constraints', 'ca-constraints'],
    );
    assert.deepEqual(scene.logged.lines[0]?.fields['names'], ['google.com', 'google.com']);
  });

  test('keeps the Event within its thousand characters', async () => {
    const scene = sceneWith();
    const bad = Array.from({ length: 30 }, (_, index) => `under_score-${index}${'x'.repeat(200)}`);
    await handleRequest(given(scene, { ...honest, ...dns(...bad) }), scene);
    assert.equal(scene.events[0]?.[1].message.length, 1000);
  });

  for (const [what, change, isFailed] of [
    [
      'somebody marked it Failed',
      { conditions: [...approved, condition('Failed', 'by hand')] },
      true,
    ],
    ['it was written meanwhile', {}, false],
  ] as const)
    test(`looks again when ${what}`, async () => {
      const scene = sceneWith();
      const request = given(scene, { ...honest, pem: 'garbage' });
      scene.api.put({ ...request, ...change });
      assert.deepEqual(await handleRequest(request, scene), { kind: 'done' });
      const message = storedIn(scene)?.request.conditions.at(-1)?.message;
      assert.equal(message === 'by hand', isFailed);
      assert.equal(scene.counts.counted('podseal_signer_in_vain_total'), 0);
    });
});

describe('handleRequest() and others who write', () => {
  /** Handles a request that changes before the certificate is written. */
  const handledAfter = async (
    change: (api: IssuanceTwin, request: ObservedRequest) => void,
  ): Promise<Scene> => {
    const scene = sceneWith();
    const request = given(scene);
    change(scene.api, request);
    assert.deepEqual(await handleRequest(request, scene), { kind: 'done' });
    return scene;
  };
  const inVain = ({ counts }: Scene): number => counts.counted('podseal_signer_in_vain_total');
  const issued = ({ counts }: Scene): number => counts.counted('podseal_signer_certificates_total');

  test('signs again for the newer version, and counts the first in vain', async () => {
    const scene = await handledAfter((api, request) => api.put({ ...request, isRenewal: true }));
    assert.ok(storedIn(scene)?.certificate);
    assert.deepEqual([inVain(scene), issued(scene)], [1, 1]);
  });

  test('leaves the certificate of another replica alone', async () => {
    const scene = await handledAfter((api, request) => api.put(request, 'of another replica'));
    assert.equal(storedIn(scene)?.certificate, 'of another replica');
    assert.deepEqual([inVain(scene), issued(scene)], [1, 0]);
  });

  for (const [what, change] of [
    ['was deleted', (api, { name }) => api.delete(name)],
    ['was created anew', (api, request) => api.put({ ...request, uid: 'another' })],
    [
      'was marked Failed',
      (api, request) => api.put({ ...request, conditions: [...approved, condition('Failed')] }),
    ],
  ] as const satisfies readonly (readonly [
    string,
    (api: IssuanceTwin, request: ObservedRequest) => void,
  ])[])
    test(`gives up when it ${what}`, async () => {
      const scene = await handledAfter(change);
      assert.equal(storedIn(scene)?.certificate, undefined);
      assert.deepEqual([inVain(scene), issued(scene)], [1, 0]);
      assert.deepEqual(scene.events, []);
    });

  test('fails when the API server refuses the write, and nobody else was first', async () => {
    const scene = sceneWith();
    scene.api.before = () => {
      throw failure('API_REFUSED');
    };
    await assert.rejects(handleRequest(given(scene), scene), { code: 'API_REFUSED' });
    assert.equal(inVain(scene), 1);
  });

  for (const [what, error, events] of [
    ['no answer: it stands in the log', failure('API_UNREACHABLE'), ['certificate.unconfirmed']],
    ['the answer to come later', failure('API_UNREACHABLE', 1_000), []],
    ['no right', failure('API_FORBIDDEN'), []],
  ] as const satisfies readonly (readonly [string, PodsealError, readonly string[]])[])
    test(`fails, to be handled again, after ${what}`, async () => {
      const scene = sceneWith();
      scene.api.before = () => {
        throw error;
      };
      await assert.rejects(handleRequest(given(scene), scene), error);
      assert.deepEqual(scene.logged.events(), events);
      assert.deepEqual([inVain(scene), issued(scene)], [0, 0]);
    });

  test('after a lost answer finds the certificate, and counts the second in vain', async () => {
    const scene = sceneWith();
    const request = given(scene);
    scene.api.before = (_call, name) => {
      scene.api.before = () => undefined;
      scene.api.put({ ...request, name }, 'the first');
      throw failure('API_UNREACHABLE');
    };
    await assert.rejects(handleRequest(request, scene));
    assert.deepEqual(await handleRequest(request, scene), { kind: 'done' });
    assert.equal(storedIn(scene)?.certificate, 'the first');
    assert.deepEqual([inVain(scene), issued(scene)], [1, 0]);
    assert.ok(scene.logged.lines[0]?.fields['fingerprint']);
  });
});
