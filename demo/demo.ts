import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseCertificationRequest } from '../src/pki/certification-request.ts';
import { decodePem } from '../src/pki/pem.ts';
import { type Service } from '../src/identity/service.ts';
import { allNames } from '../src/identity/subject-names.ts';
import {
  administrator,
  testAuthority,
  type Alter,
  type ApiRequest,
} from '../test/support/administrator.ts';
import { downwardMap, kubeletVolume } from '../test/support/kubelet-volume.ts';
import { servicesJson } from '../test/support/pod-scene.ts';
import { startProgram, type Program } from '../test/support/program.ts';
import { until } from '../test/support/until.ts';
import {
  clusterDemoApi,
  embeddedDemoApi,
  existingDemoApi,
  type DemoApi,
  type DemoPod,
} from './api.ts';
import { terminalScreen, type Screen } from './screen.ts';
import { startTraffic, type Traffic } from './traffic.ts';

const usage = `Usage: npm run demo -- [--cluster | --existing-cluster] [--once --dir DIR]

Shows a pod obtain, serve and renew its certificate, with you looking over the administrator's shoulder.

  --cluster           on a real kube-apiserver that is started for it (the first time it is built: 6 to 9 min)
  --existing-cluster  on the cluster of KUBECONFIG, in a namespace that is made and removed
  --once --dir DIR    one certificate without a viewer: leaves tls.crt, tls.key and ca.crt in DIR
`;

const namespace = 'podseal-demo';
const labels = { app: 'web' };
/** Seconds: short, so that renewal happens before the viewer's eyes. */
const lifetime = 6;
const short: Alter = (template) => ({
  ...template,
  validity: {
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + lifetime * 1000),
  },
});

const service = (name: string, address: string): Service => ({
  name,
  selector: labels,
  clusterIPs: [address],
  headless: false,
});

/** The pod's mounts, as the kubelet would make them. */
function mountsFor(root: string, api: DemoApi, pod: DemoPod) {
  const account = join(root, 'account');
  mkdirSync(account);
  writeFileSync(join(account, 'token'), pod.token, { mode: 0o600 });
  writeFileSync(join(account, 'ca.crt'), api.caPem);
  const directory = join(root, 'podseal');
  mkdirSync(directory);
  const content = (services: readonly Service[]) => ({
    labels: downwardMap(labels),
    annotations: '',
    'services.json': servicesJson(services),
  });
  const services = [service('web', '10.96.0.20')];
  const info = kubeletVolume(join(root, 'podinfo'), content(services));
  return {
    account,
    directory,
    info,
    addService(added: Service) {
      services.push(added);
      info.write(content(services));
    },
  };
}

/** What must not stay behind, however the demo ends. */
interface Stage {
  readonly root: string;
  readonly programs: Program[];
}

async function clear({ root, programs }: Stage): Promise<void> {
  for (const { child } of programs) child.kill('SIGKILL');
  await Promise.all(programs.map(({ exit }) => exit));
  rmSync(root, { recursive: true, force: true });
}

async function demo(
  api: DemoApi,
  screen: Screen,
  onceInto: string | undefined,
  { root, programs }: Stage,
): Promise<void> {
  const serving = new AbortController();
  let traffic: Traffic | undefined;
  try {
    const pod = await api.makePod(namespace, `web-${Date.now().toString(36)}`, labels);
    const mounts = mountsFor(root, api, pod);
    let ca = await testAuthority('demo root');
    const trust = kubeletVolume(join(root, 'trust'), { 'ca.crt': ca.rootPem });
    const { hostname, port } = new URL(api.serverUrl);
    const signerName = `demo.podseal.dev/${pod.uid.slice(0, 8)}`;
    const person = administrator(api.client, signerName);
    const start = (command: string): Program => {
      const program = startProgram([command], {
        POD_NAME: pod.name,
        POD_NAMESPACE: pod.namespace,
        POD_UID: pod.uid,
        POD_IPS: pod.address,
        SERVICE_ACCOUNT: 'default',
        KUBERNETES_SERVICE_HOST: hostname,
        KUBERNETES_SERVICE_PORT: port,
        PODSEAL_SIGNER_NAME: signerName,
        PODSEAL_DIR: mounts.directory,
        PODSEAL_SERVICES_FILE: mounts.info.path('services.json'),
        PODSEAL_POD_INFO_DIR: mounts.info.directory,
        PODSEAL_TRUST_FILES: trust.path('ca.crt'),
        PODSEAL_SERVICE_ACCOUNT_DIR: mounts.account,
        PODSEAL_CLUSTER_DOMAIN: 'cluster.local',
        PODSEAL_LISTEN: '127.0.0.1:0',
      });
      programs.push(program);
      return program;
    };

    screen.title('1  The init container asks');
    const init = start('init');
    const request = await person.pending();
    showRequest(request, screen);
    screen.title('2  The administrator looks, approves, signs');
    await person.decide(request.metadata.name, 'Approved');
    screen.good(`kubectl certificate approve ${request.metadata.name.slice(0, 24)}…`);
    await person.issue(
      request.metadata.name,
      person.sign(request, ca, onceInto === undefined ? short : undefined),
    );
    screen.good('signed with a root that may vouch for names of this cluster alone');
    if ((await init.exit) !== 0) throw new Error(`podseal init failed: ${init.output()}`);
    screen.good('podseal init ended with 0: key, chain and trust bundle are on the volume');
    screen.detail(inspect(mounts.directory));
    if (onceInto !== undefined) {
      copySet(mounts.directory, onceInto);
      screen.good(`tls.crt, tls.key and ca.crt are in ${onceInto}`);
      return;
    }

    const serverName = `web.${namespace}.svc`;
    traffic = await startTraffic(mounts.directory, serverName);
    const { servedSerial, answered, failures } = traffic;
    const served = person.serve(() => ca, serving.signal, short);
    screen.title(
      `3  The sidecar renews every few seconds, while a client keeps asking https://${serverName}`,
    );
    const watch = start('watch');
    const timer = setInterval(() => {
      screen.living(
        `${answered()} requests answered, ${failures().length} failed · serial ${servedSerial().slice(0, 12)}…`,
      );
    }, 200);
    const published = () => watch.lines().filter((line) => line.event === 'certificate.published');
    const nextCertificate = async (what: string): Promise<readonly string[]> => {
      const count = published().length;
      const line = await until(what, () => published()[count], 60);
      const serial = String(line['serial']);
      await until('the application to serve it', () => servedSerial() === serial, 30);
      screen.good(`${what}: serial ${serial.slice(0, 12)}…, served to the client`);
      return line['names'] as readonly string[];
    };
    await nextCertificate('first renewal');
    await nextCertificate('second renewal');

    screen.title('4  A second Service selects the pod');
    mounts.addService(service('shop', '10.96.0.30'));
    screen.line('services.json now lists Service shop');
    const names = await until(
      'the new name',
      async () => {
        const seen = await nextCertificate('next renewal');
        return seen.includes(`shop.${namespace}.svc`) ? seen : undefined;
      },
      60,
    );
    screen.good(
      `the certificate has ${names.filter((name) => name.startsWith('shop.')).join(' and ')}`,
    );

    screen.title('5  The CA is replaced, step by step');
    const next = await testAuthority('demo root 2');
    trust.write({ 'ca.crt': ca.rootPem + next.rootPem });
    await until('both roots on the volume', () => rootCount(mounts.directory) === 2);
    screen.good('both roots are in ca.crt');
    const old = ca;
    ca = next;
    await until(
      'a certificate of the new root',
      async () => {
        await nextCertificate('renewal under the new root');
        return issuer(mounts.directory) !== old.authority.certificate.x509.subject;
      },
      60,
    );
    trust.write({ 'ca.crt': next.rootPem });
    await until('the old root to be gone', () => rootCount(mounts.directory) === 1);
    screen.good('the old root is gone from ca.crt');
    await nextCertificate('renewal');

    clearInterval(timer);
    screen.living('');
    serving.abort();
    await served;
    watch.child.kill('SIGTERM');
    const code = await watch.exit;
    screen.title('Summary');
    screen.good(`${published().length + 1} certificates, ${answered()} requests answered`);
    if (failures().length > 0)
      throw new Error(`${failures().length} requests failed: ${failures()[0] ?? ''}`);
    screen.good('no request failed while certificates, names and the CA changed');
    if (code !== 0) throw new Error(`podseal watch ended with ${code ?? 'a signal'} on SIGTERM`);
    screen.good('podseal watch ended with 0 on SIGTERM');
  } finally {
    screen.living('');
    serving.abort();
    await traffic?.close();
  }
}

function showRequest(request: ApiRequest, screen: Screen): void {
  const [block] = decodePem(Buffer.from(request.spec.request, 'base64').toString());
  const { names } = parseCertificationRequest(block?.der ?? Buffer.of());
  screen.line(`signing request  ${request.metadata.name}`);
  screen.line(`asked by         ${request.spec.username}`);
  screen.line(
    `from pod         ${request.spec.extra?.['authentication.kubernetes.io/pod-name']?.join() ?? '?'}`,
  );
  screen.line(`signer           ${request.spec.signerName}`);
  for (const name of allNames(names)) screen.line(`for              ${name}`);
}

/** What `podseal inspect` says of the volume. */
function inspect(directory: string): string {
  const program = join(import.meta.dirname, '../dist/podseal.cjs');
  return execFileSync(process.execPath, [program, 'inspect', directory]).toString().trimEnd();
}

function copySet(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of ['tls.crt', 'tls.key', 'ca.crt']) {
    rmSync(join(to, name), { force: true });
    copyFileSync(join(from, name), join(to, name));
  }
}

const rootCount = (directory: string): number =>
  decodePem(readFileSync(join(directory, 'ca.crt'), 'utf8')).length;

function issuer(directory: string): string {
  return execFileSync('openssl', [
    'x509',
    '-noout',
    '-issuer',
    '-nameopt',
    'RFC2253',
    '-in',
    join(directory, 'tls.crt'),
  ])
    .toString()
    .trim()
    .replace(/^issuer=/, '');
}

async function main(): Promise<number> {
  let options;
  try {
    options = parseArgs({
      options: {
        cluster: { type: 'boolean' },
        'existing-cluster': { type: 'boolean' },
        once: { type: 'boolean' },
        dir: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}\n${usage}`);
    return 64;
  }
  if (options.help) {
    console.log(usage);
    return 0;
  }
  if (
    (options.once === true) !== (options.dir !== undefined) ||
    (options.cluster && options['existing-cluster'])
  ) {
    console.error(
      `error: --once and --dir go together; --cluster and --existing-cluster do not\n${usage}`,
    );
    return 64;
  }
  const screen = terminalScreen(process.stdout);
  const api = await (options.cluster
    ? clusterDemoApi((line) => screen.line(line))
    : options['existing-cluster']
      ? existingDemoApi(namespace)
      : embeddedDemoApi());
  const stage: Stage = { root: mkdtempSync(join(tmpdir(), 'podseal-demo-')), programs: [] };
  const end = async (): Promise<void> => {
    await clear(stage);
    await api.close();
  };
  const leave = (): void => void end().finally(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave);
  // Nobody reads any more (piped into head, say): what was started must not stay behind.
  process.stdout.once('error', leave).on('error', () => undefined);
  try {
    screen.title('Podseal: a certificate for a pod');
    screen.line(`talking to ${api.description}`);
    await demo(api, screen, options.dir, stage);
    return 0;
  } catch (error) {
    screen.bad(error instanceof Error ? error.message : String(error));
    return 1;
  } finally {
    await end();
  }
}

process.exitCode = await main();
