import { spiffeId } from '../identity/spiffe-id.ts';
import { type Finding, never } from '../vetting/finding.ts';
import { type Case } from './case.ts';
import { nameFinding } from './name-finding.ts';
import { type Allowance } from './policy.ts';

/** Each DNS name follows from pod and Services, or is one that policy adds. */
export function dnsNamesFollow({ content, holder, provable }: Case): readonly Finding[] {
  if (content.kind !== 'read' || !holder) return [];
  const held = new Set(provable.dnsNames);
  return content.value.names.dnsNames
    .filter((name) => !held.has(name) && !isExtra(name, holder.allowance))
    .map((name) => ({ ...nameFinding(name, holder), allowed: provable.dnsNames }));
}

function isExtra(name: string, { wildcards, dnsSuffixes }: Allowance): boolean {
  const isWildcard = name.startsWith('*.');
  if (isWildcard && !wildcards) return false;
  const bare = isWildcard ? name.slice(2) : name;
  return dnsSuffixes.some((suffix) => bare === suffix || bare.endsWith(`.${suffix}`));
}

export function urisFollow({ content, requester, settings }: Case): readonly Finding[] {
  if (content.kind !== 'read' || requester.kind !== 'pod') return [];
  const { namespace, serviceAccount } = requester.pod;
  const own = spiffeId(settings.trustDomain, namespace, serviceAccount);
  return content.value.names.uris
    .filter((uri) => uri !== own)
    .map((uri) => never('it is not the identity of the pod', uri, [own]));
}
