import { approver } from '../approver/run.ts';
import { type Controller } from '../controller/controller.ts';
import { injector } from '../injector/run.ts';
import { serveHttp } from '../node/web-server.ts';
import { serveWebhook } from '../node/webhook-server.ts';
import { type Answer, plainText } from '../runtime/web.ts';
import { signer } from '../signer/run.ts';
import { type Log } from '../telemetry/log.ts';
import { composeApprover, composeInjector, composeSigner } from './compose-controllers.ts';
import { explainFile } from './explain.ts';
import {
  readApproverSetup,
  readInjectorSetup,
  readSignerSetup,
  type Surroundings,
} from './controller-config.ts';

/** The commands of the controllers: a part of the program of its own, which no pod of an application loads. */

export interface ControllerCall {
  readonly environment: NodeJS.ProcessEnv;
  readonly stop: AbortSignal;
}

export async function runApprover({ environment, stop }: ControllerCall): Promise<number> {
  const setup = readApproverSetup(environment);
  const world = await composeApprover(setup, environment, stop);
  return runController(setup, approver(setup.config, world), world, stop);
}

/** Where the controllers are installed, for people who ask from outside. */
const usualNamespace = 'podseal-system';

/** `podseal approver --explain FILE`; resolves to the exit code. */
export async function runExplain(
  { environment }: Pick<ControllerCall, 'environment'>,
  file: string,
  { asJson, print }: { readonly asJson: boolean; readonly print: (text: string) => void },
): Promise<number> {
  const setup = readApproverSetup({ POD_NAMESPACE: usualNamespace, ...environment });
  const form = asJson ? 'json' : 'text';
  const { text, isApproved } = await explainFile(file, setup, environment, form);
  print(text);
  return isApproved ? 0 : 1;
}

export async function runSigner({ environment, stop }: ControllerCall): Promise<number> {
  const setup = readSignerSetup(environment);
  const world = await composeSigner(setup, environment);
  return runController(setup, signer(setup.config, world), world, stop);
}

/** As deploy/injector.yaml tells the API server. */
const webhookPath = '/inject';

export async function runInjector({ environment, stop }: ControllerCall): Promise<number> {
  const setup = readInjectorSetup(environment);
  const world = await composeInjector(setup, environment);
  const { log } = world;
  const program = injector(setup.config, world);
  const { port, ended } = await serveWebhook(
    {
      certificateDirectory: setup.certificateDirectory,
      listen: setup.webhookListen,
      path: webhookPath,
      answer: (body) => program.review(body),
      onCertificate: () =>
        log('info', 'webhook.certificate', 'A new certificate is served from now on'),
      onProblem: (why) =>
        log('warn', 'webhook.problem', `Cannot follow the certificate of the webhook: ${why}`),
    },
    stop,
  );
  log('info', 'webhook.listening', `Answering the API server at ${webhookPath}`, { port });
  const exitCode = await runController(setup, program, world, stop);
  await ended;
  return exitCode;
}

async function runController(
  { listen, warnings }: Surroundings,
  controller: Controller,
  world: { readonly log: Log; readonly metrics: { text(): Promise<string> } },
  stop: AbortSignal,
): Promise<number> {
  for (const warning of warnings) world.log('warn', 'settings.unknown', warning);
  if (listen) {
    const handler = (path: string): Promise<Answer> => probe(path, controller, world.metrics);
    const port = await serveHttp(listen, handler, stop);
    world.log('info', 'probes.listening', 'Serving /healthz, /readyz and /metrics', { port });
  }
  await controller.run(stop);
  world.log('info', 'command.stopped', 'Stopped as told');
  return 0;
}

async function probe(
  path: string,
  controller: Controller,
  metrics: { text(): Promise<string> },
): Promise<Answer> {
  switch (path) {
    case '/healthz':
      return plainText(200, 'ok\n');
    case '/readyz': {
      const reasons = controller.reasonsNotReady();
      return reasons.length === 0
        ? plainText(200, 'ok\n')
        : plainText(503, `${['not ready', ...reasons].join('\n')}\n`);
    }
    case '/metrics':
      controller.updateGauges();
      return {
        status: 200,
        contentType: 'text/plain; version=0.0.4; charset=utf-8',
        body: await metrics.text(),
      };
    default:
      return plainText(404, 'there are /healthz, /readyz and /metrics\n');
  }
}
