import { oneLine, type Certificate } from '../pki/certificate.ts';
import { type TrustBundle } from './bundle.ts';

export type ChainVerdict =
  /** `path` is the leaf, then the intermediates in the order in which they sign, without the root. */
  | { readonly kind: 'trusted'; readonly path: readonly Certificate[]; readonly root: Certificate }
  | { readonly kind: 'untrusted'; readonly why: string };

/** More certificates than any real chain has; the rest is not looked at. */
const maximumIntermediates = 10;

/**
 * Looks for a path from the leaf through the offered intermediates to a root of the bundle, each
 * link verified by signature, CA flag and validity at `now` (RFC 5280 6.1 without policies; clients
 * check name constraints again, and so does the signer before it signs).
 */
export function verifyChain(
  leaf: Certificate,
  intermediates: readonly Certificate[],
  bundle: TrustBundle,
  now: Date,
): ChainVerdict {
  const reasons: string[] = [];
  const offered = intermediates.slice(0, maximumIntermediates);
  // What led nowhere once leads nowhere again: without this, equal names and keys make the search exponential.
  const tried = new Set<Certificate>();
  const search = (path: readonly Certificate[]): ChainVerdict | undefined => {
    const last = path.at(-1);
    if (!last) return undefined;
    for (const root of bundle.certificates) {
      if (!signs(root, last)) continue;
      const problem = usabilityAsCa(root, now);
      if (!problem) return { kind: 'trusted', path, root };
      reasons.push(problem);
    }
    for (const next of offered) {
      if (tried.has(next) || !signs(next, last)) continue;
      tried.add(next);
      const problem = usabilityAsCa(next, now);
      const found = problem ? undefined : search([...path, next]);
      if (found) return found;
      if (problem) reasons.push(problem);
    }
    return undefined;
  };
  return search([leaf]) ?? { kind: 'untrusted', why: reasons[0] ?? noIssuer(leaf, bundle) };
}

function signs(issuer: Certificate, certificate: Certificate): boolean {
  return (
    certificate.x509.checkIssued(issuer.x509) && certificate.x509.verify(issuer.x509.publicKey)
  );
}

function usabilityAsCa(ca: Certificate, now: Date): string | undefined {
  const name = JSON.stringify(oneLine(ca.x509.subject));
  if (!ca.x509.ca) return `its issuer ${name} is not a CA`;
  if (now > ca.validity.notAfter)
    return `its issuer ${name} expired at ${ca.validity.notAfter.toISOString()}`;
  if (now < ca.validity.notBefore)
    return `its issuer ${name} is valid only from ${ca.validity.notBefore.toISOString()}`;
  return undefined;
}

function noIssuer(leaf: Certificate, bundle: TrustBundle): string {
  const roots = bundle.certificates.map((each) => JSON.stringify(oneLine(each.x509.subject)));
  const shown =
    roots.slice(0, 5).join(', ') + (roots.length > 5 ? `, and ${roots.length - 5} more` : '');
  return (
    `its issuer ${JSON.stringify(oneLine(leaf.x509.issuer))} does not lead to a root of the bundle ` +
    `(${shown || 'which is empty'})`
  );
}
