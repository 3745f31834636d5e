import { type Container, type PodSpec } from './pod-object.ts';

/** As whom the agent runs, so that the application can read the key that it writes. */
export interface KeyAccess {
  readonly user: number;
  readonly group: number;
  /** Octal, of tls.key. */
  readonly mode: '0400' | '0440';
  /** A group that all containers of the pod have to be given for that. */
  readonly addedGroup: number | undefined;
  /** Whether it is the user of every container that reads the key. */
  readonly isApplicationsUser: boolean;
}

/** Not root, and the user of most images that say they are not. */
const ownUser = 65532;

/**
 * The narrowest way in which every one of `readers` can read the key. One user for all of them: that
 * user, alone. Else a group that each process of the pod has, whatever user its image chooses:
 * fsGroup and supplementalGroups are given to all of them by the runtime. An agent that is root would
 * not meet Pod Security `restricted`, and a root without capabilities reads nobody else's files, so root counts as
 * any other user here.
 */
export function keyAccess(spec: PodSpec, readers: readonly Container[]): KeyAccess {
  const pod = spec.securityContext ?? {};
  const users = new Set(readers.map((each) => each.securityContext?.runAsUser ?? pod.runAsUser));
  const [user] = users;
  if (users.size === 1 && user !== undefined && user !== 0) {
    const group = pod.runAsGroup ?? ownUser;
    return { user, group, mode: '0400', addedGroup: undefined, isApplicationsUser: true };
  }
  const given = pod.fsGroup ?? pod.supplementalGroups?.[0];
  return {
    user: ownUser,
    group: given ?? ownUser,
    mode: '0440',
    addedGroup: given === undefined ? ownUser : undefined,
    isApplicationsUser: false,
  };
}
