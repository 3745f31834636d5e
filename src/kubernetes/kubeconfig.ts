import { KubeConfig } from '@kubernetes/client-node';
import { type RequestOptions } from 'node:https';
import { PodsealError } from '../errors.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type ApiEndpoint, type TlsMaterial } from './api-endpoint.ts';
import { textOf } from './json.ts';

/**
 * The API server of a kubeconfig's current context, for running outside the cluster. Its own bundle,
 * loaded only then: it brings YAML and the client's authentication plugins.
 */
export function kubeconfigEndpoint(path: string): ApiEndpoint {
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
  } catch (cause) {
    throw new PodsealError('CONFIG_INVALID', `Cannot read the kubeconfig ${JSON.stringify(path)}`, {
      hint: 'Set KUBECONFIG to one kubeconfig file that kubectl can use, or unset it inside a pod.',
      cause,
    });
  }
  const cluster = config.getCurrentCluster();
  if (!cluster)
    throw new PodsealError(
      'CONFIG_INVALID',
      `Cannot use the kubeconfig ${JSON.stringify(path)}: it has no current context`,
      {
        hint: 'Choose one with: kubectl config use-context NAME',
      },
    );
  const options = async (): Promise<RequestOptions> => {
    const request: RequestOptions = { headers: {} };
    await config.applyToHTTPSOptions(request);
    return request;
  };
  return {
    serverUrl: cluster.server.replace(/\/$/, ''),
    source: path,
    namespace: textOf(config.getContextObject(config.getCurrentContext())?.namespace),
    async tls() {
      const { ca, cert, key, rejectUnauthorized, servername } = await options();
      const material = Object.fromEntries(
        Object.entries({ ca, cert, key, rejectUnauthorized, servername }).filter(
          ([, value]) => value !== undefined,
        ),
      ) as TlsMaterial;
      return { key: sha256Hex(JSON.stringify([ca, cert, key].map(String))), material };
    },
    async headers() {
      const { headers } = await options();
      return Object.fromEntries(
        Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]),
      );
    },
  };
}
