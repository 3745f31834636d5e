import { ok, equal, match, deepEqual } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { generateKey } from '../../src/node/key-generator.ts';
import { certificatesFromPem, subjectNamesIn } from '../../src/pki/certificate.ts';
import { extendedKeyUsage, extensionOids, subjectAltName } from '../../src/pki/extensions.ts';
import { boundToken } from '../cluster/pod.ts';
import { testAuthority, type Alter } from '../support/administrator.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { type PodScene } from '../support/pod-scene.ts';
import { sceneFor } from '../support/shared-scene.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
after(() => plane.api.close());

function published(scene: PodScene): string {
  return readFileSync(join(scene.directory, 'tls.crt'), 'utf8');
}

const limitMs = 120_000;

describe('podseal init on a real API server', { timeout: limitMs }, () => {
  test('publishes key, chain and bundle for the names of the pod, and exits 0', async (context) => {
    const scene = await sceneFor(context, plane, { podIPs: ['10.97.0.10', 'fd00:10:97::10'] });
    const init = scene.run('init');
    const request = await scene.administrator.pending();
    match(request.spec.username, /^system:serviceaccount:shop-/);
    deepEqual(request.spec.extra?.['authentication.kubernetes.io/pod-uid'], [scene.pod.uid]);
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await init.exit, 0);
    const [leaf] = certificatesFromPem(published(scene));
    ok(leaf);
    const ns = scene.pod.namespace;
    deepEqual(subjectNamesIn(leaf), {
      dnsNames: [`web.${ns}.svc`, `web.${ns}.svc.cluster.local`],
      ipAddresses: ['10.97.0.10', 'fd00:10:97::10', '10.96.0.20'],
      uris: [`spiffe://cluster.local/ns/${ns}/sa/default`],
    });
    const verified = execFileSync('openssl', [
      ...['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', `web.${ns}.svc`],
      ...['-CAfile', join(scene.directory, 'ca.crt'), join(scene.directory, 'tls.crt')],
    ]);
    match(verified.toString(), /OK/);
    equal(
      execFileSync('stat', ['-L', '-c', '%a', join(scene.directory, 'tls.key')])
        .toString()
        .trim(),
      '400',
    );
  });

  for (const [algorithm, shown] of [
    ['ECDSAP384', 'P-384'],
    ['ED25519', 'ED25519'],
    ['RSA2048', '2048 bit'],
  ] as const)
    test(`asks with an ${algorithm} key that openssl and kubectl read`, async (context) => {
      const scene = await sceneFor(context, plane);
      const init = scene.run('init', { PODSEAL_KEY_ALGORITHM: algorithm });
      const request = await scene.administrator.pending();
      const pem = Buffer.from(request.spec.request, 'base64');
      const text = execFileSync('openssl', ['req', '-verify', '-noout', '-text'], {
        input: pem,
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      match(text.toString(), new RegExp(shown));
      match(await plane.kubectl(['describe', 'csr', request.metadata.name]), /DNS Names: +web\./);
      await scene.administrator.approveAndSign(request, scene.ca);
      equal(await init.exit, 0);
    });

  test('does nothing when a usable set is there already', async (context) => {
    const scene = await sceneFor(context, plane);
    const first = scene.run('init');
    await scene.administrator.approveAndSign(await scene.administrator.pending(), scene.ca);
    equal(await first.exit, 0);
    const before = published(scene);
    equal(await scene.run('init').exit, 0);
    equal(published(scene), before);
    equal((await scene.administrator.list()).length, 1);
  });

  test('resumes the same request, with the same key, after SIGKILL', async (context) => {
    const scene = await sceneFor(context, plane);
    const killed = scene.run('init');
    const request = await scene.administrator.pending();
    killed.child.kill('SIGKILL');
    await killed.exit;
    const resumed = scene.run('init');
    await resumed.logged('request.resumed');
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await resumed.exit, 0);
    equal((await scene.administrator.list()).length, 1);
  });

  test('leaves at most one pending request when it is killed again and again', async (context) => {
    const scene = await sceneFor(context, plane);
    for (const delayMs of [40, 60, 80, 90, 100, 110, 120, 130, 140, 160, 200]) {
      const killed = scene.run('init');
      // The moment is the point of the test: it falls before, into and after the creation.
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      killed.child.kill('SIGKILL');
      await killed.exit;
    }
    const last = scene.run('init');
    const request = await scene.administrator.pending();
    equal((await scene.administrator.list()).length, 1);
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await last.exit, 0);
  });

  test('asks anew for an address that changed under the same volume', async (context) => {
    const scene = await sceneFor(context, plane);
    const first = scene.run('init');
    await scene.administrator.approveAndSign(await scene.administrator.pending(), scene.ca);
    equal(await first.exit, 0);
    const again = scene.run('init', { POD_IPS: '10.97.0.99' });
    await scene.administrator.approveAndSign(await scene.administrator.pending(), scene.ca);
    equal(await again.exit, 0);
    const [leaf] = certificatesFromPem(published(scene));
    ok(leaf && subjectNamesIn(leaf).ipAddresses.includes('10.97.0.99'));
    ok(!subjectNamesIn(leaf).ipAddresses.includes('10.97.0.10'));
  });

  test('waits for a missing services.json: unknown is not none', async (context) => {
    const scene = await sceneFor(context, plane);
    const later = join(scene.root, 'services-later.json');
    const init = scene.run('init', { PODSEAL_SERVICES_FILE: later });
    await new Promise((resolve) => setTimeout(resolve, 700));
    equal((await scene.administrator.list()).length, 0);
    writeFileSync(later, '[\n{"name":"late","selector":{"app":"web"}}\n]\n');
    const request = await scene.administrator.pending();
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await init.exit, 0);
    match(
      execFileSync('openssl', ['x509', '-noout', '-ext', 'subjectAltName'], {
        input: published(scene),
      }).toString(),
      /DNS:late\./,
    );
  });
});

describe('podseal init when it cannot get a certificate', { timeout: limitMs }, () => {
  /** Runs init to its end, with the administrator doing `act` on its request. */
  async function outcome(
    context: TestContext,
    act: (scene: PodScene, name: string) => Promise<void>,
    changes: Readonly<Record<string, string>> = {},
  ) {
    const scene = await sceneFor(context, plane);
    const init = scene.run('init', changes);
    const request = await scene.administrator.pending();
    await act(scene, request.metadata.name);
    const exit = await init.exit;
    ok(!existsSync(join(scene.directory, 'tls.crt')), 'nothing is published');
    return { scene, exit, last: init.lines().at(-1), request };
  }

  test('denied: exit 77 with the reason, pending key discarded', async (context) => {
    const { exit, last, scene } = await outcome(context, (scene, name) =>
      scene.administrator.decide(name, 'Denied', 'no Service "web" here'),
    );
    equal(exit, 77);
    equal(last?.code, 'SIGNING_REQUEST_DENIED');
    match(last.message, /no Service "web" here/);
    ok(!readdirSync(scene.directory).includes('..pending'));
  });

  test('failed: exit 75 with the reason', async (context) => {
    const { exit, last } = await outcome(context, async (scene, name) => {
      await scene.administrator.decide(name, 'Approved');
      await scene.administrator.fail(name, 'CA is on holiday');
    });
    equal(exit, 75);
    equal(last?.code, 'SIGNING_REQUEST_FAILED');
    match(last.message, /CA is on holiday/);
  });

  test('pending past the limit: exit 75, and the next run resumes the request', async (context) => {
    const { exit, last, scene, request } = await outcome(context, () => Promise.resolve(), {
      PODSEAL_TIMEOUT: '2s',
    });
    equal(exit, 75);
    equal(last?.code, 'SIGNING_REQUEST_PENDING');
    match(last.hint ?? '', /kubectl certificate approve podseal-/);
    const again = scene.run('init');
    await scene.administrator.approveAndSign(request, scene.ca);
    equal(await again.exit, 0);
  });

  test('deleted meanwhile: its own error', async (context) => {
    const { exit, last } = await outcome(context, (scene, name) =>
      scene.administrator.remove(name),
    );
    equal(exit, 75);
    equal(last?.code, 'SIGNING_REQUEST_DELETED');
  });

  test('created again under another uid: its own error, whatever was issued there', async (context) => {
    const { exit, last } = await outcome(context, async (scene, name) => {
      const { spec } = (await scene.administrator.list()).find(
        (each) => each.metadata.name === name,
      ) ?? { spec: undefined };
      const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
      // In the agent's reading gap: it reads again within milliseconds, so it is paused.
      await scene.administrator.remove(name);
      await plane.api.must('POST', path, { metadata: { name }, spec });
    });
    ok(exit === 76 || exit === 75);
    ok(last?.code === 'SIGNING_REQUEST_REPLACED' || last?.code === 'SIGNING_REQUEST_DELETED');
  });

  const wrong: readonly [string, string, (scene: PodScene) => Promise<Alter | string>][] = [
    [
      'another key',
      'CERTIFICATE_MISMATCH',
      async () => {
        const { publicKeyDer } = await generateKey('ECDSAP256');
        return (template) => ({ ...template, publicKeyDer });
      },
    ],
    [
      'other names',
      'CERTIFICATE_MISMATCH',
      () => {
        const san = subjectAltName({ dnsNames: ['other.svc'], ipAddresses: [], uris: [] }, true);
        return Promise.resolve((template) => ({
          ...template,
          extensions: template.extensions.map((each) => (each.oid === san.oid ? san : each)),
        }));
      },
    ],
    [
      'fewer usages',
      'CERTIFICATE_MISMATCH',
      () => {
        const purpose = extendedKeyUsage(['server auth']);
        return Promise.resolve((template) => ({
          ...template,
          extensions: template.extensions.map((each) =>
            each.oid === extensionOids.extendedKeyUsage && purpose ? purpose : each,
          ),
        }));
      },
    ],
    [
      'an expired certificate',
      'CERTIFICATE_EXPIRED',
      () =>
        Promise.resolve((template) => ({
          ...template,
          validity: {
            notBefore: new Date(Date.now() - 7_200_000),
            notAfter: new Date(Date.now() - 3_600_000),
          },
        })),
    ],
    [
      'certificates of strangers',
      'CERTIFICATE_MISMATCH',
      async (scene) => {
        const stranger = await testAuthority('stranger');
        return stranger.rootPem + scene.ca.rootPem;
      },
    ],
  ];
  for (const [what, code, make] of wrong)
    test(`issued with ${what}: exit 76, ${code}`, async (context) => {
      const { exit, last } = await outcome(context, async (scene, name) => {
        const made = await make(scene);
        await scene.administrator.decide(name, 'Approved');
        const request = (await scene.administrator.list()).find(
          (each) => each.metadata.name === name,
        );
        ok(request);
        await scene.administrator.issue(
          name,
          typeof made === 'string' ? made : scene.administrator.sign(request, scene.ca, made),
        );
      });
      equal(exit, 76);
      equal(last?.code, code);
    });

  test('leaf not first: its own message', async (context) => {
    const { exit, last } = await outcome(context, async (scene, name) => {
      await scene.administrator.decide(name, 'Approved');
      const [request] = await scene.administrator.list();
      ok(request);
      await scene.administrator.issue(
        name,
        scene.ca.rootPem + scene.administrator.sign(request, scene.ca),
      );
    });
    equal(exit, 76);
    match(last?.message ?? '', /number 2 of 2, and the leaf must come first/);
  });

  test('a chain that is not trusted is looked at again, and accepted once its root arrives', async (context) => {
    const scene = await sceneFor(context, plane);
    const stranger = await testAuthority('late root');
    const init = scene.run('init');
    await scene.administrator.approveAndSign(await scene.administrator.pending(), stranger);
    const line = await init.logged('issuance.failed');
    equal(line.code, 'CERTIFICATE_UNTRUSTED');
    scene.trust.write({ 'ca.crt': scene.ca.rootPem + stranger.rootPem });
    equal(await init.exit, 0);
    equal((await scene.administrator.list()).length, 1, 'the same request was used');
  });

  test('a certificate from the future is looked at again until its time has come', async (context) => {
    const scene = await sceneFor(context, plane);
    const init = scene.run('init');
    const soon = Date.now() + 4_000;
    await scene.administrator.approveAndSign(
      await scene.administrator.pending(),
      scene.ca,
      (template) => ({
        ...template,
        validity: { notBefore: new Date(soon), notAfter: new Date(soon + 600_000) },
      }),
    );
    equal((await init.logged('issuance.failed')).code, 'CERTIFICATE_NOT_YET_VALID');
    equal(await init.exit, 0);
  });

  test('a token without the right: exit 77, naming verb and RBAC file', async (context) => {
    const scene = await sceneFor(context, plane);
    await plane.api.must(
      'DELETE',
      `/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/podseal-workload-${scene.pod.namespace}-default`,
    );
    // The API server's view of RBAC follows a little later.
    await until('the right to be gone', async () => {
      const answer = (await plane.api.must(
        'POST',
        '/apis/authorization.k8s.io/v1/subjectaccessreviews',
        {
          spec: {
            user: `system:serviceaccount:${scene.pod.namespace}:default`,
            resourceAttributes: {
              group: 'certificates.k8s.io',
              resource: 'certificatesigningrequests',
              verb: 'create',
            },
          },
        },
      )) as { status: { allowed: boolean } };
      return !answer.status.allowed;
    });
    const init = scene.run('init');
    equal(await init.exit, 77);
    const last = init.lines().at(-1);
    equal(last?.code, 'API_FORBIDDEN');
    match(last.hint ?? '', /create certificatesigningrequests.*examples\/rbac\/agent\.yaml/);
  });

  test('a token that is not accepted: exit 77; a rotated one is picked up', async (context) => {
    const scene = await sceneFor(context, plane);
    const token = join(scene.root, 'account', 'token');
    writeFileSync(token, 'not-a-token');
    const refused = scene.run('init');
    equal(await refused.exit, 77);
    match(refused.lines().at(-1)?.message ?? '', /401/);
    writeFileSync(token, await boundToken(plane.api, scene.pod));
    const init = scene.run('init');
    await scene.administrator.approveAndSign(await scene.administrator.pending(), scene.ca);
    equal(await init.exit, 0);
  });

  test('no API server: keeps trying until the limit, then exit 69 saying what was tried', async (context) => {
    const scene = await sceneFor(context, plane);
    const init = scene.run('init', { KUBERNETES_SERVICE_PORT: '1', PODSEAL_TIMEOUT: '2s' });
    equal(await init.exit, 69);
    match(init.lines().at(-1)?.message ?? '', /https:\/\/127\.0\.0\.1:1": ECONNREFUSED/);
  });

  test('no trust file, no source of names: exit 78 at once', async (context) => {
    const scene = await sceneFor(context, plane);
    const noTrust = scene.run('init', { PODSEAL_TRUST_FILES: '/nowhere/ca.crt' });
    equal(await noTrust.exit, 78);
    equal(noTrust.lines().at(-1)?.code, 'TRUST_MISSING');
    const noNames = scene.run('init', { PODSEAL_SERVICES_FILE: '' });
    equal(await noNames.exit, 78);
    equal(noNames.lines().at(-1)?.code, 'IDENTITY_INCOMPLETE');
  });
});
