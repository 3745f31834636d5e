import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateKey } from '../../src/node/key-generator.ts';
import {
  type CertificationRequest,
  parseCertificationRequest,
} from '../../src/pki/certification-request.ts';
import { type CertificateTemplate } from '../../src/pki/issue-certificate.ts';
import { privateKeyPem, type KeyAlgorithm } from '../../src/pki/key-pair.ts';
import { decodePem } from '../../src/pki/pem.ts';
import { authorityOf, makeRoot, type Authority } from '../../src/signer/authority.ts';
import { certificateProfile } from '../../src/signer/profile.ts';
import { type ApiClient } from '../cluster/api-client.ts';
import { until } from './until.ts';

/** A signing request as the API server answers it. */
export interface ApiRequest {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: {
    readonly request: string;
    readonly signerName: string;
    readonly username: string;
    readonly usages: ('digital signature' | 'server auth' | 'client auth')[];
    readonly expirationSeconds?: number;
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly status: {
    readonly certificate?: string;
    readonly conditions?: readonly { readonly type: string }[];
  };
}

export interface TestAuthority {
  readonly authority: Authority;
  readonly rootPem: string;
}

/** A root of our own making, constrained to the cluster. */
export async function testAuthority(
  commonName = 'podseal test root',
  algorithm: KeyAlgorithm = 'ECDSAP256',
): Promise<TestAuthority> {
  const keyPair = await generateKey(algorithm);
  const now = Date.now();
  const rootPem = makeRoot(
    {
      commonName,
      clusterDomain: 'cluster.local',
      trustDomain: 'cluster.local',
      notBefore: new Date(now - 3_600_000),
      notAfter: new Date(now + 365 * 86_400_000),
      serial: randomBytes(16),
    },
    keyPair,
  );
  return { authority: authorityOf(rootPem, privateKeyPem(keyPair)), rootPem };
}

/** How a test's certificate differs from the profile's. */
export type Alter = (
  template: CertificateTemplate,
  request: CertificationRequest,
) => CertificateTemplate;

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const merge = 'application/merge-patch+json';

/** A person with kubectl and a CA, for the requests of one signer name. */
export interface Administrator {
  readonly signerName: string;
  list(): Promise<readonly ApiRequest[]>;
  /** The next request without a decision, waited for. */
  pending(): Promise<ApiRequest>;
  decide(name: string, type: 'Approved' | 'Denied', message?: string): Promise<void>;
  fail(name: string, message: string): Promise<void>;
  /** Writes any text as the certificate. */
  issue(name: string, certificatePem: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Signs by the profile, changed by `alter`. */
  sign(request: ApiRequest, ca: TestAuthority, alter?: Alter): string;
  approveAndSign(request: ApiRequest, ca: TestAuthority, alter?: Alter): Promise<void>;
  /** Approves and signs whatever comes, until `stop`. */
  serve(ca: () => TestAuthority, stop: AbortSignal, alter?: Alter): Promise<void>;
}

export function administrator(api: ApiClient, signerName: string): Administrator {
  const list = async (): Promise<readonly ApiRequest[]> => {
    const query = `?fieldSelector=${encodeURIComponent(`spec.signerName=${signerName}`)}`;
    return ((await api.must('GET', path + query)) as { items: ApiRequest[] }).items;
  };
  const condition = (type: string, message: string) => ({
    type,
    status: 'True',
    reason: `By${type === 'Failed' ? 'Signer' : 'Administrator'}`,
    message,
  });
  const self: Administrator = {
    signerName,
    list,
    pending: () =>
      until('a pending request', async () =>
        (await list()).find((each) => !each.status.conditions?.length),
      ),
    decide: async (name, type, message = 'for the test') => {
      const status = { conditions: [condition(type, message)] };
      await api.must('PATCH', `${path}/${name}/approval`, { status }, merge);
    },
    async fail(name, message) {
      const { status } = (await api.must('GET', `${path}/${name}`)) as ApiRequest;
      const conditions = [...(status.conditions ?? []), condition('Failed', message)];
      await api.must('PATCH', `${path}/${name}/status`, { status: { conditions } }, merge);
    },
    issue: async (name, certificatePem) => {
      const certificate = Buffer.from(certificatePem).toString('base64');
      await api.must('PATCH', `${path}/${name}/status`, { status: { certificate } }, merge);
    },
    remove: async (name) => {
      await api.must('DELETE', `${path}/${name}`);
    },
    sign(request, { authority }, alter = (template) => template) {
      const pem = Buffer.from(request.spec.request, 'base64').toString();
      const parsed = parseCertificationRequest(decodePem(pem)[0]?.der ?? Buffer.of());
      const template = certificateProfile(
        parsed,
        { usages: request.spec.usages, expirationSeconds: request.spec.expirationSeconds },
        {
          defaultLifetimeMs: 86_400_000,
          maximumLifetimeMs: 365 * 86_400_000,
          backDateMs: 300_000,
          issuerValidity: authority.certificate.validity,
        },
        { now: new Date(), serial: randomBytes(16) },
      );
      return authority.issue(alter(template, parsed));
    },
    async approveAndSign(request, ca, alter) {
      await self.decide(request.metadata.name, 'Approved');
      await self.issue(request.metadata.name, self.sign(request, ca, alter));
    },
    async serve(ca, stop, alter) {
      const served = new Set<string>();
      while (!stop.aborted) {
        const open = (await list()).filter(
          (each) => !served.has(each.metadata.uid) && !each.status.certificate,
        );
        for (const request of open) {
          served.add(request.metadata.uid);
          if (!request.status.conditions?.length) await self.approveAndSign(request, ca(), alter);
        }
        await sleep(30);
      }
    },
  };
  return self;
}
