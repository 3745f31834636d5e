import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { agentAnswers } from '../kubernetes/agent-answer.ts';
import { apiCalls } from '../kubernetes/api-calls.ts';
import { type ApiEndpoint } from '../kubernetes/api-endpoint.ts';
import { surveyedCluster } from '../kubernetes/surveyed-cluster.ts';
import { readText } from '../node/pod-files.ts';
import { isFine } from '../status/pod-status.ts';
import { notesText, statusBlocks } from '../status/status-blocks.ts';
import { statusJson } from '../status/status-json.ts';
import { statusTable } from '../status/status-table.ts';
import { readersAtOnce, survey } from '../status/survey.ts';
import { apiEndpoint, type ApiServerSettings } from './api-server.ts';
import { type Options, usageError } from './arguments.ts';
import { writeError, writeOutput } from './report.ts';
import { agentSettings } from './settings.ts';

/** `podseal status`: a part of the program of its own, which no pod loads. */

/** Prints a row for each pod; resolves to 0 when all are fine, to 1 when some pod is not. */
export async function runStatus(
  pods: readonly string[],
  options: Options,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  refuseContradictions(pods, options);
  const serviceAccountDirectory =
    environment['PODSEAL_SERVICE_ACCOUNT_DIR'] ?? agentSettings.PODSEAL_SERVICE_ACCOUNT_DIR;
  const settings = { kubeconfig: kubeconfigPath(environment), serviceAccountDirectory };
  const endpoint = await apiEndpoint(settings, environment);
  const calls = apiCalls(endpoint, { maximumConnections: 8, observe: () => undefined });
  const cluster = surveyedCluster(calls, agentAnswers(endpoint, readersAtOnce), agentSettings);
  const scope = {
    namespace: options['all-namespaces']
      ? undefined
      : (options.namespace ?? usualNamespace(endpoint, environment, settings)),
    // As `kubectl get pods -o name` prints them, too.
    names: pods.map((name) => name.replace(/^pods?\//, '')),
    selector: options.selector,
  };
  const progress = progressLine();
  const { statuses, notes } = await survey(scope, cluster, progress.say).finally(progress.end);
  const now = new Date();
  const { namespace } = scope;
  if (options.output === 'json') writeOutput(statusJson(statuses, now));
  else if (statuses.length > 0) {
    const shown = { withNamespace: namespace === undefined, isWide: options.output === 'wide' };
    writeOutput(statusTable(statuses, shown, now) + statusBlocks(statuses, now));
  } else
    writeError(
      `No pod with an agent${namespace === undefined ? '' : ` in namespace ${namespace}`}.\n`,
    );
  writeError(notesText(notes));
  return statuses.every(isFine) ? 0 : 1;
}

function refuseContradictions(pods: readonly string[], options: Options): void {
  const { namespace, selector, 'all-namespaces': isEveryNamespace = false } = options;
  if (isEveryNamespace && namespace !== undefined)
    throw usageError('Cannot look into one namespace (-n) and into all of them (-A)');
  if (isEveryNamespace && pods.length > 0)
    throw usageError('Cannot find pods by name in all namespaces (-A): a name needs its namespace');
  if (selector !== undefined && pods.length > 0)
    throw usageError('Cannot choose pods by name and by selector (-l) at once');
}

/** That of the kubeconfig's context; inside a cluster that of the pod. */
function usualNamespace(
  endpoint: ApiEndpoint,
  environment: NodeJS.ProcessEnv,
  { kubeconfig, serviceAccountDirectory }: ApiServerSettings,
): string {
  const own = (): string | undefined =>
    environment['POD_NAMESPACE'] ?? readText(join(serviceAccountDirectory, 'namespace'))?.trim();
  return (kubeconfig === undefined ? own() : endpoint.namespace) ?? 'default';
}

/** As kubectl finds it; undefined inside a cluster, where the pod's own account is meant. */
function kubeconfigPath(environment: NodeJS.ProcessEnv): string | undefined {
  const named = environment['KUBECONFIG']?.trim();
  if (named) return named;
  const usual = join(homedir(), '.kube', 'config');
  return environment['KUBERNETES_SERVICE_HOST'] || !existsSync(usual) ? undefined : usual;
}

/** A person is told nothing about what is over in a moment. */
const patienceMs = 700;

/** One line on a terminal that says how far it is; nothing where standard error goes elsewhere. */
function progressLine(): { readonly say: (text: string) => void; readonly end: () => void } {
  const isShown = isatty(2);
  const startedAt = Date.now();
  let isThere = false;
  return {
    say(text) {
      if (!isShown || Date.now() - startedAt < patienceMs) return;
      isThere = true;
      writeError(`\r\x1b[K${text}`);
    },
    end() {
      if (isThere) writeError('\r\x1b[K');
    },
  };
}
