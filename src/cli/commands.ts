import { runInit } from '../agent/init.ts';
import { namesTable } from '../agent/names-table.ts';
import { newestSet } from '../agent/newest-set.ts';
import {
  announcing,
  isAskedFor,
  noTelling,
  type Telling,
  type TellingSettings,
} from '../agent/telling.ts';
import { watchCertificate } from '../agent/watch.ts';
import { type AgentWorld } from '../agent/world.ts';
import { asPodsealError, errorCodes, PodsealError } from '../errors.ts';
import { diskVolume } from '../node/disk-volume.ts';
import { nearest } from '../runtime/nearest.ts';
import { type Answer, type ListenAddress } from '../runtime/web.ts';
import { type Log } from '../telemetry/log.ts';
import { readDirectory, readSettings, systemFiles } from './agent-config.ts';
import { agentPages } from './agent-pages.ts';
import { type Arguments, readArguments, refuseForeign, usageError } from './arguments.ts';
import { agentSources, composeAgent, watchedFiles } from './compose.ts';
import { errorText, writeError, writeOutput, writeTerminationMessage } from './report.ts';

/** One call of the program. */
export interface Call {
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly stop: AbortSignal;
  readonly version: string;
}

/** Resolves to the exit code; throws PodsealErrors. */
type Run = (call: Call, given: Arguments) => Promise<number> | number;

const commands: Readonly<Record<string, Run>> = {
  init,
  watch,
  approver: runApprover,
  signer: async (call) => (await import('./controllers.ts')).runSigner(call),
  injector: async (call) => (await import('./controllers.ts')).runInjector(call),
  names,
  inspect,
  status,
  help: (_, { positionals: [topic] }) => printHelp(topic),
};

/** What runs in containers: errors are one JSON line, and the termination message. */
const containerCommands = ['init', 'watch', 'approver', 'signer', 'injector'];

/** Runs the command that the arguments name and returns the exit code; errors are reported here. */
export async function run(call: Call): Promise<number> {
  const [name = 'help'] = call.args;
  const isDaemon = containerCommands.includes(name) && !call.args.includes('--explain');
  try {
    return await dispatch(call);
  } catch (thrown) {
    const error = asPodsealError(thrown);
    if (isDaemon) writeTerminationMessage(error);
    writeError(isDaemon ? failureLine(error) : errorText(error));
    return errorCodes[error.code].exitCode;
  }
}

function failureLine(error: PodsealError): string {
  const { code, message, hint } = error;
  const line = {
    time: new Date().toISOString(),
    level: 'error',
    event: 'command.failed',
    message,
    code,
    hint,
  };
  return `${JSON.stringify(line)}\n`;
}

async function dispatch(call: Call): Promise<number> {
  const given = await readArguments(call.args);
  const { command: name, options } = given;
  if (options.version) {
    writeOutput(`podseal ${call.version}\n`);
    return 0;
  }
  if (options.help || name === undefined) return printHelp(name);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command)
    throw usageError(
      `Cannot run ${JSON.stringify(name)}: there is no such command; did you mean ${nearest(name, Object.keys(commands))}?`,
    );
  refuseForeign(name, given);
  return await command(call, given);
}

async function init(call: Call): Promise<number> {
  const settings = readSettings(call.environment, systemFiles());
  const world = await composeAgent(settings, call.environment, call.stop);
  warn(settings.warnings, world);
  await runInit(settings.agent, world, call.stop);
  return 0;
}

async function watch(call: Call): Promise<number> {
  const settings = readSettings(call.environment, systemFiles());
  const world = await composeAgent(settings, call.environment, call.stop);
  warn(settings.warnings, world);
  world.metrics.set('podseal_build_info', 1, { version: call.version });
  const telling = await tellingOf(settings.telling, world);
  const volume = announcing(world.volume, telling);
  const agent = watchCertificate(settings.agent, { ...world, volume });
  const { pod, agent: config, listen } = settings;
  const respondent = { pod, signerName: config.signerName, version: call.version };
  const pages = agentPages(respondent, { agent, telling, metrics: world.metrics });
  if (listen) await serve(listen, pages, world.log, call.stop);
  // Loaded here, so that init does not pay for it.
  const { watchFiles } = await import('../node/watch-files.ts');
  watchFiles(watchedFiles(settings), agent.sourcesChanged, call.stop, (why) =>
    world.log(
      'warn',
      'files.unwatched',
      `Cannot watch files by notification: ${why}; they are polled`,
    ),
  );
  void telling.run(call.stop);
  await agent.run(call.stop);
  world.log('info', 'command.stopped', 'Stopped as told');
  return 0;
}

async function tellingOf(settings: TellingSettings, world: AgentWorld): Promise<Telling> {
  if (!isAskedFor(settings)) return noTelling;
  // A part of its own, which the agents of most pods do not need.
  const { composeTelling } = await import('./compose-telling.ts');
  return composeTelling(settings, {
    ...world,
    current: () => newestSet(world.volume),
    told: { read: () => world.volume.readTold(), write: (id) => world.volume.writeTold(id) },
  });
}

async function runApprover(call: Call, { options }: Arguments): Promise<number> {
  const controllers = await import('./controllers.ts');
  const { explain, output } = options;
  if (explain === undefined) return controllers.runApprover(call);
  const asJson = output === 'json';
  return controllers.runExplain(call, explain, { asJson, print: writeOutput });
}

async function status(call: Call, { positionals, options }: Arguments): Promise<number> {
  const { runStatus } = await import('./status.ts');
  return runStatus(positionals, options, call.environment);
}

function warn(warnings: readonly string[], world: AgentWorld): void {
  for (const warning of warnings) world.log('warn', 'settings.unknown', warning);
}

async function serve(
  listen: ListenAddress,
  pages: (path: string) => Answer,
  log: Log,
  stop: AbortSignal,
): Promise<void> {
  // Loaded here, like the watcher, so that init does not pay for it.
  const { serveHttp } = await import('../node/web-server.ts');
  const port = await serveHttp(listen, pages, stop);
  log('info', 'probes.listening', 'Serving /healthz, /readyz, /metrics and /status', { port });
}

function names(call: Call, { options }: Arguments): number {
  const settings = readSettings(call.environment, systemFiles());
  for (const warning of settings.warnings) writeError(`warning: ${warning}\n`);
  const reading = agentSources(settings).names();
  if (reading.kind === 'unknown')
    throw new PodsealError(
      reading.unconfigured ? 'IDENTITY_INCOMPLETE' : 'NAMES_UNKNOWN',
      `Cannot tell the names of the pod: ${reading.why}`,
      {
        hint: 'Set PODSEAL_SERVICES, or mount services.json and set PODSEAL_SERVICES_FILE, or annotate the pod with podseal.dev/services.',
      },
    );
  const { source, names: wanted } = reading;
  writeOutput(
    options.output === 'json'
      ? `${JSON.stringify({ source, names: wanted }, undefined, 2)}\n`
      : namesTable(wanted),
  );
  return 0;
}

async function inspect(call: Call, { positionals, options }: Arguments): Promise<number> {
  const { inspectionText, inspectVolume } = await import('../agent/inspect.ts');
  const directory = positionals[0] ?? readDirectory(call.environment);
  const volume = diskVolume(directory);
  const state = { published: volume.read(), pending: volume.readPending() };
  const inspection = inspectVolume(directory, state, new Date());
  writeOutput(
    options.output === 'json'
      ? `${JSON.stringify(inspection, undefined, 2)}\n`
      : inspectionText(inspection),
  );
  return inspection.usable ? 0 : 1;
}

async function printHelp(topic: string | undefined): Promise<number> {
  // The longest texts of the program, and never needed in a pod.
  const { helpFor } = await import('./help.ts');
  const text = helpFor(topic);
  if (text === undefined)
    throw usageError(`Cannot explain ${JSON.stringify(topic)}: it is no command`);
  writeOutput(text);
  return 0;
}
