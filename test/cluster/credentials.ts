import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const openssl = promisify(execFile);

/** Users of the control plane, by token: who they are for RBAC. */
const users = {
  admin: 'admin,admin,"system:masters"',
  'kube-controller-manager': 'system:kube-controller-manager,kcm,""',
  'kube-scheduler': 'system:kube-scheduler,scheduler,""',
  'kube-proxy': 'system:kube-proxy,kube-proxy,""',
  coredns: 'admin,coredns,"system:masters"',
} as const;

export type User = keyof typeof users;

/** What the API server must be called, besides localhost. */
export interface ServerNames {
  readonly ipAddresses: readonly string[];
}

/** Makes every key, certificate and token of a control plane in `directory`. */
export async function makeCredentials(directory: string, names: ServerNames): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = (name: string): string => join(directory, name);
  const write = (name: string, text: string): void =>
    writeFileSync(path(name), text, { mode: 0o600 });
  const key = (name: string): void => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    write(`${name}.key`, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    write(`${name}.pub`, publicKey.export({ type: 'spki', format: 'pem' }) as string);
  };
  const sign = async (
    name: string,
    subject: string,
    extensions: readonly string[],
    ca?: string,
  ) => {
    key(name);
    const issuer = ca === undefined ? [] : ['-CA', path(`${ca}.crt`), '-CAkey', path(`${ca}.key`)];
    await openssl('openssl', [
      ...['req', '-x509', '-new', '-days', '30', '-key', path(`${name}.key`), '-subj', subject],
      ...issuer,
      ...extensions.flatMap((extension) => ['-addext', extension]),
      ...['-out', path(`${name}.crt`)],
    ]);
  };
  const ca = [
    'basicConstraints=critical,CA:TRUE',
    'keyUsage=critical,keyCertSign,cRLSign,digitalSignature',
  ];
  const leaf = (purpose: string, san: string): string[] => [
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature',
    `extendedKeyUsage=${purpose}`,
    ...(san === '' ? [] : [`subjectAltName=${san}`]),
  ];
  const services = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ];
  const serving = ['localhost', ...services].map((name) => `DNS:${name}`);
  const addresses = ['127.0.0.1', ...names.ipAddresses].map((address) => `IP:${address}`);
  await sign('ca', '/CN=podseal-test-ca', ca);
  await Promise.all([
    sign('csr-ca', '/CN=podseal-test-cluster-signer', ca),
    sign(
      'apiserver',
      '/CN=kube-apiserver',
      leaf('serverAuth', [...serving, ...addresses].join(',')),
      'ca',
    ),
    sign('kubelet-client', '/O=system:masters/CN=kube-apiserver', leaf('clientAuth', ''), 'ca'),
    sign(
      'kubelet',
      '/O=system:nodes/CN=system:node:node-1',
      leaf('clientAuth,serverAuth', `DNS:node-1,${addresses.join(',')}`),
      'ca',
    ),
  ]);
  key('service-account');
  const tokens = Object.entries(users).map(([name, identity]) => {
    const token = randomBytes(24).toString('hex');
    write(`${name}.token`, token);
    return `${token},${identity}`;
  });
  write('tokens.csv', `${tokens.join('\n')}\n`);
}

/** A kubeconfig whose user authenticates by `user` lines, YAML. */
export function kubeconfig(
  serverUrl: string,
  caFile: string,
  user: Record<string, string>,
): string {
  const lines = Object.entries(user).map(
    ([name, value]) => `    ${name}: ${JSON.stringify(value)}`,
  );
  return `apiVersion: v1
kind: Config
current-context: podseal
contexts:
- name: podseal
  context: {cluster: podseal, user: podseal}
clusters:
- name: podseal
  cluster: {server: ${JSON.stringify(serverUrl)}, certificate-authority: ${JSON.stringify(caFile)}}
users:
- name: podseal
  user:
${lines.join('\n')}
`;
}
