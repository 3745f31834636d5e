import { PodsealError, type ErrorCode } from '../errors.ts';
import { missingNames, type SubjectNames } from '../identity/subject-names.ts';
import {
  certificatesFromPem,
  extensionsOf,
  subjectNamesIn,
  type Certificate,
} from '../pki/certificate.ts';
import { usagesNotAllowed, type Usage } from '../pki/extensions.ts';
import { type TrustBundle } from '../trust/bundle.ts';
import { verifyChain } from '../trust/verify-chain.ts';

/** What an issued chain must fit. */
export interface Expectation {
  readonly requestName: string;
  /** SubjectPublicKeyInfo of our key, DER. */
  readonly publicKeyDer: Buffer;
  readonly names: SubjectNames;
  readonly usages: readonly Usage[];
  readonly bundle: TrustBundle;
  readonly now: Date;
}

/**
 * The leaf and its intermediates in signing order, after every check: the API server makes none of
 * them (kubernetes-facts 1.3). Throws CERTIFICATE_MALFORMED, _MISMATCH, _EXPIRED, _NOT_YET_VALID or
 * _UNTRUSTED; the last two may heal by themselves, so the request is kept.
 */
export function acceptChain(chainPem: string, expected: Expectation): readonly Certificate[] {
  const refuse = (code: ErrorCode, why: string, hint: string): never => {
    const name = JSON.stringify(expected.requestName);
    throw new PodsealError(code, `Cannot use the certificate issued for ${name}: ${why}`, { hint });
  };
  const askSigner = 'Look at the signer: what it issues does not fit what was asked for.';
  const [leaf, ...others] = readChain(chainPem, (why) =>
    refuse(
      'CERTIFICATE_MALFORMED',
      why,
      'The signer must write PEM CERTIFICATE blocks, leaf first.',
    ),
  );
  if (!leaf) return refuse('CERTIFICATE_MALFORMED', 'it holds no PEM block', askSigner);
  checkKey(leaf, others, expected, (why) => refuse('CERTIFICATE_MISMATCH', why, askSigner));
  checkContent(leaf, expected, (code, why) => refuse(code, why, askSigner));
  const { notBefore, notAfter } = leaf.validity;
  const now = expected.now.toISOString();
  if (expected.now >= notAfter)
    refuse(
      'CERTIFICATE_EXPIRED',
      `it expired at ${notAfter.toISOString()} (now: ${now})`,
      'Is the clock of this node or of the signer wrong, or did the answer arrive after a long time?',
    );
  if (expected.now < notBefore)
    refuse(
      'CERTIFICATE_NOT_YET_VALID',
      `it is valid only from ${notBefore.toISOString()} (now: ${now})`,
      'Compare the clocks of this node and of the signer; it is looked at again.',
    );
  const verdict = verifyChain(leaf, others, expected.bundle, expected.now);
  if (verdict.kind === 'trusted') return verdict.path;
  return refuse(
    'CERTIFICATE_UNTRUSTED',
    verdict.why,
    'Put the root of this signer into a file of PODSEAL_TRUST_FILES; it is looked at again. A root is never learnt from the chain itself.',
  );
}

function readChain(pem: string, refuse: (why: string) => never): readonly Certificate[] {
  try {
    return certificatesFromPem(pem);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function checkKey(
  leaf: Certificate,
  others: readonly Certificate[],
  expected: Expectation,
  refuse: (why: string) => never,
): void {
  if (leaf.publicKeyDer.equals(expected.publicKeyDer)) return;
  const place = others.findIndex((each) => each.publicKeyDer.equals(expected.publicKeyDer));
  if (place < 0) refuse('its public key is not the one we sent');
  refuse(
    `the certificate of our key is number ${place + 2} of ${others.length + 1}, and the leaf must come first`,
  );
}

/** A leaf that our own reader cannot read is refused like one with the wrong content. */
function checkContent(
  leaf: Certificate,
  expected: Expectation,
  refuse: (code: ErrorCode, why: string) => never,
): void {
  let names: SubjectNames;
  let forbidden: readonly Usage[];
  try {
    names = subjectNamesIn(leaf);
    forbidden = usagesNotAllowed(expected.usages, extensionsOf(leaf));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return refuse('CERTIFICATE_MALFORMED', `its extensions cannot be read: ${why}`);
  }
  const missing = missingNames(names, expected.names);
  if (missing.length > 0) {
    const shown = missing.slice(0, 20).map((name) => JSON.stringify(name));
    const more = missing.length > 20 ? `, and ${missing.length - 20} more` : '';
    const list = `${shown.join(', ')}${more}`;
    refuse('CERTIFICATE_MISMATCH', `it lacks names that were asked for: ${list}`);
  }
  if (forbidden.length > 0)
    refuse('CERTIFICATE_MISMATCH', `it does not allow: ${forbidden.join(', ')}`);
  if (leaf.x509.ca)
    refuse('CERTIFICATE_MISMATCH', 'it is a CA certificate, and a pod must not hold one');
}
