import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { diskVolume } from '../../src/node/disk-volume.ts';
import { certificatesPem } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { type ControlPlane } from '../cluster/control-plane.ts';
import { prepareNamespace } from '../cluster/pod.ts';
import { newCa, newKey, newLeaf, type TestCa } from './certificate-builders.ts';
import { controllerSystem, removeNamespace, type RunningController } from './controllers.ts';
import { until } from './until.ts';

/** `podseal injector` at work for namespaces of its own, called by the API server over loopback. */
export interface InjectorScene {
  /** Where the injector has its lease and its bundle. */
  readonly system: string;
  readonly configuration: string;
  readonly injector: RunningController;
  /** With the certificate that is served. */
  readonly certificateDirectory: string;
  /** Where the API server calls. */
  readonly url: string;
  /** Makes a namespace whose pods reach the injector. */
  namespace(labels?: Readonly<Record<string, string>>): Promise<string>;
  /** Has the API server call this address instead. */
  callInstead(url: string): Promise<void>;
  /** A certificate of another CA, which is announced by the bundle beside the one before. */
  replaceCa(): Promise<void>;
  /** A new certificate of the same CA. */
  renew(): void;
  close(): Promise<void>;
}

const webhooks = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
const merge = 'application/merge-patch+json';

interface Webhook {
  readonly name: string;
  readonly namespaceSelector: { readonly matchExpressions: readonly unknown[] };
  readonly clientConfig: { readonly service: { readonly path: string } };
}

/** The webhooks as deploy/ installs them. */
export function installedWebhooks(): readonly Webhook[] {
  const file = join(import.meta.dirname, '../../deploy/injector.yaml');
  const documents = parseAllDocuments(readFileSync(file, 'utf8')).map(
    (each) => each.toJS() as { kind: string; webhooks: readonly Webhook[] },
  );
  const found = documents.find(({ kind }) => kind === 'MutatingWebhookConfiguration');
  if (!found) throw new Error(`Cannot find the MutatingWebhookConfiguration in ${file}`);
  return found.webhooks;
}

export async function injectorScene(
  plane: ControlPlane,
  changes: Readonly<Record<string, string>> = {},
): Promise<InjectorScene> {
  const { api } = plane;
  const id = randomBytes(4).toString('hex');
  const configuration = `podseal-injector-${id}`;
  const directory = mkdtempSync(join(tmpdir(), 'podseal-injector-'));
  const namespaces: string[] = [];
  const system = await controllerSystem(plane, {
    signerNames: [`test.podseal.dev/${id}`],
    webhookConfiguration: configuration,
  });
  let ca = newServingCa();
  publishServing(directory, ca);
  const bundles = [ca.pem];
  const trust = `/api/v1/namespaces/${system.namespace}/configmaps`;
  await api.must('POST', trust, {
    metadata: { name: 'podseal-trust' },
    data: { 'ca.crt': ca.pem },
  });
  const injector = await system.start('injector', {
    PODSEAL_AGENT_IMAGE: 'podseal:0.1.0',
    PODSEAL_WEBHOOK_CONFIGURATION: configuration,
    PODSEAL_WEBHOOK_LISTEN: '127.0.0.1:0',
    PODSEAL_DIR: directory,
    ...changes,
  });
  const { port } = await injector.logged('webhook.listening');
  const url = `https://127.0.0.1:${String(port)}/inject`;
  const configurationOf = (address: string, caBundle?: string): readonly unknown[] =>
    installedWebhooks().map((each) => ({
      ...each,
      namespaceSelector: {
        matchExpressions: [
          ...each.namespaceSelector.matchExpressions,
          { key: 'podseal.dev/test', operator: 'In', values: [id] },
        ],
      },
      clientConfig: { url: address, ...(caBundle === undefined ? {} : { caBundle }) },
    }));
  await api.must('POST', webhooks, {
    metadata: { name: configuration },
    webhooks: configurationOf(url),
  });
  await injector.ready();
  const trusts = async (pem: string): Promise<void> => {
    await until('the webhook to be trusted', async () => {
      const found = (await api.must('GET', `${webhooks}/${configuration}`)) as {
        webhooks: readonly { clientConfig: { caBundle?: string } }[];
      };
      const wanted = Buffer.from(pem).toString('base64');
      return found.webhooks.every(({ clientConfig }) => clientConfig.caBundle === wanted);
    });
  };
  await trusts(ca.pem);
  return {
    system: system.namespace,
    configuration,
    injector,
    certificateDirectory: directory,
    url,
    async namespace(labels = { 'podseal.dev/inject': 'enabled' }) {
      const name = `injected-${id}-${namespaces.length}`;
      namespaces.push(name);
      await prepareNamespace(api, name);
      const all = { ...labels, 'podseal.dev/test': id };
      await api.must('PATCH', `/api/v1/namespaces/${name}`, { metadata: { labels: all } }, merge);
      return name;
    },
    async callInstead(address) {
      const caBundle = Buffer.from(bundles.join('')).toString('base64');
      const body = { webhooks: configurationOf(address, caBundle) };
      await api.must('PATCH', `${webhooks}/${configuration}`, body, merge);
    },
    async replaceCa() {
      ca = newServingCa();
      bundles.push(ca.pem);
      const data = { 'ca.crt': bundles.join('') };
      await api.must('PATCH', `${trust}/podseal-trust`, { data }, merge);
      await trusts(bundles.join(''));
      publishServing(directory, ca);
    },
    renew: () => publishServing(directory, ca),
    async close() {
      await api.request('DELETE', `${webhooks}/${configuration}`);
      await system.close();
      for (const name of namespaces) await removeNamespace(api, name);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const validity = {
  notBefore: new Date(Date.now() - 60_000),
  notAfter: new Date(Date.now() + 86_400_000),
};

function newServingCa(): TestCa {
  return newCa({ validity, commonName: `root ${randomBytes(4).toString('hex')}` });
}

/** As the agent in the injector's own pod publishes it. */
function publishServing(directory: string, ca: TestCa): void {
  const keyPair = newKey();
  const names = { dnsNames: [], ipAddresses: ['127.0.0.1'], uris: [] };
  const leaf = newLeaf(ca, { keyPair, names, validity });
  diskVolume(directory).publish(
    [
      { name: 'tls.key', content: privateKeyPem(keyPair), mode: 0o400 },
      { name: 'tls.crt', content: certificatesPem([leaf]), mode: 0o444 },
      { name: 'ca.crt', content: ca.pem, mode: 0o444 },
    ],
    { requestName: 'podseal-1', receivedAt: new Date().toISOString(), renewAnnotation: undefined },
  );
}
