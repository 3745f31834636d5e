import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { certificatesFromPem } from '../src/pki/certificate.ts';
import { trustBundleName } from '../src/kubernetes/trust-publication.ts';
import { publishedNames } from '../src/trust/publication.ts';
import { administrator } from '../test/support/administrator.ts';
import { conditionOf, readRequest } from '../test/support/asking.ts';
import { type LogLine, type Program } from '../test/support/program.ts';
import { until } from '../test/support/until.ts';
import { namespaces, type DemoApi } from './api.ts';
import {
  leaseSeconds,
  settleSeconds,
  startControllers,
  trustBundlePath,
  type ControllerName,
  type Controllers,
} from './controllers.ts';
import { forge } from './forgery.ts';
import { podHere, type PodHere } from './pod.ts';
import { type Screen } from './screen.ts';
import { showConstraints, showRequest, showStory, showVolume } from './show.ts';
import { type Stage } from './stage.ts';
import { startTraffic, type Traffic } from './traffic.ts';

/** What every act has at hand. */
export interface Setting {
  readonly stage: Stage;
  readonly api: DemoApi;
  readonly screen: Screen;
  readonly signerName: string;
}

const labels = { app: 'web' };
const serverName = `web.${namespaces.application}.svc`;

/** Acts 1 and 2: what stands behind one certificate. */
export async function first(setting: Setting): Promise<Obtained> {
  const controllers = await controllersStart(setting);
  return certificateIsObtained(setting, controllers);
}

export interface Obtained {
  readonly controllers: Controllers;
  readonly here: PodHere;
}

async function controllersStart(setting: Setting): Promise<Controllers> {
  const { stage, api, screen, signerName } = setting;
  screen.title('1  Approver and signer start, two replicas each');
  await api.prepare();
  const controllers = startControllers(stage, api, signerName);
  for (const name of controllerNames) {
    const leader = await until(`one ${name} to lead`, () => controllers.holder(name));
    screen.good(
      `${leader} leads, ${otherThan(leader)} stands by (lease podseal-${name}, ${leaseSeconds} s)`,
    );
  }
  const { by } = await controllers.logged('ca.made');
  screen.good(`${by} made a CA that can vouch for nothing outside the cluster:`);
  await controllers.logged('ca.signs');
  const bundle = await until('the bundle to be published', () => controllers.bundle());
  showConstraints(bundle, screen);
  screen.good('its root is published, for every pod to mount:');
  const { status } = await api.client.request('GET', trustBundlePath(signerName));
  if (status === 200) screen.detail(`ClusterTrustBundle ${trustBundleName(signerName)}`);
  screen.detail(`ConfigMap ${namespaces.system}/${publishedNames.configMap}`);
  await screen.pause();
  return controllers;
}

const controllerNames = ['approver', 'signer'] as const satisfies readonly ControllerName[];

const otherThan = (replica: string): string =>
  replica.slice(0, -1) + (replica.endsWith('0') ? '1' : '0');

async function certificateIsObtained(
  { stage, api, screen, signerName }: Setting,
  controllers: Controllers,
): Promise<Obtained> {
  screen.title('2  The init container asks, the approver proves, the signer issues');
  const web = await api.makeService('web', labels);
  const pod = await api.makePod({
    namespace: namespaces.application,
    name: 'web-0',
    labels,
    address: '10.97.0.10',
  });
  const here = await podHere(stage, api, pod, {
    signerName,
    services: [web],
    bundle: () => controllers.bundle(),
  });
  screen.line(`Service web selects pod ${pod.name}, whose trust volume holds the published root`);
  const startedAt = Date.now();
  const init = here.run('init');
  const code = await init.exit;
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  if (code !== 0) throw new Error(`podseal init failed: ${init.output()}`);
  const [request] = await administrator(api.client, signerName).list();
  if (!request) throw new Error('podseal init ended with 0, and there is no signing request');
  showRequest(request, screen);
  const { name } = request.metadata;
  const isAboutIt = (line: LogLine): boolean => line['request'] === name;
  const approved = await controllers.logged('request.approved', isAboutIt);
  const issued = await controllers.logged('certificate.issued', isAboutIt);
  const own = init.lines().map((line) => ({ ...line, by: 'init' }));
  showStory([...own, approved, issued], name, screen);
  const stored = await readRequest(api.client, name);
  screen.good(`approved: ${conditionOf(stored, 'Approved') ?? '?'}`);
  screen.good(`podseal init ended with 0 after ${seconds} s: key, chain and bundle are there`);
  showVolume(here.directory, screen);
  await screen.pause();
  return { controllers, here };
}

/** What `--once` leaves. */
export function leaveSet({ here }: Obtained, into: string, screen: Screen): void {
  mkdirSync(into, { recursive: true });
  for (const name of ['tls.crt', 'tls.key', 'ca.crt']) {
    rmSync(join(into, name), { force: true });
    copyFileSync(join(here.directory, name), join(into, name));
  }
  screen.good(`tls.crt, tls.key and ca.crt are in ${into}`);
}

/** Acts 3 to 7, and the summary. */
export async function others(setting: Setting, obtained: Obtained): Promise<void> {
  await forgeriesAreDenied(setting);
  const serving = await certificateIsRenewed(setting, obtained);
  await nameIsAdded(setting, obtained, serving);
  await leadersAreKilled(setting, obtained, serving);
  await caIsReplaced(setting, obtained, serving);
  await summary(setting, obtained, serving);
}

async function forgeriesAreDenied({ api, screen, signerName }: Setting): Promise<void> {
  screen.title('3  Two pods ask for names that are not theirs');
  const victim = { dnsNames: [serverName], ipAddresses: [] };
  const identity = (namespace: string): string[] => [
    `spiffe://cluster.local/ns/${namespace}/sa/default`,
  ];
  const attempts = [
    {
      namespace: namespaces.application,
      address: '10.97.0.66',
      who: 'in the same namespace, which no Service selects',
      names: { dnsNames: [serverName, 'google.com'] },
    },
    {
      namespace: namespaces.evil,
      address: '10.97.0.67',
      who: 'in another namespace',
      names: victim,
    },
  ];
  for (const { namespace, address, who, names } of attempts) {
    const pod = await api.makePod({ namespace, name: 'mallory-0', labels: {}, address });
    screen.line(`pod ${namespace}/${pod.name}, ${who}, asks for ${names.dnsNames.join(' and ')}`);
    const uris = identity(namespace);
    const { reasons } = await forge(api, pod, signerName, { ...names, uris });
    screen.good('Denied; its condition says why, to people and programs:');
    for (const reason of reasons) screen.detail(reason);
    await screen.pause();
  }
}

/** The sidecar and who talks to the application. */
interface Serving {
  readonly watch: Program;
  readonly traffic: Traffic;
  readonly published: () => readonly LogLine[];
  /** Asks for a renewal and waits until the client is served with it; resolves to the line of the log. */
  renew(what: string): Promise<LogLine>;
}

async function certificateIsRenewed(
  { stage, screen }: Setting,
  { here }: Obtained,
): Promise<Serving> {
  screen.title(
    `4  The sidecar renews, while a client keeps asking https://${serverName} without a break`,
  );
  screen.line(
    'a certificate holds for a day: the annotation podseal.dev/renew asks for a new one now',
  );
  const traffic = await startTraffic(here.directory, serverName);
  stage.atEnd(() => traffic.close());
  const timer = setInterval(() => {
    const { answered, failures, servedSerial } = traffic;
    screen.living(
      `${answered()} requests answered, ${failures().length} failed · serial ${servedSerial().slice(0, 12)}…`,
    );
  }, 200);
  stage.atEnd(() => {
    clearInterval(timer);
    screen.living('');
  });
  const watch = here.run('watch');
  await watch.logged('probes.listening');
  const published = (): LogLine[] =>
    watch.lines().filter(({ event }) => event === 'certificate.published');
  const serving: Serving = {
    watch,
    traffic,
    published,
    async renew(what) {
      const count = published().length;
      const startedAt = Date.now();
      here.askForRenewal();
      const line = await until(what, () => published()[count], 60);
      const serial = String(line['serial']);
      await until('the client to see it', () => traffic.servedSerial() === serial);
      const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
      screen.good(
        `${what}: serial ${serial.slice(0, 12)}…, served to the client ${seconds} s later`,
      );
      await screen.pause();
      return line;
    },
  };
  await serving.renew('first renewal');
  await serving.renew('second renewal');
  return serving;
}

async function nameIsAdded(
  { api, screen }: Setting,
  { here }: Obtained,
  serving: Serving,
): Promise<void> {
  screen.title('5  A second Service selects the pod');
  here.addService(await api.makeService('shop', labels));
  screen.line(
    'Service shop is made, and listed in the mounted services.json; the sidecar asks for',
  );
  screen.line('the new name within 30 s, or at the next renewal:');
  const { names } = await serving.renew('next renewal');
  const added = (names as readonly string[]).filter((name) => name.startsWith('shop.'));
  if (added.length === 0) throw new Error('The renewed certificate has no name of Service shop');
  screen.good(`the certificate has ${added.join(' and ')}`);
}

async function leadersAreKilled(
  { screen }: Setting,
  { controllers }: Obtained,
  serving: Serving,
): Promise<void> {
  screen.title('6  The approver and the signer that lead are killed');
  const leaders = await Promise.all(
    controllerNames.map(async (controller) => {
      const name = await until(`one ${controller} to lead`, () => controllers.holder(controller));
      return { controller, name };
    }),
  );
  const killedAt = Date.now();
  for (const { name } of leaders) controllers.replicas.get(name)?.child.kill('SIGKILL');
  screen.line(
    `kill -9 ${leaders.map(({ name }) => name).join(' ')}, and a renewal is asked for at once`,
  );
  const takenOver = leaders.map(async ({ controller, name }) => {
    const next = otherThan(name);
    await until(`${next} to lead`, async () => (await controllers.holder(controller)) === next, 60);
    const seconds = ((Date.now() - killedAt) / 1000).toFixed(1);
    screen.good(`${next} leads ${seconds} s after ${name} was killed`);
  });
  await Promise.all([...takenOver, serving.renew('the renewal waited for them')]);
  await serving.renew('the one after it did not');
}

async function caIsReplaced(
  { screen }: Setting,
  { controllers, here }: Obtained,
  serving: Serving,
): Promise<void> {
  screen.title('7  The CA is replaced');
  const commonName = 'Second CA of the demo';
  const changedAt = Date.now();
  await controllers.replaceCa(commonName);
  screen.line(`Secret ${namespaces.system}/podseal-ca now holds ${JSON.stringify(commonName)}`);
  const isBoth = (pem: string | undefined): boolean =>
    pem !== undefined && certificatesFromPem(pem).length === 2;
  await until('both roots to be published', async () => isBoth(await controllers.bundle()));
  await until('both roots on the volume', () =>
    isBoth(readFileSync(join(here.directory, 'ca.crt'), 'utf8')),
  );
  screen.good(`its root is published beside the old one, and in the ca.crt of the pod`);
  await serving.renew('renewal in between');
  screen.good(`that certificate was issued by ${JSON.stringify(issuerOnVolume(here.directory))}`);
  const isNew = (line: LogLine): boolean => Date.parse(String(line['time'])) > changedAt;
  const { by, time } = await controllers.logged('ca.signs', isNew);
  const seconds = ((Date.parse(String(time)) - changedAt) / 1000).toFixed(1);
  screen.good(
    `${by} signs with it ${seconds} s after the change: first its root is out for ${settleSeconds} s (PODSEAL_CA_SETTLE, by default 2 min)`,
  );
  await serving.renew('renewal after that');
  const issuer = issuerOnVolume(here.directory);
  if (!issuer.includes(commonName))
    throw new Error(`The certificate was issued by ${issuer}, not by ${commonName}`);
  screen.good(`that certificate was issued by ${JSON.stringify(issuer)}`);
}

function issuerOnVolume(directory: string): string {
  const [leaf] = certificatesFromPem(readFileSync(join(directory, 'tls.crt'), 'utf8'));
  return leaf?.x509.issuer.replace(/^CN=/, '') ?? '?';
}

async function summary(
  { screen }: Setting,
  { controllers }: Obtained,
  { watch, traffic, published }: Serving,
): Promise<void> {
  screen.title('Summary');
  const failures = traffic.failures();
  if (failures.length > 0)
    throw new Error(`${failures.length} requests failed: ${failures[0] ?? ''}`);
  screen.good(`${published().length + 1} certificates, ${traffic.answered()} requests answered`);
  screen.good('no request failed while certificates, names, replicas and the CA changed');
  const left = [...controllers.replicas].filter(([, { child }]) => child.signalCode === null);
  const programs = [['podseal watch', watch] as const, ...left];
  for (const [name, program] of programs) {
    program.child.kill('SIGTERM');
    const code = await program.exit;
    if (code !== 0) throw new Error(`${name} ended with ${code ?? 'a signal'} on SIGTERM`);
  }
  screen.good(`${programs.map(([name]) => name).join(', ')} ended with 0 on SIGTERM`);
}
