import { type LivePod } from '../identity/live-pod.ts';
import { type LiveService, provablySelects } from '../identity/live-service.ts';
import { type NetworkFacts } from '../identity/network.ts';
import { type Finding, never, notYet } from '../vetting/finding.ts';
import { type Allowance } from './policy.ts';

/** The pod that asks, and what its names and addresses are judged by. */
export interface Holder {
  readonly pod: LivePod;
  /** Of the token. */
  readonly serviceAccount: string;
  /** Of the pod's namespace. */
  readonly services: readonly LiveService[];
  readonly network: NetworkFacts;
  readonly allowance: Allowance;
  readonly clusterDomain: string;
}

/** Why the pod may not act as this Service of its namespace; undefined: it may. */
export function serviceFinding(
  service: LiveService,
  { pod, serviceAccount, allowance }: Holder,
): Finding | undefined {
  const shown = `Service ${JSON.stringify(service.name)}`;
  const holdings = allowance.services.filter(({ name }) => name === service.name);
  const own = holdings.filter(({ serviceAccounts }) => serviceAccounts.includes(serviceAccount));
  if (holdings.length > 0 && own.length === 0) {
    const holders = holdings.flatMap(({ serviceAccounts }) => serviceAccounts);
    const list = holders.map((each) => JSON.stringify(each)).join(', ');
    return never(`policy lets only other service accounts hold ${shown}: ${list}`);
  }
  if (service.isExternalName)
    return notYet(`${shown} is of type ExternalName, which proves nothing`);
  if (service.isBeingDeleted) return notYet(`${shown} is being deleted`);
  if (provablySelects(service, pod.labels) || own.some(({ whileUnselected }) => whileUnselected))
    return undefined;
  return Object.keys(service.selector).length === 0
    ? notYet(`${shown} has no selector, so it proves nothing`)
    : notYet(`${shown} does not select the pod`);
}
