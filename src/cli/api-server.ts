import { PodsealError } from '../errors.ts';
import { type ApiEndpoint } from '../kubernetes/api-endpoint.ts';
import { inClusterEndpoint } from '../kubernetes/in-cluster.ts';

/** Where the credentials for the API server are. */
export interface ApiServerSettings {
  readonly kubeconfig: string | undefined;
  readonly serviceAccountDirectory: string;
}

/** The API server of the pod, or of KUBECONFIG. Throws CONFIG_INVALID when there is neither. */
export async function apiEndpoint(
  settings: ApiServerSettings,
  environment: NodeJS.ProcessEnv,
): Promise<ApiEndpoint> {
  if (settings.kubeconfig !== undefined) {
    // Its own bundle, loaded only outside the cluster.
    const { kubeconfigEndpoint } = await import('../kubernetes/kubeconfig.ts');
    return kubeconfigEndpoint(settings.kubeconfig);
  }
  const host = environment['KUBERNETES_SERVICE_HOST'];
  const port = environment['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (host) return inClusterEndpoint(host, port, settings.serviceAccountDirectory);
  throw new PodsealError(
    'CONFIG_INVALID',
    'Cannot find the API server: neither KUBERNETES_SERVICE_HOST nor KUBECONFIG is set',
    {
      hint: 'Kubernetes sets the first in every pod; outside a cluster set KUBECONFIG.',
    },
  );
}
