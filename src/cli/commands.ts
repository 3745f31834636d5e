import { runInit } from '../agent/init.ts';
import { namesTable } from '../agent/names-table.ts';
import { watchCertificate } from '../agent/watch.ts';
import { type AgentWorld } from '../agent/world.ts';
import { asPodsealError, errorCodes, PodsealError } from '../errors.ts';
import { diskVolume } from '../node/disk-volume.ts';
import { nearest } from '../runtime/nearest.ts';
import { type Answer, type ListenAddress } from '../runtime/web.ts';
import { type Log } from '../telemetry/log.ts';
import { readDirectory, readSettings, systemFiles } from './agent-config.ts';
import { agentPages } from './agent-pages.ts';
import { agentSources, composeAgent, watchedFiles } from './compose.ts';
import { errorText, writeError, writeTerminationMessage } from './report.ts';

/** One call of the program. */
export interface Call {
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly stop: AbortSignal;
  readonly version: string;
  print(text: string): void;
}

interface Options {
  readonly positionals: readonly string[];
  readonly asJson: boolean;
  /** The file of `approver --explain`. */
  readonly explain?: string | undefined;
}

/** Resolves to the exit code; throws PodsealErrors. */
type Run = (call: Call, options: Options) => Promise<number> | number;

const commands: Readonly<Record<string, Run>> = {
  init,
  watch,
  approver: runApprover,
  signer: async (call) => (await import('./controllers.ts')).runSigner(call),
  names,
  inspect,
  help,
};

/** What runs in containers: errors are one JSON line, and the termination message. */
const containerCommands = ['init', 'watch', 'approver', 'signer'];

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
  const { values, positionals } = await parsed(call.args);
  const [name, ...rest] = positionals;
  if (values.version) {
    call.print(`podseal ${call.version}\n`);
    return 0;
  }
  if (values.help || name === undefined) {
    return help(call, { positionals: name === undefined ? [] : [name], asJson: false });
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command)
    throw usageError(
      `Cannot run ${JSON.stringify(name)}: there is no such command; did you mean ${nearest(name, Object.keys(commands))}?`,
    );
  const limit = name === 'inspect' || name === 'help' ? 1 : 0;
  if (rest.length > limit)
    throw usageError(`Cannot run ${name}: unexpected argument ${JSON.stringify(rest[limit])}`);
  const { output, explain } = values;
  if (explain !== undefined && name !== 'approver')
    throw usageError(`Cannot run ${name} with --explain: it belongs to approver`);
  return await command(call, { positionals: rest, asJson: output === 'json', explain });
}

function usageError(message: string): PodsealError {
  return new PodsealError('USAGE', message, { hint: 'podseal --help shows the commands.' });
}

interface Arguments {
  readonly values: {
    readonly help?: boolean;
    readonly version?: boolean;
    readonly output?: string;
    readonly explain?: string;
  };
  readonly positionals: readonly string[];
}

async function parsed(args: readonly string[]): Promise<Arguments> {
  // What containers say, without options: the parser alone would be a tenth of init's start.
  if (!args.some((arg) => arg.startsWith('-'))) return { values: {}, positionals: args };
  const { parseArgs } = await import('node:util');
  try {
    const result = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
        output: { type: 'string', short: 'o' },
        explain: { type: 'string' },
      },
    });
    const { output } = result.values;
    if (output !== undefined && output !== 'json')
      throw usageError(`Cannot print as ${JSON.stringify(output)}: the only other form is json`);
    return result;
  } catch (error) {
    if (error instanceof PodsealError) throw error;
    throw usageError(
      `Cannot read the arguments: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
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
  const agent = watchCertificate(settings.agent, world);
  const { pod, agent: config, listen } = settings;
  const respondent = { pod, signerName: config.signerName, version: call.version };
  const pages = agentPages(respondent, agent, world.metrics);
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
  await agent.run(call.stop);
  world.log('info', 'command.stopped', 'Stopped as told');
  return 0;
}

async function runApprover(call: Call, { explain, asJson }: Options): Promise<number> {
  const controllers = await import('./controllers.ts');
  if (explain === undefined) return controllers.runApprover(call);
  return controllers.runExplain(call, explain, { asJson, print: (text) => call.print(text) });
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

function names(call: Call, options: Options): number {
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
  call.print(
    options.asJson
      ? `${JSON.stringify({ source, names: wanted }, undefined, 2)}\n`
      : namesTable(wanted),
  );
  return 0;
}

async function inspect(call: Call, options: Options): Promise<number> {
  const { inspectionText, inspectVolume } = await import('../agent/inspect.ts');
  const directory = options.positionals[0] ?? readDirectory(call.environment);
  const volume = diskVolume(directory);
  const state = { published: volume.read(), pending: volume.readPending() };
  const inspection = inspectVolume(directory, state, new Date());
  call.print(
    options.asJson ? `${JSON.stringify(inspection, undefined, 2)}\n` : inspectionText(inspection),
  );
  return inspection.usable ? 0 : 1;
}

async function help(call: Call, options: Options): Promise<number> {
  const [topic] = options.positionals;
  // The longest texts of the program, and never needed in a pod.
  const { helpFor } = await import('./help.ts');
  const text = helpFor(topic);
  if (text === undefined)
    throw usageError(`Cannot explain ${JSON.stringify(topic)}: it is no command`);
  call.print(text);
  return 0;
}
