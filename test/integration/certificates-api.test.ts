import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiClient } from '../cluster/api-client.ts';
import { createPod, prepareNamespace } from '../cluster/pod.ts';
import { certificatesApiContract } from '../contract/certificates-api.ts';
import { type PolicyRule } from '../embedded-api/authorization.ts';
import { sharedControlPlane } from '../support/control-plane.ts';

const rbac = '/apis/rbac.authorization.k8s.io/v1';
const rbacGroup = 'rbac.authorization.k8s.io';

certificatesApiContract('kube-apiserver', async () => {
  const { api, serverUrl, caPem } = sharedControlPlane();
  const namespace = `contract-${randomUUID().slice(0, 8)}`;
  await prepareNamespace(api, namespace);
  const pod = await createPod(api, { namespace, name: 'web-0' });
  const path = `/api/v1/namespaces/${namespace}`;
  const { spec } = (await api.must('GET', `${path}/pods/web-0`)) as { spec: { nodeName: string } };
  const made: string[] = [path];
  const create = async (collection: string, object: { metadata: { name: string } }) => {
    await api.must('POST', collection, object);
    made.push(`${collection}/${object.metadata.name}`);
  };

  /** A new service account with a cluster role; its token. */
  const accountWith = async (role: string): Promise<string> => {
    const name = `account-${randomUUID().slice(0, 8)}`;
    await api.must('POST', `${path}/serviceaccounts`, { metadata: { name } });
    await create(`${rbac}/clusterrolebindings`, {
      metadata: { name: `${namespace}-${name}` },
      ...{ roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name: role } },
      ...{ subjects: [{ kind: 'ServiceAccount', namespace, name }] },
    });
    const answer = await api.must('POST', `${path}/serviceaccounts/${name}/token`, { spec: {} });
    return (answer as { status: { token: string } }).status.token;
  };
  const tokenWith = async (rules: readonly PolicyRule[]): Promise<string> => {
    const role = `${namespace}-${randomUUID().slice(0, 8)}`;
    await create(`${rbac}/clusterroles`, { metadata: { name: role }, ...{ rules } });
    const token = await accountWith(role);
    for (const rule of rules) await untilAllowed(api, token, rule);
    return token;
  };

  return {
    serverUrl,
    caPem,
    adminToken: await adminTokenFrom(accountWith, api),
    podToken: pod.token,
    pod: { ...pod, nodeName: spec.nodeName },
    tokenWith,
    async close() {
      for (const each of made.reverse()) await api.request('DELETE', each);
      api.close();
    },
  };
});

async function adminTokenFrom(
  accountWith: (role: string) => Promise<string>,
  api: ApiClient,
): Promise<string> {
  const token = await accountWith('cluster-admin');
  await untilAllowed(api, token, { apiGroups: ['*'], resources: ['*'], verbs: ['*'] });
  return token;
}

/** The API server learns of new roles by a watch, so they are not in force at once. */
async function untilAllowed(api: ApiClient, token: string, rule: PolicyRule): Promise<void> {
  const review = await api.must('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    spec: { token },
  });
  const { user } = (review as { status: { user: { username: string; groups: string[] } } }).status;
  const [group, resource = '', verb, name] = [
    rule.apiGroups[0],
    rule.resources[0],
    rule.verbs[0],
    rule.resourceNames?.[0],
  ];
  const [plural, subresource] = resource.split('/');
  const resourceAttributes = { group, resource: plural, subresource, verb, name };
  const deadline = Date.now() + 15_000;
  for (;;) {
    const answer = await api.must('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      spec: { user: user.username, groups: user.groups, resourceAttributes },
    });
    if ((answer as { status: { allowed: boolean } }).status.allowed) return;
    if (Date.now() > deadline)
      throw new Error(`Cannot use the role for ${resource}: not in force after 15 s`);
    await sleep(20);
  }
}
