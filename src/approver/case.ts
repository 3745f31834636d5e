import { type LiveService, provablySelects, provesNames } from '../identity/live-service.ts';
import { type SubjectNames } from '../identity/subject-names.ts';
import { subjectNamesOf, wantedNames } from '../identity/wanted-names.ts';
import { type Asked } from '../vetting/asked.ts';
import { type Facts } from './facts.ts';
import { type Allowance, allowanceFor } from './policy.ts';

/** The facts of one request, with what follows from them for every rule. */
export interface Case extends Facts, Omit<Asked, 'request'> {
  /** Of the requester's namespace; the policy's defaults when the requester is no pod. */
  readonly allowance: Allowance;
  /** The Services that the pod belongs to, by selector or by policy. */
  readonly ownServices: readonly LiveService[];
  /** Every name that follows from pod and Services now; empty without a pod. */
  readonly provable: SubjectNames;
}

export function caseOf(facts: Facts): Case {
  const { requester, policy } = facts;
  const namespace = requester.kind === 'pod' ? requester.pod.namespace : '';
  const allowance = allowanceFor(policy, namespace);
  const limits = { ...allowance, maximumNames: policy.maximumNames };
  const ownServices = facts.services.filter((service) => isHeld(service, facts, allowance));
  const provable = provableNames(facts, ownServices, allowance);
  return { ...facts, allowance, limits, ownServices, provable };
}

/** Whether pod and service account may act as this Service. */
function isHeld(service: LiveService, { pod, requester }: Facts, allowance: Allowance): boolean {
  if (!pod || requester.kind !== 'pod' || !provesNames(service)) return false;
  const holdings = allowance.services.filter(({ name }) => name === service.name);
  const own = holdings.filter(({ serviceAccounts }) =>
    serviceAccounts.includes(requester.pod.serviceAccount),
  );
  if (holdings.length > 0 && own.length === 0) return false;
  return provablySelects(service, pod.labels) || own.some(({ whileUnselected }) => whileUnselected);
}

function provableNames(
  { pod, settings }: Facts,
  ownServices: readonly LiveService[],
  allowance: Allowance,
): SubjectNames {
  if (!pod) return { dnsNames: [], ipAddresses: [], uris: [] };
  const own = mayHaveOwnAddresses(pod.hostNetwork, allowance) ? pod.ipAddresses : [];
  const services = ownServices.map((service) => ({
    ...service,
    clusterIPs: allowance.addresses === 'none' ? [] : service.clusterIPs,
  }));
  const names = wantedNames({ ...pod, ipAddresses: own }, services, {
    ...settings,
    forms: allowance.nameForms,
    extraDnsNames: [],
    extraIpAddresses: [],
  });
  return subjectNamesOf(names);
}

function mayHaveOwnAddresses(hostNetwork: boolean, allowance: Allowance): boolean {
  return allowance.addresses !== 'none' && (!hostNetwork || allowance.hostNetwork);
}
