import { type AgentSources, type AgentWorld } from '../agent/world.ts';
import { ownServices } from '../identity/service-source.ts';
import { wantedNames } from '../identity/wanted-names.ts';
import { apiSigningRequests } from '../kubernetes/signing-requests.ts';
import { diskVolume } from '../node/disk-volume.ts';
import { jsonLog } from '../node/json-log.ts';
import { generateKey } from '../node/key-generator.ts';
import { annotationsPath, labelsPath, readDownwardMap, readServices } from '../node/pod-files.ts';
import { metricsRegistry } from '../node/prometheus-text.ts';
import { retryWith } from '../node/retry.ts';
import { systemClock } from '../node/system-clock.ts';
import { systemRandom } from '../node/system-random.ts';
import { readTrustFiles } from '../node/trust-files.ts';
import { type Settings } from './agent-config.ts';
import { apiEndpoint } from './api-server.ts';
import { writeError } from './report.ts';

/** Introduces the adapters to the programs; no other file may import them. */
export async function composeAgent(
  settings: Settings,
  environment: NodeJS.ProcessEnv,
  stop: AbortSignal,
): Promise<AgentWorld & { readonly metrics: ReturnType<typeof metricsRegistry> }> {
  const metrics = metricsRegistry();
  const endpoint = await apiEndpoint(settings, environment);
  return {
    clock: systemClock,
    random: systemRandom,
    retry: retryWith(systemClock),
    generateKey,
    requests: apiSigningRequests(endpoint, stop, (method, status) =>
      metrics.add('podseal_api_requests_total', 1, { method, status: String(status) }),
    ),
    sources: agentSources(settings),
    volume: diskVolume(settings.directory),
    log: jsonLog(writeError, settings.logLevel),
    metrics,
    // With --expose-gc (main.ts): V8 would keep several megabytes of garbage until some later renewal.
    freeMemory: () => globalThis.gc?.(),
  };
}

/** What the pod's mounted files say, read anew at each call. */
export function agentSources(settings: Settings): AgentSources {
  const { podInfoDirectory, servicesFile, pod, naming } = settings;
  const annotation = (name: string): string | undefined =>
    readDownwardMap(annotationsPath(podInfoDirectory))?.get(name);
  return {
    names() {
      const promised = annotation('podseal.dev/services');
      const promisedNames = promised
        ?.split(',')
        .map((name) => name.trim())
        .filter((name) => name !== '');
      const labels = readDownwardMap(labelsPath(podInfoDirectory));
      const given = settings.services ?? promisedNames;
      const own = ownServices({
        setting: settings.services,
        annotation: promisedNames,
        labels,
        file: readServices(servicesFile, labels, given ?? []),
      });
      if (own.kind === 'unknown') return own;
      return { kind: 'known', names: wantedNames(pod, own.services, naming), source: own.source };
    },
    trust: () => readTrustFiles(settings.trustFiles),
    renewAnnotation: () => annotation('podseal.dev/renew'),
  };
}

/** The files that say something new when they change. */
export function watchedFiles(settings: Settings): readonly string[] {
  const { podInfoDirectory, servicesFile, trustFiles } = settings;
  return [
    ...trustFiles,
    labelsPath(podInfoDirectory),
    annotationsPath(podInfoDirectory),
    ...(servicesFile === undefined ? [] : [servicesFile]),
  ];
}
