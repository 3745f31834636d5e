import { type LiveService, provesNames } from '../identity/live-service.ts';
import { spiffeId } from '../identity/spiffe-id.ts';
import { type Finding, never, notYet } from '../vetting/finding.ts';
import { type Case } from './case.ts';

/** Rules about the DNS names and URIs that are asked for. Addresses: rules-addresses.ts. */

export function dnsNamesFollow(each: Case): readonly Finding[] {
  const { content, pod, provable } = each;
  if (content.kind !== 'read' || !pod) return [];
  const held = new Set(provable.dnsNames);
  return content.value.names.dnsNames
    .filter((name) => !held.has(name) && !isExtra(name, each))
    .map((name) => ({ ...standingOfName(name, each), allowed: provable.dnsNames }));
}

/** Whether policy allows the name beside those that follow from Services. */
function isExtra(name: string, { allowance }: Case): boolean {
  const isWildcard = name.startsWith('*.');
  if (isWildcard && !allowance.wildcards) return false;
  const bare = isWildcard ? name.slice(2) : name;
  return allowance.dnsSuffixes.some((suffix) => bare === suffix || bare.endsWith(`.${suffix}`));
}

/** A name that does not follow now: can a change in the pod's own namespace make it follow? */
function standingOfName(name: string, each: Case): Finding {
  const form = serviceForm(name, each.settings.clusterDomain);
  if (!form)
    return never(
      'it is no name of a Service, as SERVICE.NAMESPACE.svc is, and policy does not allow it',
      name,
    );
  const namespace = each.pod?.namespace ?? '';
  if (form.namespace !== namespace)
    return never(
      `it belongs to namespace ${JSON.stringify(form.namespace)}, the pod to ${JSON.stringify(namespace)}`,
      name,
    );
  return form.hostname === undefined
    ? standingOfService(name, form.service, each)
    : standingOfHostname(name, { hostname: form.hostname, service: form.service }, each);
}

interface ServiceForm {
  readonly hostname: string | undefined;
  readonly service: string;
  readonly namespace: string;
}

/** `SERVICE.NS.svc`, `HOSTNAME.SERVICE.NS.svc`, each with or without the cluster domain (DNS specification 1.1.0). */
function serviceForm(name: string, clusterDomain: string): ServiceForm | undefined {
  const suffix = [`.svc.${clusterDomain}`, '.svc'].find((each) => name.endsWith(each));
  if (suffix === undefined) return undefined;
  const labels = name.slice(0, -suffix.length).split('.');
  if (labels.length !== 2 && labels.length !== 3) return undefined;
  const [namespace = '', service = '', hostname] = labels.reverse();
  return { hostname, service, namespace };
}

function standingOfService(name: string, service: string, each: Case): Finding {
  const found = serviceNamed(service, each);
  if (!found)
    return notYet(`there is no Service ${JSON.stringify(service)} in the pod's namespace`, name);
  return whyNotHeld(name, found, each);
}

function serviceNamed(name: string, { services }: Case): LiveService | undefined {
  return services.find((service) => service.name === name);
}

/** Of a Service that exists and is not the pod's. */
function whyNotHeld(name: string, service: LiveService, { allowance, requester }: Case): Finding {
  const shown = `Service ${JSON.stringify(service.name)}`;
  const account = requester.kind === 'pod' ? requester.pod.serviceAccount : '';
  const holdings = allowance.services.filter((each) => each.name === service.name);
  const holders = holdings.flatMap(({ serviceAccounts }) => serviceAccounts);
  if (holdings.length > 0 && !holders.includes(account))
    return never(
      `policy lets only other service accounts hold ${shown}: ${holders.map((each) => JSON.stringify(each)).join(', ')}`,
      name,
    );
  if (service.isExternalName)
    return notYet(`${shown} is of type ExternalName, which proves nothing`, name);
  if (!provesNames(service)) return notYet(`${shown} is being deleted`, name);
  if (Object.keys(service.selector).length === 0)
    return notYet(`${shown} has no selector, so it proves nothing`, name);
  return notYet(`${shown} does not select the pod`, name);
}

function standingOfHostname(
  name: string,
  { hostname, service }: { readonly hostname: string; readonly service: string },
  each: Case,
): Finding {
  const { pod } = each;
  // Both fields of a pod never change.
  if (pod?.hostname !== hostname || pod.subdomain !== service)
    return never(
      pod?.hostname === undefined || pod.subdomain === undefined
        ? 'the pod has no hostname and subdomain'
        : `the pod has hostname ${JSON.stringify(pod.hostname)} and subdomain ${JSON.stringify(pod.subdomain)}`,
      name,
    );
  const found = serviceNamed(service, each);
  if (found && each.ownServices.includes(found))
    return notYet(`Service ${JSON.stringify(service)} is not headless`, name);
  return standingOfService(name, service, each);
}

export function urisFollow({ content, requester, settings }: Case): readonly Finding[] {
  if (content.kind !== 'read' || requester.kind !== 'pod') return [];
  const { namespace, serviceAccount } = requester.pod;
  const own = spiffeId(settings.trustDomain, namespace, serviceAccount);
  return content.value.names.uris
    .filter((uri) => uri !== own)
    .map((uri) => never('it is not the identity of the pod', uri, [own]));
}
