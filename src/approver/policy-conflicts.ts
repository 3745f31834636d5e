import { formatIpRange, ipRangesMeet } from '../identity/ip-range.ts';
import { shortFormsAreSafe } from '../identity/wanted-names.ts';
import { formatDuration, parseDurationMs } from '../runtime/duration.ts';
import { allowanceFor, type Policy } from './policy.ts';
import { addresses } from './policy-values.ts';
import { quoted, type Report, type Tree } from './yaml-tree.ts';

type TextTree = Extract<Tree, { readonly kind: 'text' }>;

/**
 * Reports what is well-formed and would still give names or addresses of one namespace to another. With
 * what is left, the names that follow for pods of two namespaces are disjoint, and no extra name is one
 * that follows in another namespace. `policy` holds what could be read of the file; `longestMs` is the
 * longest lifetime that the signer will sign.
 */
export function reportConflicts(
  root: Tree,
  policy: Policy,
  { clusterDomain, longestMs }: { readonly clusterDomain: string; readonly longestMs: number },
  report: Report,
): void {
  reportNameForms(root, clusterDomain, report);
  for (const section of [root, ...rulesOf(root)]) {
    const lifetime = memberOf(section, 'maxLifetime');
    if (lifetime?.kind === 'text' && (parseDurationMs(lifetime.text) ?? 0) > longestMs)
      report(
        lifetime,
        `${quoted(lifetime.text)} is longer than PODSEAL_MAX_LIFETIME (${formatDuration(longestMs)}), and the signer would refuse what is approved`,
      );
    for (const suffix of textsIn(section, 'dnsSuffixes')) {
      const why = whyForeign(suffix.text, policy, clusterDomain);
      if (why !== undefined) report(suffix, `${quoted(suffix.text)} ${why}`);
    }
    for (const extra of textsIn(section, 'extraAddresses')) {
      const range = addresses(extra, () => undefined);
      const services = range && policy.serviceRanges.find((each) => ipRangesMeet(each, range));
      if (services)
        report(
          extra,
          `${quoted(extra.text)} meets the Service range ${formatIpRange(services)}; addresses of Services follow from Services alone`,
        );
    }
  }
}

const oneWord = 'one word alone is the same in every namespace';

function reportNameForms(root: Tree, clusterDomain: string, report: Report): void {
  for (const form of textsIn(root, 'nameForms'))
    if (form.text === 'svc')
      report(form, `only a rule that names one namespace can give form "svc": ${oneWord}`);
  const named = rulesOf(root).flatMap((rule) => {
    const forms = textsIn(rule, 'nameForms').map(({ text }) => text);
    return textsIn(rule, 'names').map((name) => ({ name, forms }));
  });
  const holder = named.find(
    ({ name, forms }) => forms.includes('svc') && !name.text.includes('*'),
  )?.name;
  for (const { name, forms } of named) {
    const why = whyNoShortForm(name.text, forms, clusterDomain, holder);
    if (why !== undefined) report(name, `${quoted(name.text)} ${why}`);
  }
}

/** `holder` is the one namespace that may have form `svc`. */
function whyNoShortForm(
  namespace: string,
  forms: readonly string[],
  clusterDomain: string,
  holder: TextTree | undefined,
): string | undefined {
  if (!forms.includes('svc') && !forms.includes('svc.ns')) return undefined;
  if (!namespace.includes('*') && !shortFormsAreSafe(namespace, clusterDomain))
    return 'cannot have short forms: its name is a part of every long name';
  if (!forms.includes('svc')) return undefined;
  if (namespace.includes('*')) return `is a pattern, and has form "svc": ${oneWord}`;
  if (!holder || holder.text === namespace) return undefined;
  return `has form "svc", and so has ${quoted(holder.text)} (line ${holder.line}): ${oneWord}`;
}

/** Why names at or below the suffix are not the administrator's to give. */
function whyForeign(suffix: string, policy: Policy, clusterDomain: string): string | undefined {
  if (isAtOrBelow(suffix, 'svc')) return 'holds names of Services of every namespace';
  // Search lists of pods end with the cluster domain, so `pod` at the end of a name is understood too.
  if (isAtOrBelow(suffix, 'pod')) return 'holds names of pods of every namespace';
  if (isAtOrBelow(suffix, clusterDomain) || isAtOrBelow(clusterDomain, suffix))
    return `holds names under the cluster domain ${quoted(clusterDomain)}, which are those of Services and pods of every namespace`;
  const [service = '', namespace = '', ...more] = suffix.split('.');
  const isShortForm =
    more.length === 0 &&
    shortFormsAreSafe(namespace, clusterDomain) &&
    allowanceFor(policy, namespace).nameForms.includes('svc.ns');
  return isShortForm
    ? `is what Service ${quoted(service)} of namespace ${quoted(namespace)} has by form "svc.ns"; end with a rule for ${quoted(namespace)} with nameForms: []`
    : undefined;
}

function isAtOrBelow(name: string, base: string): boolean {
  return name === base || name.endsWith(`.${base}`);
}

function rulesOf(root: Tree): readonly Tree[] {
  const rules = memberOf(root, 'namespaces');
  return rules?.kind === 'list' ? rules.members : [];
}

function textsIn(tree: Tree, key: string): readonly TextTree[] {
  const list = memberOf(tree, key);
  const members = list?.kind === 'list' ? list.members : [];
  return members.filter((member) => member.kind === 'text');
}

function memberOf(tree: Tree, key: string): Tree | undefined {
  return tree.kind === 'map' ? tree.members.get(key) : undefined;
}
