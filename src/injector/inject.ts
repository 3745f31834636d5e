import {
  agentContainers,
  agentFiles,
  agentName,
  type AgentPlan,
  type AgentSettings,
  certificateVolume,
  initName,
} from './agent-container.ts';
import { annotationPrefix, type CheckSettings, readWishes, type Wishes } from './annotations.ts';
import { covers } from './covers.ts';
import { keyAccess, type KeyAccess } from './key-access.ts';
import { withoutEndSlashes } from './mount-path.ts';
import { type Container, type PodObject, type PodSpec, type Volume } from './pod-object.ts';
import { someOf } from './some-of.ts';

export interface InjectionSettings extends AgentSettings {
  /** What becomes of a pod whose annotations are wrong: it is not created, or without what is wrong. */
  readonly wrongAnnotations: 'refuse' | 'warn';
  readonly check: CheckSettings;
}

/** What becomes of one pod. */
export type Injection =
  | {
      readonly kind: 'injected';
      readonly pod: PodObject;
      /** Services that its agent waits for. */
      readonly promisedServices: readonly string[];
      readonly warnings: readonly string[];
    }
  /** Created as it is. `warnings` is empty where nobody need know. */
  | { readonly kind: 'left'; readonly why: string; readonly warnings: readonly string[] }
  /** Not created. */
  | { readonly kind: 'refused'; readonly problems: readonly string[] };

/** The label of pods that were injected: by it they are found. */
export const agentLabel = { key: 'podseal.dev/agent', value: 'injected' } as const;

/**
 * Adds the agent to a pod that is being created. Says what has to be there rather than what to add:
 * a pod that has it all already comes back as it is, so a second pass changes nothing.
 */
export function inject(pod: PodObject, settings: InjectionSettings): Injection {
  const why = reasonToLeave(pod);
  if (why !== undefined) return { kind: 'left', ...why };
  const { wishes, problems: wrong } = readWishes(pod.metadata.annotations ?? {}, settings.check);
  const { readers, unknown } = readersOf(pod.spec, wishes);
  const access = keyAccess(pod.spec, readers);
  const problems = [
    ...wrong,
    ...(unknown.length === 0
      ? []
      : [
          `${annotationPrefix}containers: the pod has no container ${someOf(unknown)}; it has ${someOf(
            application(pod.spec).map(({ name }) => name),
          )}`,
        ]),
  ];
  const place = volumeFor(pod.spec, readers, wishes);
  const impossible = [
    ...hostProblems(pod.spec, wishes),
    ...signalProblems(pod.spec, wishes, access),
    ...place.problems,
  ];
  if (impossible.length > 0 || (problems.length > 0 && settings.wrongAnnotations === 'refuse'))
    return { kind: 'refused', problems: [...problems, ...impossible] };
  const spec = specWith(pod.spec, { wishes, access, readers, settings, volume: place.volume });
  const labels = { ...pod.metadata.labels, [agentLabel.key]: agentLabel.value };
  return {
    kind: 'injected',
    promisedServices: wishes.promisedServices,
    pod: { ...pod, metadata: { ...pod.metadata, labels }, spec },
    warnings: [
      ...problems.map((problem) => `ignored: ${problem}`),
      ...endingWarnings(pod.spec, settings),
    ],
  };
}

export interface LeftAlone {
  readonly why: string;
  readonly warnings: readonly string[];
}

/** Why the pod is created as it is; undefined: it is to be injected. */
export function reasonToLeave({ metadata, spec }: PodObject): LeftAlone | undefined {
  const { labels = {}, annotations = {} } = metadata;
  if (labels['podseal.dev/inject'] === 'false') return { why: 'opted out', warnings: [] };
  if (isWindows(spec)) return told('it is a Windows pod, and the agent is for Linux');
  if (annotations['kubernetes.io/config.mirror'] !== undefined)
    return { why: 'static pod', warnings: [] };
  const isOurs = labels[agentLabel.key] === agentLabel.value;
  if (!isOurs && [...(spec.initContainers ?? []), ...spec.containers].some(isAgent))
    return told('it has a container podseal of its own');
  return undefined;
}

function told(why: string): LeftAlone {
  return { why, warnings: [`podseal: the pod is left as it is: ${why}`] };
}

function application({ containers, initContainers = [] }: PodSpec): readonly Container[] {
  return [...initContainers, ...containers].filter((each) => !isAgent(each));
}

function isWindows({ os, nodeSelector }: PodSpec): boolean {
  return (os?.name ?? nodeSelector?.['kubernetes.io/os']) === 'windows';
}

function isAgent({ name }: Container): boolean {
  return name === agentName || name === initName;
}

/** The containers that get the files, and those asked for that the pod does not have. */
function readersOf(
  spec: PodSpec,
  { containers }: Wishes,
): { readonly readers: readonly Container[]; readonly unknown: readonly string[] } {
  const all = application(spec);
  if (!containers) return { readers: all, unknown: [] };
  const there = new Set(all.map(({ name }) => name));
  return {
    readers: all.filter(({ name }) => containers.has(name)),
    unknown: [...containers].filter((name) => !there.has(name)),
  };
}

function hostProblems({ hostNetwork }: PodSpec, { portIsGiven }: Wishes): readonly string[] {
  return hostNetwork === true && !portIsGiven
    ? [
        `the pod uses its node's network (hostNetwork), where every pod needs a port of its own: give the agent one by the annotation ${annotationPrefix}port, or opt out by the label podseal.dev/inject: "false"`,
      ]
    : [];
}

function signalProblems(spec: PodSpec, wishes: Wishes, access: KeyAccess): readonly string[] {
  if (!wishes.sendsSignal) return [];
  return [
    ...(access.isApplicationsUser
      ? []
      : [
          `${annotationPrefix}hook-signal: a process takes signals of its own user alone; set runAsUser (not 0) for the containers, the same for all that mount the files (${annotationPrefix}containers), or use ${annotationPrefix}hook-http`,
        ]),
    ...(spec.shareProcessNamespace === false
      ? [`${annotationPrefix}hook-signal: needs shareProcessNamespace, which the pod switches off`]
      : []),
  ];
}

/**
 * The volume for the files: ours, or an emptyDir that the pod mounts at that very place already, as
 * charts do that were written for agents of other makers.
 */
function volumeFor(
  { volumes = [] }: PodSpec,
  readers: readonly Container[],
  { directory }: Wishes,
): { readonly volume: string; readonly problems: readonly string[] } {
  const mounted = new Set(
    readers.flatMap(({ volumeMounts = [] }) =>
      volumeMounts
        .filter((each) => withoutEndSlashes(each.mountPath) === directory)
        .map(({ name }) => name),
    ),
  );
  const [own] = mounted;
  if (own === undefined || (own === agentName && mounted.size === 1))
    return { volume: agentName, problems: foreignVolume(volumes) };
  const isFit = mounted.size === 1 && volumes.find(({ name }) => name === own)?.emptyDir;
  if (isFit) return { volume: own, problems: [] };
  return {
    volume: agentName,
    problems: [
      `a container mounts volume ${[...mounted].map((name) => JSON.stringify(name)).join(', ')} at ${directory}, where the certificate goes: use one emptyDir there, or choose another place by the annotation ${annotationPrefix}directory`,
    ],
  };
}

function foreignVolume(volumes: readonly Volume[]): readonly string[] {
  const found = volumes.find(({ name }) => name === agentName);
  return found && !found.emptyDir
    ? [`the pod has a volume "podseal" that is no emptyDir: give it another name`]
    : [];
}

function endingWarnings(spec: PodSpec, { nativeSidecars }: InjectionSettings): readonly string[] {
  const ends = spec.restartPolicy !== undefined && spec.restartPolicy !== 'Always';
  return ends && !nativeSidecars
    ? [
        'podseal: this cluster has no native sidecars, and the pod ends by itself: its certificate is not renewed',
      ]
    : [];
}

interface Parts extends AgentPlan {
  readonly readers: readonly Container[];
}

function specWith(spec: PodSpec, parts: Parts): PodSpec {
  const { wishes, access, settings, volume } = parts;
  const { init, sidecar } = agentContainers(spec, parts);
  const readers = new Set(parts.readers);
  const withMounts = (containers: readonly Container[]): readonly Container[] =>
    containers.map((each) => (readers.has(each) ? mounting(each, volume, wishes) : each));
  const { containers, initContainers = [], volumes = [] } = spec;
  const files = agentFiles(wishes, settings);
  return {
    ...spec,
    initContainers: having(withMounts(initContainers), init, 'first'),
    containers: sidecar ? having(withMounts(containers), sidecar, 'last') : withMounts(containers),
    volumes: having(
      volume === agentName ? having(volumes, certificateVolume(), 'last') : volumes,
      files,
      'last',
    ),
    ...(access.addedGroup === undefined
      ? {}
      : { securityContext: { ...spec.securityContext, supplementalGroups: [access.addedGroup] } }),
    // Without it the agent does not see the application's processes.
    ...(wishes.sendsSignal && spec.hostPID !== true ? { shareProcessNamespace: true } : {}),
  };
}

function mounting(container: Container, volume: string, { directory }: Wishes): Container {
  const { volumeMounts = [] } = container;
  if (volumeMounts.some(({ mountPath }) => withoutEndSlashes(mountPath) === directory))
    return container;
  const mount = { name: volume, mountPath: directory, readOnly: true };
  return { ...container, volumeMounts: [...volumeMounts, mount] };
}

/** The list with `wanted` in it, in the place of the one of that name or at the end that is said. */
function having<T extends { readonly name: string }>(
  list: readonly T[],
  wanted: T,
  end: 'first' | 'last',
): readonly T[] {
  const found = list.find(({ name }) => name === wanted.name);
  if (found)
    return covers(found, wanted) ? list : list.map((each) => (each === found ? wanted : each));
  return end === 'first' ? [wanted, ...list] : [...list, wanted];
}
