import { PodsealError } from '../errors.ts';
import { type ApiCalls } from './api-calls.ts';
import { listOf, objectOf, textOf } from './json.ts';

/** What an API server can do, as far as what is added to pods depends on it. */
export interface ApiFeatures {
  /** Init containers with restartPolicy Always: on by default from Kubernetes 1.29. */
  readonly nativeSidecars: boolean;
  /** ClusterTrustBundles as certificates.k8s.io/v1, so that every kubelet mounts them: from Kubernetes 1.37. */
  readonly clusterTrustBundles: boolean;
}

/** Asks the API server; every authenticated user may. Throws PodsealErrors. */
export async function readApiFeatures(calls: ApiCalls): Promise<ApiFeatures> {
  const attempted = (what: string) => ({
    verb: 'get',
    resource: what,
    what,
    rbac: 'bind ClusterRole system:discovery to system:authenticated, as Kubernetes does.',
  });
  const version = objectOf(
    await calls.call({ method: 'GET', path: '/version', attempted: attempted('/version') }),
  );
  // Some providers write "29+".
  const numbers = [version['major'], version['minor']].map((text) =>
    parseInt(textOf(text) ?? '', 10),
  );
  const [major = NaN, minor = NaN] = numbers;
  return {
    nativeSidecars: major > 1 || (major === 1 && minor >= 29),
    clusterTrustBundles: await serves(calls, 'clustertrustbundles', attempted),
  };
}

async function serves(
  calls: ApiCalls,
  resource: string,
  attempted: (what: string) => { verb: string; resource: string; what: string; rbac: string },
): Promise<boolean> {
  const path = '/apis/certificates.k8s.io/v1';
  try {
    const answer = objectOf(await calls.call({ method: 'GET', path, attempted: attempted(path) }));
    return listOf(answer['resources']).some((each) => objectOf(each)['name'] === resource);
  } catch (error) {
    if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return false;
    throw error;
  }
}
