import { isDnsLabel } from '../identity/dns-name.ts';
import { type NameForm, dashedAddress, shortFormsAreSafe } from '../identity/wanted-names.ts';
import { type Finding, never, notYet } from '../vetting/finding.ts';
import { ownAddressFinding } from './address-finding.ts';
import { type Holder, serviceFinding } from './holder.ts';

/** Why a DNS name does not follow now, and whether a change in the pod's own namespace can make it follow. */
export function nameFinding(name: string, holder: Holder): Finding {
  const reading = readName(name, holder);
  const { namespace } = holder.pod;
  if (!reading)
    return never(
      'it is no name of a Service, as SERVICE.NAMESPACE.svc is, and policy does not allow it',
      name,
    );
  if (reading.namespace !== namespace)
    return never(
      `it belongs to namespace ${JSON.stringify(reading.namespace)}, the pod to ${JSON.stringify(namespace)}`,
      name,
    );
  const { form } = reading;
  if (form !== undefined && !isGiven(form, holder))
    return never(`policy does not give the form ${JSON.stringify(form)} here`, name);
  switch (reading.kind) {
    case 'service':
      return { ...standingOfService(reading.service, holder), value: name };
    case 'hostname':
      return { ...standingOfHostname(reading, holder), value: name };
    case 'pod':
      return { ...standingOfPod(reading.dashed, holder), value: name };
  }
}

/** What a name would follow from; `form`: only where policy gives it. */
type Reading = { readonly namespace: string; readonly form: NameForm | undefined } & (
  | { readonly kind: 'service'; readonly service: string }
  | { readonly kind: 'hostname'; readonly service: string; readonly hostname: string }
  | { readonly kind: 'pod'; readonly dashed: string }
);

/** The names of identity/wanted-names.ts, taken apart. */
function readName(name: string, { clusterDomain, pod }: Holder): Reading | undefined {
  return (
    readLongName(labelsBefore(`.svc.${clusterDomain}`, name) ?? labelsBefore('.svc', name) ?? []) ??
    readPodName(labelsBefore(`.pod.${clusterDomain}`, name) ?? []) ??
    readShortName(name.split('.'), pod.namespace)
  );
}

function labelsBefore(suffix: string, name: string): readonly string[] | undefined {
  return name.endsWith(suffix) ? name.slice(0, -suffix.length).split('.') : undefined;
}

function readLongName(labels: readonly string[]): Reading | undefined {
  const [namespace, service, hostname, ...more] = labels.toReversed();
  if (namespace === undefined || service === undefined || more.length > 0) return undefined;
  const of = { namespace, service, form: undefined };
  return hostname === undefined
    ? { kind: 'service', ...of }
    : { kind: 'hostname', ...of, hostname };
}

function readPodName([dashed, namespace, ...more]: readonly string[]): Reading | undefined {
  if (dashed === undefined || namespace === undefined || more.length > 0) return undefined;
  return { kind: 'pod', dashed, namespace, form: 'pod' };
}

function readShortName(labels: readonly string[], ownNamespace: string): Reading | undefined {
  const [service = '', namespace = ownNamespace, ...more] = labels;
  // Of another namespace it is just any name of two labels.
  if (namespace !== ownNamespace || more.length > 0) return undefined;
  return { kind: 'service', service, namespace, form: labels.length === 1 ? 'svc' : 'svc.ns' };
}

function isGiven(form: NameForm, { allowance, pod, clusterDomain }: Holder): boolean {
  const isSafe = form === 'pod' || shortFormsAreSafe(pod.namespace, clusterDomain);
  return isSafe && allowance.nameForms.includes(form);
}

function standingOfService(name: string, holder: Holder): Finding {
  const shown = JSON.stringify(name);
  if (!isDnsLabel(name)) return never(`${shown} cannot be the name of a Service`);
  const service = holder.services.find((each) => each.name === name);
  if (!service) return notYet(`there is no Service ${shown} in the pod's namespace`);
  return (
    serviceFinding(service, holder) ?? never(`Service ${shown} cannot have a name of this form`)
  );
}

function standingOfHostname(
  { hostname, service }: { readonly hostname: string; readonly service: string },
  holder: Holder,
): Finding {
  const { pod, services } = holder;
  // Both fields of a pod never change.
  if (pod.hostname !== hostname || pod.subdomain !== service)
    return never(
      pod.hostname === undefined || pod.subdomain === undefined
        ? 'the pod has no hostname and subdomain'
        : `the pod has hostname ${JSON.stringify(pod.hostname)} and subdomain ${JSON.stringify(pod.subdomain)}`,
    );
  const found = services.find((each) => each.name === service);
  if (found && !found.headless && !serviceFinding(found, holder))
    return notYet(`Service ${JSON.stringify(service)} is not headless`);
  return standingOfService(service, holder);
}

/** Such names are made of the pod's addresses, and as good as they are. */
function standingOfPod(dashed: string, holder: Holder): Finding {
  const { pod, allowance } = holder;
  const mayHaveAddresses =
    allowance.addresses !== 'none' && (!pod.hostNetwork || allowance.hostNetwork);
  if (mayHaveAddresses && pod.ipAddresses.length === 0 && /^[0-9a-f-]+$/.test(dashed))
    return notYet("the pod's status has no address");
  const address = pod.ipAddresses.find((each) => dashedAddress(each) === dashed);
  const finding = address === undefined ? undefined : ownAddressFinding(address, holder);
  return finding ?? never('it is not made of an address that the pod may have');
}
