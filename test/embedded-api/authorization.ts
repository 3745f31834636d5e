import { type Requester } from './signing-request-object.ts';
import { forbidden, forbiddenPath, resource, type Resource, unauthorized } from './status.ts';

/** A rule of RBAC as in a ClusterRole; `*` stands for anything. */
export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

export interface User extends Requester {
  readonly rules: readonly PolicyRule[];
}

export const anonymous: User = {
  username: 'system:anonymous',
  uid: '',
  groups: ['system:unauthenticated'],
  extra: {},
  rules: [],
};

/** The user of an Authorization header; anonymous without one. Throws 401 for a token that nobody has. */
export function authenticate(header: string | undefined, users: ReadonlyMap<string, User>): User {
  if (header === undefined) return anonymous;
  const [, token = ''] = /^Bearer +(\S+)$/i.exec(header) ?? [];
  const user = users.get(token);
  if (!user) throw unauthorized();
  return user;
}

/** Throws 403 unless a rule of the user allows the verb. */
export function authorize(
  user: User,
  verb: string,
  target: { readonly name: string; readonly subresource: string },
): void {
  const path = [resource.plural, target.subresource].filter((part) => part !== '').join('/');
  if (isAllowed(user, verb, path, target.name)) return;
  const where = `in API group "${resource.group}" at the cluster scope`;
  throw forbidden(
    target.name,
    `User "${user.username}" cannot ${verb} resource "${path}" ${where}`,
  );
}

/** Throws 403 unless the user is an administrator. */
export function authorizeEverything(
  user: User,
  verb: string,
  target: { readonly of: Resource; readonly namespace: string; readonly name: string },
): void {
  if (isAdministrator(user)) return;
  const { of, namespace, name } = target;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  throw forbidden(
    name,
    `User "${user.username}" cannot ${verb} resource "${of.plural}" in API group "${of.group}" ${where}`,
    of,
  );
}

function isAdministrator({ rules }: User): boolean {
  return rules.some(({ resources }) => resources.includes('*'));
}

const openPaths = ['/healthz', '/livez', '/readyz', '/version'];

/** Paths that are no resources: open are those of RBAC's system:public-info-viewer. */
export function authorizePath(user: User, method: string, path: string): void {
  const isOpen = method === 'GET' && openPaths.includes(path);
  if (isOpen || isAdministrator(user)) return;
  throw forbiddenPath(user.username, method.toLowerCase(), path);
}

/** Throws 403 unless the user may approve or sign for the signer: by its name, or by `domain/*`. */
export function authorizeSigner(
  user: User,
  verb: 'approve' | 'sign',
  request: { readonly name: string; readonly signerName: string },
): void {
  const { name, signerName } = request;
  const [domain = ''] = signerName.split('/');
  const names = [signerName, `${domain}/*`];
  if (names.some((each) => isAllowed(user, verb, 'signers', each))) return;
  throw forbidden(name, `user not permitted to ${verb} requests with signerName "${signerName}"`);
}

function isAllowed(user: User, verb: string, path: string, name: string): boolean {
  const covers = (list: readonly string[], value: string): boolean =>
    list.includes(value) || list.includes('*');
  return user.rules.some(
    (rule) =>
      covers(rule.apiGroups, resource.group) &&
      covers(rule.resources, path) &&
      covers(rule.verbs, verb) &&
      (rule.resourceNames === undefined || rule.resourceNames.includes(name)),
  );
}
