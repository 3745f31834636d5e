import {
  ApiException,
  CertificatesV1Api,
  createConfiguration,
  ServerConfiguration,
  wrapHttpLibrary,
  type V1CertificateSigningRequest,
} from '@kubernetes/client-node';
import {
  renewalLabel,
  type NewSigningRequest,
  type SigningRequest,
  type SigningRequests,
} from '../certificates/signing-request.ts';
import { asPodsealError, PodsealError } from '../errors.ts';
import { refusalError } from './api-error.ts';
import { type ApiEndpoint } from './api-endpoint.ts';
import { type ObserveCall } from './exchange.ts';
import { httpsTransport } from './transport.ts';

/** The workload's part of certificates.k8s.io/v1: create and get. */
export function apiSigningRequests(
  endpoint: ApiEndpoint,
  stop: AbortSignal,
  observe: ObserveCall,
): SigningRequests {
  const api = new CertificatesV1Api(
    createConfiguration({
      baseServer: new ServerConfiguration(endpoint.serverUrl, {}),
      httpApi: wrapHttpLibrary(httpsTransport(endpoint, stop, observe)),
    }),
  );
  return {
    async create(request) {
      const labels = request.isRenewal ? { [renewalLabel]: 'true' } : {};
      const body = { metadata: { name: request.name, labels }, spec: specOf(request) };
      return ask('create', request.name, async () =>
        readSigningRequest(await api.createCertificateSigningRequest({ body })),
      );
    },
    async get(name) {
      try {
        return await ask('get', name, async () =>
          readSigningRequest(await api.readCertificateSigningRequest({ name })),
        );
      } catch (error) {
        if (error instanceof PodsealError && error.code === 'API_NOT_FOUND') return undefined;
        throw error;
      }
    },
  };
}

async function ask<T>(verb: string, name: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    if (!(thrown instanceof ApiException)) throw asPodsealError(thrown);
    const { code: status, headers } = thrown;
    throw refusalError(
      { status, body: thrown.body as unknown, headers },
      {
        verb,
        resource: 'certificatesigningrequests',
        what: `signing request ${JSON.stringify(name)}`,
        rbac: 'apply examples/rbac/agent.yaml and bind it to the service account of the pod.',
      },
    );
  }
}

function specOf(request: NewSigningRequest): V1CertificateSigningRequest['spec'] {
  return {
    request: Buffer.from(request.request).toString('base64'),
    signerName: request.signerName,
    usages: [...request.usages],
    expirationSeconds: request.expirationSeconds,
  };
}

/** Throws API_UNREACHABLE when the answer is not a CertificateSigningRequest (a proxy's page, say). */
function readSigningRequest(read: V1CertificateSigningRequest): SigningRequest {
  const { metadata, status } = read;
  // The types promise a spec; an answer that is no signing request has none.
  const spec = read.spec as V1CertificateSigningRequest['spec'] | undefined;
  if (!metadata?.name || !metadata.uid || !spec)
    throw new PodsealError(
      'API_UNREACHABLE',
      'Cannot read the answer of the API server: it is not a CertificateSigningRequest',
      { hint: 'Is there a proxy between the pod and the API server?' },
    );
  return {
    name: metadata.name,
    uid: metadata.uid,
    request: Buffer.from(spec.request, 'base64').toString('latin1'),
    signerName: spec.signerName,
    conditions: (status?.conditions ?? []).map(({ type, reason, message }) => ({
      type,
      reason: reason ?? '',
      message: message ?? '',
    })),
    certificate: status?.certificate
      ? Buffer.from(status.certificate, 'base64').toString('latin1')
      : undefined,
  };
}
