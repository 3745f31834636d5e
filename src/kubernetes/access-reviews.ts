import { type ApiCalls } from './api-calls.ts';
import { objectOf } from './json.ts';

/** Whether a service account may create signing requests (authorization.k8s.io/v1 SubjectAccessReview). Throws PodsealErrors. */
export function mayCreateSigningRequests(
  calls: ApiCalls,
): (namespace: string, serviceAccount: string) => Promise<boolean> {
  return async (namespace, serviceAccount) => {
    const answer = await calls.call({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      body: {
        spec: {
          user: `system:serviceaccount:${namespace}:${serviceAccount}`,
          groups: [
            'system:serviceaccounts',
            `system:serviceaccounts:${namespace}`,
            'system:authenticated',
          ],
          resourceAttributes: {
            group: 'certificates.k8s.io',
            resource: 'certificatesigningrequests',
            verb: 'create',
          },
        },
      },
      attempted: {
        verb: 'create',
        resource: 'subjectaccessreviews',
        what: `a SubjectAccessReview about ${JSON.stringify(`${namespace}/${serviceAccount}`)}`,
        rbac: 'apply examples/rbac/injector.yaml.',
      },
    });
    return objectOf(objectOf(answer)['status'])['allowed'] === true;
  };
}
