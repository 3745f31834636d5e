import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { type StatusReport } from '../../src/agent/status-report.ts';
import {
  certificatesFromPem,
  subjectNamesIn,
  type Certificate,
} from '../../src/pki/certificate.ts';
import { startFaultProxy, type FaultProxy } from '../cluster/fault-proxy.ts';
import { testAuthority, type Alter } from '../support/administrator.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { webService, type PodScene } from '../support/pod-scene.ts';
import { type Program } from '../support/program.ts';
import { approveAll, sceneFor } from '../support/shared-scene.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
after(() => plane.api.close());

function leafOf(scene: PodScene): Certificate {
  const [leaf] = certificatesFromPem(readFileSync(join(scene.directory, 'tls.crt'), 'utf8'));
  ok(leaf);
  return leaf;
}

function tryLeaf(scene: PodScene): Certificate | undefined {
  return existsSync(join(scene.directory, 'tls.crt')) ? leafOf(scene) : undefined;
}

const bundle = (scene: PodScene): string => readFileSync(join(scene.directory, 'ca.crt'), 'utf8');

/** Valid for so many seconds from now, back-dated by five minutes as real signers do. */
const living =
  (seconds: number): Alter =>
  (template) => ({
    ...template,
    validity: {
      notBefore: new Date(Date.now() - 300_000),
      notAfter: new Date(Date.now() + seconds * 1000),
    },
  });

async function probe(watch: Program, path: string): Promise<{ status: number; text: string }> {
  const { port } = await watch.logged('probes.listening');
  const answer = await fetch(`http://127.0.0.1:${String(port)}${path}`);
  return { status: answer.status, text: await answer.text() };
}

async function report(watch: Program): Promise<StatusReport> {
  return JSON.parse((await probe(watch, '/status')).text) as StatusReport;
}

async function proxyFor(context: TestContext): Promise<FaultProxy> {
  const proxy = await startFaultProxy({
    serverUrl: plane.serverUrl,
    caPem: plane.caPem,
    servingPair: plane.faults.servingPair,
  });
  context.after(() => proxy.close());
  return proxy;
}

const through = (proxy: FaultProxy): Record<string, string> => ({
  KUBERNETES_SERVICE_HOST: proxy.host,
  KUBERNETES_SERVICE_PORT: String(proxy.port),
});

describe('podseal watch', { timeout: 180_000, concurrency: 4 }, () => {
  test('is not ready before, ready after the first certificate; SIGTERM ends it within a second', async (context) => {
    const scene = await sceneFor(context, plane);
    const watch = scene.run('watch');
    const request = await scene.administrator.pending();
    const before = await probe(watch, '/readyz');
    equal(before.status, 503);
    match(before.text, /no usable certificate/);
    equal((await probe(watch, '/healthz')).status, 200);
    const waiting = await report(watch);
    const { namespace, name, uid } = scene.pod;
    deepEqual(waiting.pod, { namespace, name, uid });
    equal(waiting.pending?.request, request.metadata.name);
    equal(waiting.certificate, null);
    await scene.administrator.approveAndSign(request, scene.ca);
    await watch.logged('certificate.published');
    equal((await probe(watch, '/readyz')).status, 200);
    const served = await report(watch);
    equal(served.certificate?.fingerprint, leafOf(scene).fingerprint);
    deepEqual([served.ready, served.pending, served.lastError], [true, null, null]);
    const metrics = await probe(watch, '/metrics');
    match(metrics.text, /podseal_issuances_total\{reason="first"\} 1/);
    match(metrics.text, /podseal_api_requests_total\{method="POST",status="201"\} 1/);
    const startedAt = Date.now();
    watch.child.kill('SIGTERM');
    equal(await watch.exit, 0);
    ok(Date.now() - startedAt < 1_000 * 5, 'ended within a second (five times the slack)');
  });

  test('renews with a new key; a back-dated short certificate does not storm', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene, living(12));
    const watch = scene.run('watch');
    await watch.logged('certificate.published');
    const first = leafOf(scene);
    await until('a renewal', () => leafOf(scene).fingerprint !== first.fingerprint);
    const second = leafOf(scene);
    notEqual(first.publicKeyDer.toString('hex'), second.publicKeyDer.toString('hex'));
    const renewals = watch.lines().filter((line) => line.event === 'certificate.published');
    deepEqual(
      renewals.map((line) => line['reason']),
      ['first', 'renewal'],
    );
    const received = renewals.map((line) => Date.parse(String(line['time'])));
    const waited = (received[1] ?? 0) - (received[0] ?? 0);
    ok(waited > 5_500, `renewed after ${waited} ms, not before half of 12 s`);
    // A storm would have left dozens of requests behind.
    equal((await scene.administrator.list()).length, 2);
  });

  test('a changed annotation podseal.dev/renew renews now, once', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const watch = scene.run('watch');
    await watch.logged('certificate.published');
    const first = leafOf(scene).fingerprint;
    scene.setAnnotations({ 'podseal.dev/renew': 'today' });
    await until('the renewal', () => leafOf(scene).fingerprint !== first);
    const second = leafOf(scene).fingerprint;
    watch.child.kill('SIGTERM');
    await watch.exit;
    const again = scene.run('watch');
    await again.logged('probes.listening');
    equal((await probe(again, '/readyz')).status, 200);
    equal(leafOf(scene).fingerprint, second, 'a restart does not renew again for the same value');
  });

  test('a new Service leads to a new certificate; one that went away is kept', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const watch = scene.run('watch');
    await watch.logged('certificate.published');
    const api = { name: 'api', selector: { app: 'web' }, clusterIPs: [], headless: false };
    const nobody = { name: 'nobody', selector: {}, clusterIPs: [], headless: false };
    scene.setServices([webService, api, nobody]);
    const ns = scene.pod.namespace;
    await until(
      'the new name',
      () => subjectNamesIn(leafOf(scene)).dnsNames.includes(`api.${ns}.svc`),
      120,
    );
    ok(!subjectNamesIn(leafOf(scene)).dnsNames.includes(`nobody.${ns}.svc`), '{} selects nothing');
    const held = leafOf(scene).fingerprint;
    scene.setServices([webService]);
    await probe(watch, '/metrics');
    equal((await probe(watch, '/readyz')).status, 200);
    equal(leafOf(scene).fingerprint, held);
  });

  test('denied keeps trying slowly, and asks for the names that are provable by then', async (context) => {
    const scene = await sceneFor(context, plane);
    const watch = scene.run('watch');
    const refused = await scene.administrator.pending();
    await scene.administrator.decide(refused.metadata.name, 'Denied', 'no such Service');
    equal((await watch.logged('issuance.failed')).code, 'SIGNING_REQUEST_DENIED');
    equal((await report(watch)).lastError?.code, 'SIGNING_REQUEST_DENIED');
    scene.setServices([{ ...webService, name: 'shop' }]);
    const request = await scene.administrator.pending();
    await scene.administrator.approveAndSign(request, scene.ca);
    await watch.logged('certificate.published');
    const { dnsNames } = subjectNamesIn(leafOf(scene));
    ok(dnsNames.includes(`shop.${scene.pod.namespace}.svc`));
    ok(!dnsNames.includes(`web.${scene.pod.namespace}.svc`));
    equal((await report(watch)).lastError, null);
  });

  test('a new name while a request waits for a person leads to a new request', async (context) => {
    const scene = await sceneFor(context, plane);
    const watch = scene.run('watch');
    const first = await scene.administrator.pending();
    scene.setServices([webService, { ...webService, name: 'more' }]);
    const second = await until('the second request', async () =>
      (await scene.administrator.list()).find((each) => each.metadata.name !== first.metadata.name),
    );
    await scene.administrator.approveAndSign(second, scene.ca);
    await watch.logged('certificate.published');
    ok(subjectNamesIn(leafOf(scene)).dnsNames.includes(`more.${scene.pod.namespace}.svc`));
  });

  test('a swapped trust file reaches ca.crt within a second, bursts included', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const watch = scene.run('watch');
    await watch.logged('certificate.published');
    await probe(watch, '/readyz');
    const others = await Promise.all(['a', 'b', 'c'].map((name) => testAuthority(name)));
    for (const other of others) scene.trust.write({ 'ca.crt': scene.ca.rootPem + other.rootPem });
    const last = others[2];
    ok(last);
    const startedAt = Date.now();
    const [root] = certificatesFromPem(last.rootPem);
    await until('the new root', () =>
      certificatesFromPem(bundle(scene)).some((each) => each.fingerprint === root?.fingerprint),
    );
    ok(Date.now() - startedAt < 5_000, 'within a second (five times the slack)');
    equal(certificatesFromPem(bundle(scene)).length, 2, 'the roots of the burst are gone again');
    equal((await scene.administrator.list()).length, 1, 'trust costs no certificate');
  });

  test('an empty or broken trust file never empties the bundle', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const watch = scene.run('watch');
    await watch.logged('certificate.published');
    const before = bundle(scene);
    for (const text of [
      '',
      'not a certificate\n',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    ]) {
      const seen = watch.lines().filter((line) => line.event === 'trust.unusable').length;
      scene.trust.write({ 'ca.crt': text });
      await until(
        'the warning',
        () => watch.lines().filter((line) => line.event === 'trust.unusable').length > seen,
      );
      equal(bundle(scene), before);
    }
    match((await probe(watch, '/metrics')).text, /podseal_trust_files_unusable 1/);
  });

  test('a bundle that no longer verifies the chain is published, reported, and the pod stays ready', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const watch = scene.run('watch');
    await watch.logged('certificate.published');
    const next = await testAuthority('the next root');
    scene.trust.write({ 'ca.crt': next.rootPem });
    await watch.logged('chain.untrusted');
    equal(certificatesFromPem(bundle(scene)).length, 1);
    const ready = await probe(watch, '/readyz');
    equal(ready.status, 200);
    match(ready.text, /the chain does not verify/);
    match((await probe(watch, '/metrics')).text, /podseal_certificate_chain_trusted 0/);
  });

  test('survives an API that is away for most of the lifetime', async (context) => {
    const scene = await sceneFor(context, plane);
    const proxy = await proxyFor(context);
    approveAll(context, scene, living(30));
    const watch = scene.run('watch', through(proxy));
    await watch.logged('certificate.published');
    const first = leafOf(scene).fingerprint;
    proxy.set([{ fault: { kind: 'reset' } }]);
    await until('an attempt that fails', () => proxy.calls.some((call) => call.endsWith(' 0')));
    proxy.set([]);
    await until('the renewal', () => leafOf(scene).fingerprint !== first);
    equal(watch.child.exitCode, null);
  });

  test('an address that is taken: exit 71, naming it and the setting', async (context) => {
    const scene = await sceneFor(context, plane);
    const first = scene.run('watch');
    const { port } = await first.logged('probes.listening');
    const second = scene.run('watch', { PODSEAL_LISTEN: `127.0.0.1:${String(port)}` });
    equal(await second.exit, 71);
    const last = second.lines().at(-1);
    equal(last?.code, 'LISTEN_FAILED');
    match(last.message, /Cannot listen on "127\.0\.0\.1:\d+": EADDRINUSE/);
    match(last.hint ?? '', /PODSEAL_LISTEN/);
  });

  test('after expiry it says so, and exits non-zero so that the container starts clean', async (context) => {
    const scene = await sceneFor(context, plane);
    const proxy = await proxyFor(context);
    approveAll(context, scene, living(8));
    const watch = scene.run('watch', through(proxy));
    await watch.logged('certificate.published');
    proxy.set([{ fault: { kind: 'reset' } }]);
    const code = await watch.exit;
    equal(code, 69);
    const last = watch.lines().at(-1);
    match(last?.message ?? '', /Cannot keep the certificate fresh: it expired at/);
    ok(tryLeaf(scene), 'the old files are left untouched');
    proxy.set([]);
    const restarted = scene.run('watch', through(proxy));
    await restarted.logged('certificate.published');
  });
});

describe('podseal against a faulty API server', { timeout: 120_000, concurrency: 4 }, () => {
  const create = /^POST /;
  const faults: readonly [string, Parameters<FaultProxy['set']>[0]][] = [
    ['latency', [{ fault: { kind: 'latency', ms: 700 } }]],
    [
      '429 with Retry-After',
      [{ fault: { kind: 'status', status: 429, retryAfterSeconds: 1 }, times: 3 }],
    ],
    [
      '500 and 503',
      [
        { fault: { kind: 'status', status: 500 }, times: 1 },
        { fault: { kind: 'status', status: 503 }, times: 2 },
      ],
    ],
    ['connections reset', [{ fault: { kind: 'reset' }, times: 3 }]],
    ['a call that is never answered', [{ fault: { kind: 'hang' }, times: 1 }]],
    [
      'the answer to the creation lost',
      [{ when: create, fault: { kind: 'lose-answer' }, times: 2 }],
    ],
    ['one 401 while the token rotates', [{ fault: { kind: 'status', status: 401 }, times: 1 }]],
  ];
  for (const [what, rules] of faults)
    test(`${what}: one request, one certificate`, async (context) => {
      const scene = await sceneFor(context, plane);
      const proxy = await proxyFor(context);
      proxy.set(rules);
      approveAll(context, scene);
      const init = scene.run('init', through(proxy));
      equal(await init.exit, 0, init.output());
      equal((await scene.administrator.list()).length, 1);
    });

  test('Retry-After is honoured', async (context) => {
    const scene = await sceneFor(context, plane);
    const proxy = await proxyFor(context);
    proxy.set([
      { when: create, fault: { kind: 'status', status: 429, retryAfterSeconds: 3 }, times: 1 },
    ]);
    approveAll(context, scene);
    const startedAt = Date.now();
    equal(await scene.run('init', through(proxy)).exit, 0);
    ok(Date.now() - startedAt >= 3_000);
  });

  test('many calls go over one connection', async (context) => {
    const scene = await sceneFor(context, plane);
    const proxy = await proxyFor(context);
    const init = scene.run('init', through(proxy));
    const request = await scene.administrator.pending();
    await until('several reads', () => proxy.calls.length >= 6);
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await init.exit, 0);
    equal(proxy.connections(), 1);
  });

  test('a rotated ca.crt of the API server is followed', async (context) => {
    const scene = await sceneFor(context, plane);
    const account = join(scene.root, 'account', 'ca.crt');
    writeFileSync(account, scene.ca.rootPem);
    approveAll(context, scene);
    const init = scene.run('init');
    await new Promise((resolve) => setTimeout(resolve, 800));
    equal(init.child.exitCode, null, 'it keeps trying');
    writeFileSync(account, plane.caPem);
    equal(await init.exit, 0);
  });
});
