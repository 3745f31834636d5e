import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { annotationNames } from '../../src/injector/annotations.ts';
import { inject, type InjectionSettings } from '../../src/injector/inject.ts';
import { podPatch } from '../../src/injector/json-patch.ts';
import { type PodObject, type PodSpec } from '../../src/injector/pod-object.ts';
import { injected, injectionSettings, podWith } from '../support/injection-builders.ts';

type Loose = Readonly<Record<string, unknown>>;

const agentOf = ({ spec }: PodObject): Loose & { readonly env: readonly Loose[] } => {
  const all = [...(spec.initContainers ?? []), ...spec.containers];
  const agent = all.find(({ name }) => name === 'podseal');
  ok(agent, 'there is no container podseal');
  return agent as unknown as Loose & { readonly env: readonly Loose[] };
};

const settingOf = (pod: PodObject, name: string): unknown =>
  agentOf(pod).env.find((each) => each['name'] === name)?.['value'];

const problemsOf = (
  pod: PodObject,
  settings: Partial<InjectionSettings> = {},
): readonly string[] => {
  const result = inject(pod, { ...injectionSettings, ...settings });
  return result.kind === 'refused' ? result.problems : [];
};

/** What is added, to the last field: UPDATE_GOLDEN=1 writes the files anew. */
describe('golden pods', () => {
  const cases: Readonly<Record<string, readonly [PodObject, Partial<InjectionSettings>]>> = {
    plain: [podWith(), {}],
    'old-cluster': [podWith(), { nativeSidecars: false, clusterTrustBundle: false }],
    'old-cluster-job': [podWith({ restartPolicy: 'Never' }), { nativeSidecars: false }],
    everything: [
      podWith(
        {
          containers: [
            { name: 'web', securityContext: { runAsUser: 101 } },
            { name: 'log', securityContext: { runAsUser: 7 } },
          ],
          initContainers: [{ name: 'migrate', securityContext: { runAsUser: 101 } }],
          securityContext: { runAsGroup: 101 },
          hostname: 'web-0',
          subdomain: 'web',
        },
        {
          services: 'web',
          'dns-names': 'web.example.com',
          'ip-addresses': '192.0.2.7',
          'name-forms': 'svc.ns',
          'common-name': 'true',
          lifetime: '12h',
          'key-algorithm': 'RSA3072',
          formats: 'combined,pkcs12',
          'store-password-secret': 'stores/password',
          'signer-name': 'example.com/mine',
          'trust-config-map': 'mine/root.pem',
          timeout: '12h',
          renew: '1',
          directory: '/etc/tls',
          containers: 'web,migrate',
          'hook-signal': 'nginx:HUP',
          'hook-http': 'POST http://127.0.0.1:9090/-/reload',
          'hook-timeout': '5s',
          probe: '127.0.0.1:8443',
          port: '19809',
          resources: '{"requests":{"cpu":"20m"}}',
          image: 'registry.example/podseal:0.1.0',
          'log-level': 'debug',
        },
      ),
      // The hooks are the agent's to check.
      { check: () => [] },
    ],
  };
  for (const [name, [pod, settings]] of Object.entries(cases))
    test(name, () => {
      const path = join(import.meta.dirname, `../golden-pods/${name}.json`);
      const found = `${JSON.stringify(injected(pod, settings).pod, undefined, 2)}\n`;
      if (process.env['UPDATE_GOLDEN'] || !existsSync(path)) writeFileSync(path, found);
      equal(found, readFileSync(path, 'utf8'));
    });
});

describe('inject()', () => {
  const container = fc.record({
    securityContext: fc.option(
      fc.record({ runAsUser: fc.constantFrom(0, 101, 1000) }, { requiredKeys: [] }),
      { nil: undefined },
    ),
    volumeMounts: fc.option(fc.constant([{ name: 'data', mountPath: '/data' }]), {
      nil: undefined,
    }),
    resources: fc.option(
      fc.constant({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1', memory: '1Gi' } }),
      { nil: undefined },
    ),
  });
  const named = (prefix: string, min: number) =>
    fc
      .array(container, { minLength: min, maxLength: 3 })
      .map((list) => list.map((each, i) => ({ name: `${prefix}${i}`, image: 'app', ...each })));
  const pods = fc
    .record({
      containers: named('c', 1),
      initContainers: fc.option(named('i', 0), { nil: undefined }),
      volumes: fc.option(fc.constant([{ name: 'data', emptyDir: {} }]), { nil: undefined }),
      securityContext: fc.option(
        fc.record(
          {
            runAsUser: fc.constantFrom(0, 101),
            runAsGroup: fc.constant(101),
            fsGroup: fc.constant(2000),
            supplementalGroups: fc.constant([3000]),
          },
          { requiredKeys: [] },
        ),
        { nil: undefined },
      ),
      restartPolicy: fc.constantFrom('Always', 'OnFailure', 'Never'),
      hostname: fc.option(fc.constant('web-0'), { nil: undefined }),
    })
    .map((spec) => podWith(JSON.parse(JSON.stringify(spec)) as Loose));
  const anySettings = fc.record({
    nativeSidecars: fc.boolean(),
    clusterTrustBundle: fc.boolean(),
  });

  test('a second pass changes nothing, whatever the pod, also after others added defaults', () => {
    fc.assert(
      fc.property(pods, anySettings, (pod, settings) => {
        const first = injected(pod, settings).pod;
        deepEqual(podPatch(first, injected(first, settings).pod), []);
        const defaulted = withDefaults(first);
        deepEqual(podPatch(defaulted, injected(defaulted, settings).pod), []);
      }),
    );
  });

  /** As the API server and LimitRanger write into containers. */
  function withDefaults(pod: PodObject): PodObject {
    const all = (list: PodSpec['containers'] = []) =>
      list.map((each) => ({
        terminationMessagePath: '/dev/termination-log',
        imagePullPolicy: 'IfNotPresent',
        ...each,
      }));
    return {
      ...pod,
      spec: {
        ...pod.spec,
        containers: all(pod.spec.containers),
        initContainers: all(pod.spec.initContainers),
        volumes: (pod.spec.volumes ?? []).map((each) =>
          each.projected ? { ...each, projected: { defaultMode: 420, ...each.projected } } : each,
        ),
      },
    };
  }

  test('the patch turns the one pod into the other', () => {
    fc.assert(
      fc.property(pods, anySettings, (pod, settings) => {
        const after = injected(pod, settings).pod;
        const patched = structuredClone(pod) as unknown as Record<string, Record<string, unknown>>;
        for (const { op, path, value } of podPatch(pod, after)) {
          equal(op, 'add');
          const [, first = '', second = ''] = path.split('/');
          (patched[first] ??= {})[second] = value;
        }
        deepEqual(JSON.parse(JSON.stringify(patched)), JSON.parse(JSON.stringify(after)));
      }),
    );
  });

  test('of the application nothing is changed but the mount that is added', () => {
    fc.assert(
      fc.property(pods, anySettings, (pod, settings) => {
        const after = injected(pod, settings).pod.spec;
        const app = (list: PodSpec['containers'] = []) =>
          list
            .filter(({ name }) => !name.startsWith('podseal'))
            .map(({ volumeMounts, ...rest }) => ({
              ...rest,
              mounts: volumeMounts?.filter(({ name }) => name !== 'podseal') ?? [],
            }));
        deepEqual(app(after.containers), app(pod.spec.containers));
        deepEqual(app(after.initContainers), app(pod.spec.initContainers));
        for (const each of [...after.containers, ...(after.initContainers ?? [])])
          if (!each.name.startsWith('podseal'))
            ok(each.volumeMounts?.some((mount) => mount.name === 'podseal' && mount.readOnly));
      }),
    );
  });

  test('only the agent has the token, and what is mounted for it is read-only', () => {
    fc.assert(
      fc.property(pods, anySettings, (pod, settings) => {
        const { spec } = injected(pod, settings).pod;
        for (const { name, volumeMounts = [] } of [
          ...spec.containers,
          ...(spec.initContainers ?? []),
        ]) {
          const mount = volumeMounts.find((each) => each.name === 'podseal-agent');
          equal(mount !== undefined, name.startsWith('podseal'), name);
          if (mount) ok(mount.readOnly);
        }
      }),
    );
  });

  test('a user that all readers share reads alone; else a group that every process has', () => {
    const access = (spec: Loose, annotations = {}) => {
      const { pod } = injected(podWith(spec, annotations));
      const { runAsUser, runAsGroup } = agentOf(pod)['securityContext'] as Loose;
      const groups = pod.spec.securityContext?.supplementalGroups ?? [];
      return [runAsUser, runAsGroup, settingOf(pod, 'PODSEAL_KEY_MODE'), ...groups];
    };
    const two = (a?: number, b?: number) => ({
      containers: [
        { name: 'a', securityContext: a === undefined ? {} : { runAsUser: a } },
        { name: 'b', securityContext: b === undefined ? {} : { runAsUser: b } },
      ],
    });
    deepEqual(access({ securityContext: { runAsUser: 101 } }), [101, 65532, '0400']);
    deepEqual(access({ securityContext: { runAsUser: 101, runAsGroup: 7 } }), [101, 7, '0400']);
    deepEqual(access(two(101, 101)), [101, 65532, '0400']);
    deepEqual(access(two(101, 102)), [65532, 65532, '0440', 65532]);
    deepEqual(access({ ...two(101), securityContext: { runAsUser: 101 } }), [101, 65532, '0400']);
    deepEqual(access({}), [65532, 65532, '0440', 65532]);
    deepEqual(access({ securityContext: { runAsUser: 0 } }), [65532, 65532, '0440', 65532]);
    deepEqual(access({ securityContext: { fsGroup: 2000 } }), [65532, 2000, '0440']);
    deepEqual(access({ securityContext: { supplementalGroups: [3000, 4000] } }), [
      ...[65532, 3000, '0440', 3000, 4000],
    ]);
    // Those that do not read do not count.
    deepEqual(access(two(101, 102), { containers: 'a' }), [101, 65532, '0400']);
    deepEqual(access({}, { 'key-mode': '0444' }), [65532, 65532, '0444', 65532]);
  });

  test('a pod of class Guaranteed stays so', () => {
    const full = { limits: { cpu: '1', memory: '1Gi' } };
    const resources = (spec: Loose): Loose =>
      agentOf(injected(podWith(spec)).pod)['resources'] as Loose;
    const guaranteed = resources({ containers: [{ name: 'web', resources: full }] });
    deepEqual(guaranteed['requests'], guaranteed['limits']);
    const mixed = [{ name: 'web', resources: full }, { name: 'log' }];
    equal((resources({ containers: mixed })['limits'] as Loose)['cpu'], undefined);
  });

  test('opted out, Windows, static pods and agents written by hand are left as they are', () => {
    const left = (pod: PodObject): readonly [string, number] => {
      const result = inject(pod, injectionSettings);
      return result.kind === 'left' ? [result.why, result.warnings.length] : [result.kind, 0];
    };
    deepEqual(left(podWith({}, {}, { 'podseal.dev/inject': 'false' })), ['opted out', 0]);
    match(left(podWith({ os: { name: 'windows' } }))[0], /Windows/);
    match(left(podWith({ nodeSelector: { 'kubernetes.io/os': 'windows' } }))[0], /Windows/);
    const mirror = podWith();
    const annotations = { 'kubernetes.io/config.mirror': 'x' };
    equal(left({ ...mirror, metadata: { annotations } })[0], 'static pod');
    deepEqual(left(podWith({ initContainers: [{ name: 'podseal' }] })), [
      ...['it has a container podseal of its own', 1],
    ]);
  });

  test('in its node’s network a pod needs a port of its own, and gets no address', () => {
    match(problemsOf(podWith({ hostNetwork: true })).join(), /podseal\.dev\/port/);
    const { pod } = injected(podWith({ hostNetwork: true }, { port: '19809' }));
    equal(settingOf(pod, 'PODSEAL_LISTEN'), ':19809');
    ok(!agentOf(pod).env.some((each) => each['name'] === 'POD_IPS'));
  });

  test('a signal needs the application’s user and its processes', () => {
    const hook = { 'hook-signal': 'nginx:HUP' };
    const check = () => [];
    const known = { securityContext: { runAsUser: 101 } };
    equal(injected(podWith(known, hook), { check }).pod.spec.shareProcessNamespace, true);
    const sharesAll = { ...known, hostPID: true };
    equal(injected(podWith(sharesAll, hook), { check }).pod.spec.shareProcessNamespace, undefined);
    match(problemsOf(podWith({}, hook), { check }).join(), /set runAsUser/);
    match(
      problemsOf(podWith({ ...known, shareProcessNamespace: false }, hook), { check }).join(),
      /switches off/,
    );
  });

  test('an emptyDir that the application has at that place is taken', () => {
    const own = (mounts: readonly string[], volume: Loose) =>
      podWith({
        containers: mounts.map((name, i) => ({
          name: `c${i}`,
          volumeMounts: [{ name, mountPath: '/var/run/podseal/' }],
        })),
        volumes: [{ name: 'certs', ...volume }],
      });
    const { spec } = injected(own(['certs', 'certs'], { emptyDir: {} })).pod;
    deepEqual(
      spec.volumes?.map(({ name }) => name),
      ['certs', 'podseal-agent'],
    );
    equal((agentOf({ metadata: {}, spec })['volumeMounts'] as Loose[])[0]?.['name'], 'certs');
    match(
      problemsOf(own(['certs'], { secret: {} })).join(),
      /volume "certs" at \/var\/run\/podseal/,
    );
    match(problemsOf(own(['certs', 'data'], { emptyDir: {} })).join(), /"certs", "data"/);
    match(
      problemsOf(podWith({ volumes: [{ name: 'podseal', ...{ secret: {} } }] })).join(),
      /volume "podseal" that is no emptyDir/,
    );
  });

  test('every wrong annotation is named, with its value and what would be right', () => {
    const wrong: Readonly<Record<string, string>> = {
      lifetme: '12h',
      lifetime: '1s',
      formats: 'pkcs12,jks',
      services: 'Web',
      'key-mode': '0777',
      'key-algorithm': 'DSA',
      directory: '/etc/../tls',
      containers: 'nginx',
      port: '80',
      resources: '{"requests":{"cpu":1}}',
      image: 'a b',
      'trust-config-map': 'mine',
    };
    const problems = problemsOf(podWith({}, wrong));
    for (const name of Object.keys(wrong))
      equal(problems.filter((each) => each.startsWith(`podseal.dev/${name}`)).length, 1, name);
    // And that PKCS#12 needs a password.
    equal(problems.length, Object.keys(wrong).length + 1);
    match(problems.join(), /did you mean podseal\.dev\/lifetime\?/);
    ok(!problems.join().includes('PODSEAL_'));
  });

  test('where wrong annotations only warn, what is right of them holds', () => {
    const pod = podWith({}, { lifetime: '1s', 'key-algorithm': 'RSA3072', port: 'x' });
    const result = injected(pod, { wrongAnnotations: 'warn' });
    deepEqual(result.warnings.length, 2);
    equal(settingOf(result.pod, 'PODSEAL_LIFETIME'), undefined);
    equal(settingOf(result.pod, 'PODSEAL_KEY_ALGORITHM'), 'RSA3072');
    equal(settingOf(result.pod, 'PODSEAL_LISTEN'), ':9809');
  });
});

test('docs/injection.md lists every annotation', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/injection.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `podseal\.dev\/([a-z-]+)` \| `?[^|]+ \| [^|]+ \|$/gm)]
    .map(([, name]) => name ?? '')
    .filter((name) => !['inject', 'publish'].includes(name));
  deepEqual(documented.sort(), [...annotationNames].sort());
});
