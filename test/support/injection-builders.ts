import { agentSettingProblems } from '../../src/cli/agent-config.ts';
import { inject, type InjectionSettings, type Injection } from '../../src/injector/inject.ts';
import { type PodObject, type PodSpec } from '../../src/injector/pod-object.ts';

/** As deploy/ sets the injector up on Kubernetes 1.37. */
export const injectionSettings: InjectionSettings = {
  image: 'podseal:0.1.0',
  signerName: 'podseal.dev/serving',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  nativeSidecars: true,
  clusterTrustBundle: true,
  wrongAnnotations: 'refuse',
  check: agentSettingProblems,
};

/** Annotations are given without `podseal.dev/`. */
export function podWith(
  spec: Partial<PodSpec> & Readonly<Record<string, unknown>> = {},
  annotations: Readonly<Record<string, string>> = {},
  labels: Readonly<Record<string, string>> = { app: 'web' },
): PodObject {
  const ours = Object.entries(annotations).map(([key, value]) => [`podseal.dev/${key}`, value]);
  return {
    metadata: { labels, annotations: Object.fromEntries(ours) as Record<string, string> },
    spec: { containers: [{ name: 'web' }], ...spec },
  };
}

/** The pod after injection; throws when it is not injected. */
export function injected(
  pod: PodObject,
  settings: Partial<InjectionSettings> = {},
): Extract<Injection, { kind: 'injected' }> {
  const result = inject(pod, { ...injectionSettings, ...settings });
  if (result.kind !== 'injected') throw new Error(`Not injected: ${JSON.stringify(result)}`);
  return result;
}
