import { nameForms } from '../identity/wanted-names.ts';
import { keyAlgorithms } from '../pki/key-pair.ts';
import { type GrantableUsage, grantableUsages } from '../vetting/asked.ts';
import { reportConflicts } from './policy-conflicts.ts';
import {
  addresses,
  dnsSuffix,
  duration,
  type Fields,
  flag,
  label,
  listOf,
  namespacePattern,
  oneOf,
  range,
  type Read,
  readFields,
  serviceAccount,
  someOf,
  wholeNumber,
} from './policy-values.ts';
import {
  addressRules,
  type Allowance,
  defaultPolicy,
  type NamespaceRule,
  type Policy,
  type ServiceHolding,
} from './policy.ts';
import { readYamlTree, type Report } from './yaml-tree.ts';

const nameHolders = 'name the service accounts that may hold the Service';

const holdingFields: Fields<ServiceHolding> = {
  name: { key: 'name', read: label('a Service'), needed: 'which Service is it about?' },
  serviceAccounts: {
    key: 'serviceAccounts',
    read: someOf(serviceAccount, nameHolders),
    needed: nameHolders,
  },
  whileUnselected: { key: 'whileUnselected', read: flag },
};

const holding: Read<ServiceHolding> = (tree, report) => {
  const read = readFields(tree, holdingFields, report);
  const { name, serviceAccounts, whileUnselected = false } = read;
  if (name === undefined || !serviceAccounts) return undefined;
  return { name, serviceAccounts, whileUnselected };
};

const readUsages = listOf(oneOf(grantableUsages));
const usages: Read<readonly GrantableUsage[]> = (tree, report) => {
  const read = readUsages(tree, report);
  // A misspelt one is reported already, and may have been the one that is missing.
  const isWhole = tree.kind === 'list' && read?.length === tree.members.length;
  if (!isWhole || read.includes('server auth') || read.includes('client auth')) return read;
  report(tree, 'has neither server auth nor client auth, and every certificate needs one');
  return undefined;
};

const allowanceFields: Fields<Allowance> = {
  // The API's field is a signed 32-bit number of seconds.
  maximumLifetimeMs: { key: 'maxLifetime', read: duration('10m', '24855d') },
  keyAlgorithms: {
    key: 'keyAlgorithms',
    read: someOf(oneOf(keyAlgorithms), 'no key would be accepted'),
  },
  usages: { key: 'usages', read: usages },
  nameForms: { key: 'nameForms', read: listOf(oneOf(nameForms)) },
  dnsSuffixes: { key: 'dnsSuffixes', read: listOf(dnsSuffix) },
  wildcards: { key: 'wildcards', read: flag },
  extraAddresses: { key: 'extraAddresses', read: listOf(addresses) },
  addresses: { key: 'addresses', read: oneOf(addressRules) },
  hostNetwork: { key: 'hostNetwork', read: flag },
  services: { key: 'services', read: listOf(holding) },
};

type RuleMembers = Allowance & Pick<NamespaceRule, 'names'>;

const nameNamespaces = 'name the namespaces that the rule is for';

const ruleFields: Fields<RuleMembers> = {
  names: {
    key: 'names',
    read: someOf(namespacePattern, nameNamespaces),
    needed: nameNamespaces,
  },
  ...allowanceFields,
};

/** Keys of the top level that people look for in a rule. */
const onlyAtTheTop = new Map(
  ['serviceRanges', 'maxNames', 'waitLimit'].map((key) => [
    key,
    'is for all namespaces alike, and stands at the top level',
  ]),
);

const rule: Read<NamespaceRule> = (tree, report) => {
  const { names, ...changes } = readFields(tree, ruleFields, report, onlyAtTheTop);
  // Most often its settings are indented too little, and would hold for every namespace.
  if (tree.kind === 'map' && tree.members.size === 1 && names)
    report(tree, 'the rule changes nothing; are its settings indented like names?');
  return names && { names, changes };
};

type TopMembers = Allowance &
  Omit<Policy, 'defaults'> & { readonly apiVersion: string; readonly kind: string };

const topFields: Fields<TopMembers> = {
  apiVersion: {
    key: 'apiVersion',
    read: oneOf(['podseal.dev/v1']),
    needed: 'write podseal.dev/v1',
  },
  kind: { key: 'kind', read: oneOf(['ApproverPolicy']), needed: 'write ApproverPolicy' },
  ...allowanceFields,
  serviceRanges: { key: 'serviceRanges', read: listOf(range) },
  // More names make certificates that clients refuse for their size.
  maximumNames: { key: 'maxNames', read: wholeNumber(1, defaultPolicy.maximumNames) },
  waitLimitMs: { key: 'waitLimit', read: duration('0s', '1h') },
  namespaces: { key: 'namespaces', read: listOf(rule) },
};

const keysOf = (fields: object): readonly string[] =>
  Object.values(fields).map(({ key }: { readonly key: string }) => key);

/** Every key that the file may have; docs/policy.md explains each, and a test compares. */
export const policyKeys: readonly string[] = [
  ...keysOf(topFields),
  ...keysOf(holdingFields).map((key) => `services[].${key}`),
  'namespaces[].names',
];

/** As much as a ConfigMap holds. */
const maximumCharacters = 1024 * 1024;
/** More help nobody, and each is part of one log line. */
const maximumProblems = 50;

export interface PolicySettings {
  readonly clusterDomain: string;
  /** What holds where the file says nothing. */
  readonly base?: Policy;
}

/**
 * The policy in a file, YAML or JSON, or everything that is wrong with it, by line. One problem refuses
 * the whole file: half a policy is another policy. So is an empty file, for it may be a truncated one.
 */
export function parsePolicy(
  text: string,
  { clusterDomain, base = defaultPolicy }: PolicySettings,
):
  | { readonly kind: 'valid'; readonly value: Policy }
  | { readonly kind: 'invalid'; readonly problems: readonly string[] } {
  if (text.length > maximumCharacters)
    return { kind: 'invalid', problems: [`it is longer than ${maximumCharacters} characters`] };
  const found: { readonly line: number; readonly path: string; readonly why: string }[] = [];
  const report: Report = ({ line, path }, why) => void found.push({ line, path, why });
  const value = readPolicy(text, clusterDomain, base, report);
  if (found.length === 0 && value) return { kind: 'valid', value };
  const sorted = found
    .sort((a, b) => a.line - b.line)
    .map(({ line, path, why }) => `line ${line}: ${path === '' ? '' : `${path}: `}${why}`);
  const problems = [...new Set(sorted)];
  const more = problems.splice(maximumProblems).length;
  return { kind: 'invalid', problems: more > 0 ? [...problems, `and ${more} more`] : problems };
}

function readPolicy(
  text: string,
  clusterDomain: string,
  base: Policy,
  report: Report,
): Policy | undefined {
  const root = readYamlTree(text, report);
  if (!root) return undefined;
  if (root.kind === 'nothing') {
    const defaults = 'to have the defaults, write apiVersion and kind alone';
    report(root, `the file is empty, as a truncated one is; ${defaults}`);
    return undefined;
  }
  const refused = new Set<string>();
  const noting: Report = (place, why) => {
    refused.add(place.path);
    report(place, why);
  };
  const read = readFields(root, topFields, noting);
  const changes = Object.entries(read).filter(([name]) => name in allowanceFields);
  const policy: Policy = {
    defaults: { ...base.defaults, ...Object.fromEntries(changes) },
    namespaces: read.namespaces ?? base.namespaces,
    serviceRanges: read.serviceRanges ?? base.serviceRanges,
    maximumNames: read.maximumNames ?? base.maximumNames,
    waitLimitMs: read.waitLimitMs ?? base.waitLimitMs,
  };
  // What was refused for its form needs no second reason.
  const longestMs = base.defaults.maximumLifetimeMs;
  reportConflicts(root, policy, { clusterDomain, longestMs }, (place, why) => {
    if (!refused.has(place.path)) report(place, why);
  });
  return policy;
}
