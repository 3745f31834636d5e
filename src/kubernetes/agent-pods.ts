import { isDnsLabel } from '../identity/dns-name.ts';
import {
  type Agent,
  type ContainerEnd,
  type ContainerState,
  type PodFacts,
} from '../status/pod-facts.ts';
import { type Json, listOf, needed, objectOf, textMapOf, textOf, timeOf } from './json.ts';

/** What an agent whose container says nothing of it has. */
export interface AgentDefaults {
  readonly PODSEAL_LISTEN: string;
  readonly PODSEAL_SIGNER_NAME: string;
}

/** The containers that the injector adds (docs/injection.md), and that examples are written with. */
const agentNames: ReadonlySet<string> = new Set(['podseal', 'podseal-init']);

export function podFactsOf(object: Json, defaults: AgentDefaults): PodFacts {
  const metadata = objectOf(object['metadata']);
  const spec = objectOf(object['spec']);
  const status = objectOf(object['status']);
  const labels = textMapOf(metadata['labels']);
  return {
    namespace: needed(metadata['namespace'], 'metadata.namespace'),
    name: needed(metadata['name'], 'metadata.name'),
    uid: needed(metadata['uid'], 'metadata.uid'),
    phase: textOf(status['phase']) ?? 'Pending',
    isTerminating: textOf(metadata['deletionTimestamp']) !== undefined,
    isMirror: textMapOf(metadata['annotations'])['kubernetes.io/config.mirror'] !== undefined,
    isWindows:
      textOf(objectOf(spec['os'])['name']) === 'windows' ||
      textMapOf(spec['nodeSelector'])['kubernetes.io/os'] === 'windows',
    inject: labels['podseal.dev/inject'],
    isMarked: labels['podseal.dev/agent'] === 'injected',
    controller: controllerOf(metadata, labels),
    agents: [
      ...agentsOf(spec['initContainers'], status['initContainerStatuses'], 'init', defaults),
      ...agentsOf(spec['containers'], status['containerStatuses'], 'watch', defaults),
    ],
    unscheduled: unscheduledOf(status),
  };
}

function controllerOf(
  metadata: Json,
  labels: Readonly<Record<string, string>>,
): PodFacts['controller'] {
  const owner = listOf(metadata['ownerReferences'])
    .map(objectOf)
    .find(({ controller }) => controller === true);
  const [kind, name] = [textOf(owner?.['kind']), textOf(owner?.['name'])];
  // Whoever creates a pod writes its owners as they like; people will copy the name into a shell.
  if (kind === undefined || !name?.split('.').every(isDnsLabel)) return undefined;
  // A Deployment calls its ReplicaSets NAME-HASH, and labels their pods with the hash.
  const suffix = `-${labels['pod-template-hash'] ?? ''}`;
  return kind === 'ReplicaSet' && suffix.length > 1 && name.endsWith(suffix)
    ? { kind: 'Deployment', name: name.slice(0, -suffix.length) }
    : { kind, name };
}

function agentsOf(
  containers: unknown,
  statuses: unknown,
  list: Agent['kind'],
  defaults: AgentDefaults,
): readonly Agent[] {
  const statusOf = (name: string): Json =>
    listOf(statuses)
      .map(objectOf)
      .find((each) => each['name'] === name) ?? {};
  return listOf(containers)
    .map(objectOf)
    .flatMap((container) => {
      const name = textOf(container['name']) ?? '';
      if (!agentNames.has(name)) return [];
      const status = statusOf(name);
      // A native sidecar stands among the init containers.
      const stays = container['restartPolicy'] === 'Always';
      return [
        {
          container: name,
          kind: stays ? 'watch' : list,
          listen: settingOf(container, 'PODSEAL_LISTEN') ?? defaults.PODSEAL_LISTEN,
          signerName: settingOf(container, 'PODSEAL_SIGNER_NAME') ?? defaults.PODSEAL_SIGNER_NAME,
          isProbed: container['readinessProbe'] !== undefined,
          isReady: status['ready'] === true,
          state: stateOf(objectOf(status['state'])),
          lastEnd: endOf(objectOf(status['lastState'])['terminated']),
        },
      ];
    });
}

function settingOf(container: Json, name: string): string | undefined {
  const entries = listOf(container['env']).map(objectOf);
  return textOf(entries.find((each) => each['name'] === name)?.['value']);
}

function stateOf(state: Json): ContainerState {
  const { waiting, running, terminated } = state;
  const end = endOf(terminated);
  if (end) return { kind: 'ended', ...end };
  if (running !== undefined) return { kind: 'running' };
  if (waiting === undefined) return { kind: 'unseen' };
  const { reason, message } = objectOf(waiting);
  return { kind: 'waiting', reason: textOf(reason) ?? '', message: textOf(message) ?? '' };
}

function endOf(terminated: unknown): ContainerEnd | undefined {
  if (terminated === undefined) return undefined;
  const { exitCode, reason, message, finishedAt } = objectOf(terminated);
  return {
    exitCode: typeof exitCode === 'number' ? exitCode : 0,
    reason: textOf(reason) ?? '',
    message: textOf(message) ?? '',
    at: timeOf(finishedAt),
  };
}

function unscheduledOf(status: Json): string | undefined {
  const condition = listOf(status['conditions'])
    .map(objectOf)
    .find(({ type }) => type === 'PodScheduled');
  if (condition?.['status'] !== 'False') return undefined;
  return textOf(condition['message']) ?? textOf(condition['reason']);
}
