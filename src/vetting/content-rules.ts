import { allNames, type SubjectNames } from '../identity/subject-names.ts';
import * as der from '../pki/der.ts';
import { extensionOids, extendedKeyUsage, keyUsage, type Extension } from '../pki/extensions.ts';
import { type CertificationRequest } from '../pki/certification-request.ts';
import { acceptedAlgorithm, publicKeyProblem } from '../pki/public-key.ts';
import { formatDuration } from '../runtime/duration.ts';
import { namesNotPermitted } from '../pki/name-constraints.ts';
import { type Asked, type GrantableUsage, grantableUsages } from './asked.ts';
import { type Finding, never } from './finding.ts';
import { namesNotWellFormed } from './well-formed-names.ts';

/**
 * Rules about what is asked, whoever asks: the approver's verdict rests on them, and the signer holds
 * a request to them again, because a person may have approved it.
 */

function contentOf({ content }: Asked): CertificationRequest | undefined {
  return content.kind === 'read' ? content.value : undefined;
}

/** One strict parser; its signature check is the first requirement of the documentation. */
function requestIsReadable({ content }: Asked): readonly Finding[] {
  return content.kind === 'read'
    ? []
    : [never(`the certification request cannot be accepted: ${content.why}`)];
}

function keyIsStrong(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  if (!content) return [];
  const problem = publicKeyProblem(content.publicKey, content.publicKeyDer);
  if (problem !== undefined) return [never(problem)];
  const algorithm = acceptedAlgorithm(content.publicKey, content.publicKeyDer);
  const { keyAlgorithms } = asked.limits;
  if (algorithm !== undefined && keyAlgorithms.includes(algorithm)) return [];
  return [never('policy does not allow keys of this kind', algorithm ?? '?', keyAlgorithms)];
}

/** ub-common-name of RFC 5280 A.1. */
const maximumCommonName = 64;

function subjectIsOneOfTheNames(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  if (content?.commonName === undefined) return [];
  const { commonName, names } = content;
  if (!names.dnsNames.includes(commonName))
    return [never('the common name is none of the DNS names', commonName, names.dnsNames)];
  return commonName.length > maximumCommonName
    ? [never(`a common name has at most ${maximumCommonName} characters`, commonName)]
    : [];
}

function namesAreFew(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  if (!content) return [];
  const { length } = allNames(content.names);
  const { maximumNames } = asked.limits;
  if (length === 0) return [never('it asks for no name')];
  return length > maximumNames
    ? [never(`it asks for ${length} names, at most ${maximumNames} are allowed`)]
    : [];
}

function namesAreUnique(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  if (!content) return [];
  return (['dnsNames', 'ipAddresses', 'uris'] as const).flatMap((kind: keyof SubjectNames) => {
    const all = content.names[kind];
    if (new Set(all).size === all.length) return [];
    const seen = new Set<string>();
    const doubles = new Set(all.filter((name) => seen.has(name) || !seen.add(name)));
    return [...doubles].map((name) => never('it is asked for twice', name));
  });
}

function usagesAreAllowed({ request, content, limits }: Asked): readonly Finding[] {
  const { usages } = request;
  const allowed: readonly string[] = limits.usages;
  const wrong = usages
    .filter((usage) => !allowed.includes(usage))
    .map((usage) => never('this usage is not allowed', usage, allowed));
  if (!usages.includes('server auth') && !usages.includes('client auth'))
    wrong.push(never('it asks for neither server auth nor client auth'));
  const isRsa = content.kind !== 'read' || content.value.publicKey.asymmetricKeyType === 'rsa';
  if (usages.includes('key encipherment') && !isRsa)
    wrong.push(never('only RSA keys can encipher keys', 'key encipherment'));
  return wrong;
}

function lifetimeIsAllowed({ request, limits }: Asked): readonly Finding[] {
  const { expirationSeconds } = request;
  const { maximumLifetimeMs, defaultLifetimeMs } = limits;
  const lifetimeMs = expirationSeconds === undefined ? defaultLifetimeMs : expirationSeconds * 1000;
  if (lifetimeMs <= maximumLifetimeMs) return [];
  const longest = `the longest lifetime is ${formatDuration(maximumLifetimeMs)}`;
  const seconds = `${Math.floor(maximumLifetimeMs / 1000)}s`;
  return [
    expirationSeconds === undefined
      ? never(`${longest}, and without one ${formatDuration(lifetimeMs)} is issued`, undefined, [
          seconds,
        ])
      : never(longest, `${expirationSeconds}s`, [seconds]),
  ];
}

function namesAreWellFormed(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  return content ? namesNotWellFormed(content.names) : [];
}

/** Nothing is approved that no signer will sign, nothing signed that no client will accept (RFC 5280 4.2.1.10). */
function caMaySign(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  if (!content || !asked.caConstraints) return [];
  return namesNotPermitted(asked.caConstraints, content.names).map(({ value, constraint }) =>
    never(
      `the CA's name constraints do not permit it (${constraint}); a CA without, or with wider, constraints is needed`,
      value,
    ),
  );
}

/** What a request may hold besides names: copies of what `spec.usages` says, and that it is no CA. */
function extensionsAreHarmless(asked: Asked): readonly Finding[] {
  const content = contentOf(asked);
  if (!content) return [];
  const known = asked.request.usages.filter((usage): usage is GrantableUsage =>
    (grantableUsages as readonly string[]).includes(usage),
  );
  return content.extensions.flatMap((extension) => extensionFindings(extension, known));
}

function extensionFindings(
  { oid, value }: Extension,
  usages: readonly GrantableUsage[],
): readonly Finding[] {
  switch (oid) {
    case extensionOids.subjectAltName:
      return [];
    case extensionOids.basicConstraints:
      return value.equals(notACa)
        ? []
        : [never('it says something else than that this is no CA', 'basicConstraints')];
    case extensionOids.keyUsage:
      return keyUsage(usages)?.value.equals(value)
        ? []
        : [never('it says something else than spec.usages', 'keyUsage')];
    case extensionOids.extendedKeyUsage:
      return samePurposes(value, extendedKeyUsage(usages)?.value)
        ? []
        : [never('it says something else than spec.usages', 'extendedKeyUsage')];
    default:
      return [never('this extension is not allowed in a request', oid)];
  }
}

const notACa = der.encodeDer(der.sequence());

function samePurposes(value: Buffer, expected: Buffer | undefined): boolean {
  if (!expected) return false;
  if (value.equals(expected)) return true;
  try {
    const oids = (bytes: Buffer): string =>
      der
        .membersOf(der.decodeDer(bytes), 'sequence', 'extendedKeyUsage')
        .map((node) => der.oidOf(node, 'purpose'))
        .sort()
        .join();
    return oids(value) === oids(expected);
  } catch {
    return false;
  }
}

/** Every rule about what is asked, by the name that denials give it. */
export const contentRules = {
  'certification-request': requestIsReadable,
  key: keyIsStrong,
  subject: subjectIsOneOfTheNames,
  'number-of-names': namesAreFew,
  'repeated-names': namesAreUnique,
  'well-formed-names': namesAreWellFormed,
  extensions: extensionsAreHarmless,
  usages: usagesAreAllowed,
  lifetime: lifetimeIsAllowed,
  'ca-constraints': caMaySign,
} as const satisfies Readonly<Record<string, (asked: Asked) => readonly Finding[]>>;

export type ContentRuleId = keyof typeof contentRules;
