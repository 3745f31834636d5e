import { type Case } from './case.ts';
import { type Finding, never, notYet } from '../vetting/finding.ts';

/** Rules about who asks: the second requirement of the documentation begins with a live pod. */

export function requesterIsPod({ requester }: Case): readonly Finding[] {
  return requester.kind === 'pod'
    ? []
    : [
        never(
          `${requester.why}; only pods may ask under this signer name, a person can use another one`,
        ),
      ];
}

/** A uid never comes back, and the read was live: what is not there now will not be. */
export function podExists({ requester, pod }: Case): readonly Finding[] {
  if (requester.kind !== 'pod') return [];
  const { namespace, name, uid } = requester.pod;
  const value = `${namespace}/${name}`;
  if (!pod) return [never('there is no such pod', value)];
  if (pod.uid !== uid)
    return [never(`the pod of that name has uid ${pod.uid}, the token is bound to ${uid}`, value)];
  return [];
}

export function podIsAlive({ pod }: Case): readonly Finding[] {
  if (!pod) return [];
  const value = `${pod.namespace}/${pod.name}`;
  if (pod.isTerminating) return [never('the pod is being deleted', value)];
  switch (pod.phase) {
    case 'Succeeded':
    case 'Failed':
      return [never(`the pod has finished (phase ${pod.phase})`, value)];
    case 'Pending':
    case 'Running':
      return [];
    default:
      return [notYet(`the pod's phase is ${JSON.stringify(pod.phase)}`, value)];
  }
}

export function podIsNoMirror({ pod }: Case): readonly Finding[] {
  return pod?.isMirror
    ? [never('it is a mirror pod: the node alone vouches for it', `${pod.namespace}/${pod.name}`)]
    : [];
}

export function serviceAccountFits({ requester, pod }: Case): readonly Finding[] {
  if (requester.kind !== 'pod' || !pod) return [];
  const { serviceAccount } = requester.pod;
  if (pod.serviceAccount === serviceAccount) return [];
  return [
    never(`the pod runs as service account ${JSON.stringify(pod.serviceAccount)}`, serviceAccount, [
      pod.serviceAccount,
    ]),
  ];
}

export function nodeFits({ requester, pod }: Case): readonly Finding[] {
  if (requester.kind !== 'pod' || !pod) return [];
  const { nodeName } = requester.pod;
  if (pod.nodeName === undefined) return [notYet('the pod is not scheduled to a node')];
  if (nodeName === undefined || nodeName === pod.nodeName) return [];
  return [never(`the pod runs on node ${JSON.stringify(pod.nodeName)}`, nodeName)];
}
