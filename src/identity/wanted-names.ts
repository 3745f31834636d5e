import { dnsNameProblem } from './dns-name.ts';
import { parseIpAddress } from './ip-address.ts';
import { type Service } from './service.ts';
import { spiffeId } from './spiffe-id.ts';
import { type SubjectNames } from './subject-names.ts';

/** Forms that a policy may allow beside `svc.ns.svc` and its FQDN; PODSEAL_NAME_FORMS asks for them. */
export const nameForms = ['svc.ns', 'svc', 'pod'] as const;
export type NameForm = (typeof nameForms)[number];

/** Who the pod is, as the API server knows it too. */
export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** Canonical text; without a hostNetwork pod's, which are its node's. */
  readonly ipAddresses: readonly string[];
  /** Both set only for a pod with a DNS record of its own (a StatefulSet's). */
  readonly hostname: string | undefined;
  readonly subdomain: string | undefined;
}

export interface NamingSettings {
  readonly clusterDomain: string;
  readonly trustDomain: string;
  readonly forms: readonly NameForm[];
  readonly extraDnsNames: readonly string[];
  /** Canonical text. */
  readonly extraIpAddresses: readonly string[];
}

/** A Service that the pod belongs to. `headless` and addresses are unknown when only its name was given. */
export type OwnService = Pick<Service, 'name' | 'clusterIPs'> & {
  readonly headless: boolean | undefined;
};

/** A name and what it follows from, for people. */
export interface WantedName {
  readonly kind: 'dns' | 'ip' | 'uri';
  readonly value: string;
  readonly from: string;
}

/**
 * Every name the pod may act under, in a stable order and without doubles. Only forms that no other
 * namespace can also earn (docs/adr/0003): with them, the names of two pods of different namespaces
 * are disjoint whatever anybody calls things.
 */
export function wantedNames(
  pod: Pod,
  services: readonly OwnService[],
  settings: NamingSettings,
): readonly WantedName[] {
  const sorted = [...services].sort((a, b) => (a.name < b.name ? -1 : 1));
  const all: WantedName[] = [
    ...sorted.flatMap((service) => serviceDnsNames(pod, service, settings)),
    ...podDnsNames(pod, settings),
    ...settings.extraDnsNames.map((value) => dns(value, 'PODSEAL_DNS_NAMES')),
    ...pod.ipAddresses.map((value) => ip(value, 'address of the pod')),
    ...sorted.flatMap((service) =>
      service.clusterIPs.map((value) => ip(value, `cluster IP of Service ${service.name}`)),
    ),
    ...settings.extraIpAddresses.map((value) => ip(value, 'PODSEAL_IP_ADDRESSES')),
    {
      kind: 'uri',
      value: spiffeId(settings.trustDomain, pod.namespace, pod.serviceAccount),
      from: 'service account of the pod',
    },
  ];
  const seen = new Set<string>();
  return all.filter(({ value }) => !seen.has(value) && seen.add(value));
}

function dns(value: string, from: string): WantedName {
  return { kind: 'dns', value: value.toLowerCase(), from };
}

function ip(value: string, from: string): WantedName {
  return { kind: 'ip', value, from };
}

function serviceDnsNames(pod: Pod, service: OwnService, settings: NamingSettings): WantedName[] {
  const from = `Service ${service.name}`;
  const inNamespace = `${service.name}.${pod.namespace}`;
  const names = [`${inNamespace}.svc`, `${inNamespace}.svc.${settings.clusterDomain}`];
  const hasRecord =
    pod.hostname !== undefined && pod.subdomain === service.name && service.headless !== false;
  const own = hasRecord ? names.map((name) => `${pod.hostname ?? ''}.${name}`) : [];
  const short = shortFormsAreSafe(pod.namespace, settings.clusterDomain)
    ? [
        ...(settings.forms.includes('svc.ns') ? [inNamespace] : []),
        ...(settings.forms.includes('svc') ? [service.name] : []),
      ]
    : [];
  return [
    ...names.map((name) => dns(name, from)),
    ...own.map((name) => dns(name, `hostname and headless ${from}`)),
    ...short.map((name) => dns(name, `${from} (PODSEAL_NAME_FORMS)`)),
  ].filter(({ value }) => dnsNameProblem(value) === undefined);
}

/** In a namespace called like a part of other names (`svc`, `cluster`, `local`), a short form reads as somebody else's. */
export function shortFormsAreSafe(namespace: string, clusterDomain: string): boolean {
  return namespace !== 'svc' && !clusterDomain.split('.').includes(namespace);
}

/** `10-0-0-7.NS.pod.DOMAIN`. */
function podDnsNames(pod: Pod, settings: NamingSettings): WantedName[] {
  if (!settings.forms.includes('pod')) return [];
  return pod.ipAddresses.map((address) =>
    dns(
      `${dashedAddress(address)}.${pod.namespace}.pod.${settings.clusterDomain}`,
      'address of the pod (PODSEAL_NAME_FORMS)',
    ),
  );
}

/** The first label of a pod's name: `10-0-0-7`, IPv6 as CoreDNS writes it. */
export function dashedAddress(address: string): string {
  const text = address.replaceAll(/[.:]/g, '-');
  // A label cannot begin or end with a dash, as `::1` and `fd00::` would.
  if (parseIpAddress(address)?.length === 4) return text;
  return text.replace(/^-/, '0-').replace(/-$/, '-0');
}

/** The names alone, by kind, as they go into a request. */
export function subjectNamesOf(names: readonly WantedName[]): SubjectNames {
  const of = (kind: WantedName['kind']): string[] =>
    names.filter((name) => name.kind === kind).map((name) => name.value);
  return { dnsNames: of('dns'), ipAddresses: of('ip'), uris: of('uri') };
}
