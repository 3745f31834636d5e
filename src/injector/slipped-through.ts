import { type ListedPod } from '../injection/listed-pod.ts';
import { reasonToLeave } from './inject.ts';

/** Pods without the agent that asked for it by their own label. */
export const askedAndMissed = 'podseal.dev/inject=true,!podseal.dev/agent';
/** Pods that were injected. */
export const injected = 'podseal.dev/agent=injected';
/** In a namespace that is labelled: those that did not opt out. */
export const missedInNamespace = '!podseal.dev/agent,podseal.dev/inject!=false';

/** Where the webhook is never called (deploy/injector.yaml), apart from our own namespace. */
const spared: readonly string[] = ['kube-system', 'kube-node-lease'];
/** One that is being created may not have its label in our list yet. */
const settlingMs = 60_000;

/** Whether pods of the namespace are never injected, whatever their labels say. */
export function isSpared(namespace: string, ownNamespace: string): boolean {
  return namespace === ownNamespace || spared.includes(namespace);
}

/** Whether the pod may need what is published, injected or not. */
export function isConcerned(
  { namespace, isTerminating }: ListedPod,
  ownNamespace: string,
): boolean {
  return !isTerminating && !isSpared(namespace, ownNamespace);
}

/**
 * Whether the pod should have been injected and was not: it was created while no injector answered, or
 * before its namespace was labelled.
 */
export function slippedThrough(
  pod: ListedPod,
  { now, ownNamespace }: { readonly now: Date; readonly ownNamespace: string },
): boolean {
  const { labels, annotations, containerNames, os } = pod;
  if (!isConcerned(pod, ownNamespace)) return false;
  if (now.getTime() - pod.createdAt.getTime() < settlingMs) return false;
  const spec = {
    containers: containerNames.map((name) => ({ name })),
    ...(os === undefined ? {} : { os: { name: os } }),
  };
  return reasonToLeave({ metadata: { labels, annotations }, spec }) === undefined;
}

export const notInjectedMessage =
  'The pod asks for a certificate of Podseal and was created without the agent: no injector answered, or its ' +
  'namespace was labelled later. Create it anew, as by kubectl rollout restart; podseal.dev/inject: "false" ' +
  'as its label says that it needs none.';
