import { randomBytes } from 'node:crypto';
import { parseCertificationRequest } from '../src/pki/certification-request.ts';
import { decodePem } from '../src/pki/pem.ts';
import { certificateProfile } from '../src/signer/profile.ts';
import { type ApiClient } from '../test/cluster/api-client.ts';
import { type ApiRequest, type TestAuthority } from '../test/support/administrator.ts';

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const merge = 'application/merge-patch+json';

/** Approves and signs one request in two calls, at once: the bench measures the agent, not its approver. */
export async function approveAndSign(
  api: ApiClient,
  request: Pick<ApiRequest, 'metadata' | 'spec'>,
  ca: TestAuthority,
): Promise<void> {
  const url = `${path}/${request.metadata.name}`;
  const [block] = decodePem(Buffer.from(request.spec.request, 'base64').toString());
  const template = certificateProfile(
    parseCertificationRequest(block?.der ?? Buffer.of()),
    { usages: request.spec.usages, expirationSeconds: request.spec.expirationSeconds },
    {
      defaultLifetimeMs: 86_400_000,
      maximumLifetimeMs: 86_400_000,
      backDateMs: 300_000,
      issuerValidity: ca.authority.certificate.validity,
    },
    { now: new Date(), serial: randomBytes(16) },
  );
  const certificate = Buffer.from(ca.authority.issue(template)).toString('base64');
  const approved = { type: 'Approved', status: 'True', reason: 'Bench', message: 'bench' };
  await api.must('PATCH', `${url}/approval`, { status: { conditions: [approved] } }, merge);
  await api.must('PATCH', `${url}/status`, { status: { certificate } }, merge);
}

/** Watches the requests of a signer name and serves each as it comes, until `stop`. */
export async function serveAll(
  api: ApiClient,
  signerName: string,
  ca: TestAuthority,
  stop: AbortSignal,
): Promise<void> {
  const served = new Set<string>();
  const selector = encodeURIComponent(`spec.signerName=${signerName}`);
  while (!stop.aborted) {
    const { items } = (await api.must('GET', `${path}?fieldSelector=${selector}`)) as {
      items: ApiRequest[];
    };
    for (const request of items.filter((each) => !served.has(each.metadata.uid))) {
      served.add(request.metadata.uid);
      await approveAndSign(api, request, ca);
      // Kept small, so that a thousand renewals do not make each list longer.
      const remove = (): unknown =>
        api.request('DELETE', `${path}/${request.metadata.name}`).catch(() => undefined);
      setTimeout(remove, 2_000).unref();
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
