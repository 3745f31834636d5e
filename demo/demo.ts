import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { first, leaveSet, others, type Setting } from './acts.ts';
import { embeddedDemoApi, namespaces } from './api.ts';
import { clusterDemoApi, existingDemoApi } from './cluster.ts';
import { terminalScreen } from './screen.ts';
import { openStage } from './stage.ts';

const usage = `Usage: npm run demo -- [--cluster | --existing-cluster] [--once --dir DIR]

Shows a pod obtain, serve and renew its certificate, proved by podseal approver and issued by podseal signer.

  --cluster           on a real kube-apiserver that is started for it (the first time it is built: 6 to 9 min)
  --existing-cluster  on the cluster of KUBECONFIG, in namespaces that are made and removed:
                      ${Object.values(namespaces).join(', ')}
  --once --dir DIR    one certificate without a viewer: leaves tls.crt, tls.key and ca.crt in DIR
`;

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
  const signerName = `demo.podseal.dev/${randomBytes(4).toString('hex')}`;
  const stage = openStage();
  const leave = (): void => void stage.clear().finally(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave);
  // Nobody reads any more (piped into head, say): what was started must not stay behind.
  process.stdout.once('error', leave).on('error', () => undefined);
  const complain = (error: unknown): void =>
    screen.bad(error instanceof Error ? error.message : String(error));
  let code = 1;
  try {
    const api = await (options.cluster
      ? clusterDemoApi((line) => screen.line(line))
      : options['existing-cluster']
        ? existingDemoApi(signerName)
        : embeddedDemoApi());
    stage.atEnd(() => api.close());
    screen.title('Podseal: a certificate for a pod');
    screen.line(`talking to ${api.description}`);
    screen.line(
      'approver and signer act as administrator here; examples/rbac has the few rights they need',
    );
    const setting: Setting = { stage, api, screen, signerName };
    const obtained = await first(setting);
    if (options.dir === undefined) await others(setting, obtained);
    else leaveSet(obtained, options.dir, screen);
    code = 0;
  } catch (error) {
    complain(error);
    for (const complaint of stage.complaints()) screen.detail(complaint);
  }
  try {
    await stage.clear();
  } catch (error) {
    complain(error);
    code = 1;
  }
  return code;
}

process.exitCode = await main();
