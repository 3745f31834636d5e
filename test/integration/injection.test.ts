import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { podPatch } from '../../src/injector/json-patch.ts';
import { type PodObject, type PodSpec } from '../../src/injector/pod-object.ts';
import { prepareNamespace } from '../cluster/pod.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { removeNamespace } from '../support/controllers.ts';
import { injected, podWith } from '../support/injection-builders.ts';

/** What is added to pods, judged by the API server itself: its own validation, and Pod Security `restricted`. */

const plane = sharedControlPlane();
const { api } = plane;
const namespace = `injection-${randomBytes(4).toString('hex')}`;
const pods = `/api/v1/namespaces/${namespace}/pods?dryRun=All`;

before(async () => {
  await prepareNamespace(api, namespace);
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const merge = 'application/merge-patch+json';
  await api.must('PATCH', `/api/v1/namespaces/${namespace}`, { metadata: { labels } }, merge);
});
after(async () => {
  await removeNamespace(api, namespace);
  api.close();
});

/** As strict as Pod Security wants it, but for what `more` says. */
const restricted = {
  securityContext: {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  },
};

function application(
  spec: Partial<PodSpec> = {},
  annotations: Readonly<Record<string, string>> = {},
): PodObject {
  const strict = (list: PodSpec['containers'] = []) =>
    list.map((each) => ({
      image: 'app',
      ...each,
      securityContext: { ...restricted.securityContext, ...each.securityContext },
    }));
  return podWith(
    {
      ...spec,
      containers: strict(spec.containers ?? [{ name: 'web' }]),
      initContainers: strict(spec.initContainers),
    },
    annotations,
  );
}

const user = (runAsUser: number) => ({ securityContext: { runAsUser } });
const guaranteed = { resources: { limits: { cpu: '1', memory: '1Gi' } } };

const cases: Readonly<Record<string, PodObject>> = {
  plain: application(),
  'with a user': application({ securityContext: { runAsUser: 101 } }),
  'with fsGroup': application({ securityContext: { fsGroup: 2000 } }),
  'with groups': application({ securityContext: { supplementalGroups: [3000] } }),
  'with several users': application({
    containers: [
      { name: 'a', ...user(101) },
      { name: 'b', ...user(102) },
    ],
  }),
  'with init containers': application({ initContainers: [{ name: 'migrate' }] }),
  'of class Guaranteed': application({ containers: [{ name: 'web', ...guaranteed }] }),
  'of a StatefulSet': application({ hostname: 'web-0', subdomain: 'web' }),
  'of a Job': application({ restartPolicy: 'Never' }),
  'with a volume of its own at that place': application({
    containers: [{ name: 'web', volumeMounts: [{ name: 'certs', mountPath: '/var/run/podseal' }] }],
    volumes: [{ name: 'certs', emptyDir: {} }],
  }),
  'with all annotations': application(
    {},
    {
      services: 'web',
      lifetime: '12h',
      'key-algorithm': 'RSA3072',
      formats: 'combined,pkcs12',
      'store-password-secret': 'stores/password',
      'signer-name': 'example.com/mine',
      'trust-config-map': 'mine/root.pem',
      directory: '/etc/tls',
      containers: 'web',
      port: '19809',
      resources: '{"requests":{"cpu":"20m"},"limits":{"memory":"64Mi"}}',
      image: 'registry.example/podseal:0.1.0',
    },
  ),
};

const variants = {
  'native sidecars and ClusterTrustBundle': {},
  neither: { nativeSidecars: false, clusterTrustBundle: false },
} as const;

for (const [variant, settings] of Object.entries(variants))
  describe(`${variant}: the API server admits a pod`, () => {
    for (const [name, pod] of Object.entries(cases))
      test(name, async () => {
        const { pod: patched } = injected(pod, settings);
        const { metadata, spec } = patched;
        const sent = { metadata: { ...metadata, name: 'web' }, spec };
        const { status, body } = await api.request('POST', pods, sent);
        equal(status, 201, JSON.stringify(body));
        // What came back has the defaults of the API server and the shares of its other plugins.
        const stored = body as PodObject & { status: { qosClass: string } };
        deepEqual(podPatch(stored, injected(stored, settings).pod), []);
        const wanted = name === 'of class Guaranteed' ? 'Guaranteed' : 'Burstable';
        equal(stored.status.qosClass, wanted);
        onlyOurToken(stored);
      });
  });

/** The agent has one token, which is ours, though the ServiceAccount plugin mounts its own elsewhere. */
function onlyOurToken({ spec }: PodObject): void {
  const agent = [...(spec.initContainers ?? []), ...spec.containers].find(
    ({ name }) => name === 'podseal' || name === 'podseal-init',
  );
  const volumes = agent?.volumeMounts?.map(({ name }) => name) ?? [];
  equal(volumes.length, 2, volumes.join());
  ok(volumes.includes('podseal-agent'));
}

test('without what the agent says about itself the API server would refuse it', async () => {
  const { pod } = injected(application());
  const { spec } = pod;
  const weaker = (spec.initContainers ?? []).map((each) => ({
    ...each,
    securityContext: { ...each.securityContext, allowPrivilegeEscalation: true },
  }));
  const sent = { metadata: { name: 'web' }, spec: { ...spec, initContainers: weaker } };
  const { status, body } = await api.request('POST', pods, sent);
  equal(status, 403);
  match(JSON.stringify(body), /container \\"podseal\\" must set/);
});
