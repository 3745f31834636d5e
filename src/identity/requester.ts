import { isDnsLabel } from './dns-name.ts';

/** Who created a signing request, as the API server recorded it (it overwrites what the client sent). */
export interface Requester {
  readonly username: string;
  /** Claims of the credential: `authentication.kubernetes.io/pod-name` and the like. */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** The pod that a service account token is bound to. */
export interface BoundPod {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly name: string;
  readonly uid: string;
  /** Missing in tokens of pods that were not scheduled yet, and before Kubernetes 1.30. */
  readonly nodeName: string | undefined;
}

const claim = (name: string): string => `authentication.kubernetes.io/${name}`;

/**
 * The pod behind the request, or why there is none (kubernetes-facts 2.1: each claim is a list of one).
 * An impersonating administrator can put several values into one claim; then nothing is believed.
 */
export function boundPodOf(
  requester: Requester,
):
  | { readonly kind: 'pod'; readonly pod: BoundPod }
  | { readonly kind: 'other'; readonly why: string } {
  const other = (why: string) => ({ kind: 'other', why }) as const;
  const [, namespace, serviceAccount] =
    /^system:serviceaccount:([^:]+):([^:]+)$/.exec(requester.username) ?? [];
  if (namespace === undefined || serviceAccount === undefined)
    return other('it was not made by a service account');
  const one = (name: string): string | undefined => {
    const values = requester.extra[claim(name)] ?? [];
    return values.length === 1 ? values[0] : undefined;
  };
  const names = ['pod-name', 'pod-uid', 'node-name'];
  const twofold = names.find((name) => (requester.extra[claim(name)]?.length ?? 0) > 1);
  if (twofold !== undefined) return other(`its token claims more than one ${twofold}`);
  const [name, uid] = [one('pod-name'), one('pod-uid')];
  if (!name || !uid) return other('its token is not bound to a pod');
  if (!isDnsLabel(namespace) || !isObjectName(serviceAccount) || !isObjectName(name))
    return other('its token claims a pod that cannot exist');
  return {
    kind: 'pod',
    pod: { namespace, serviceAccount, name, uid, nodeName: one('node-name') },
  };
}

/** A DNS subdomain (RFC 1123), as pods and service accounts are called. Nothing else goes into a path of the API. */
function isObjectName(text: string): boolean {
  return text.length <= 253 && text.split('.').every(isDnsLabel);
}
