import {
  type Certificate,
  certificatesFromPem,
  certificatesPem,
  oneLine,
  type Validity,
} from '../pki/certificate.ts';
import { keyPairFromPem, type KeyPair } from '../pki/key-pair.ts';
import { chainConstraints, type NameConstraints } from '../pki/name-constraints.ts';
import { sha256Hex } from '../pki/signature.ts';
import { bundleOf } from '../trust/bundle.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { verifyChain } from '../trust/verify-chain.ts';
import { authorityFrom, isSelfSigned, type Authority } from './authority.ts';
import { caProblem } from './ca-problem.ts';

/** A CA that may sign, with all that was checked. */
export interface SigningCa {
  readonly authority: Authority;
  /** Trusted for what it signs. */
  readonly roots: readonly Certificate[];
  /** Of the CA and those above it, each once. */
  readonly constraints: readonly NameConstraints[];
  /** While the CA and all above it are valid: nothing that it signs is good for longer. */
  readonly validity: Validity;
  /** The CA, those above it and the root: what the approver reads to know what can be signed; PEM. */
  readonly chainPem: string;
  /** SHA-256 of that chain, lower-case hex: the same key below another root is another CA to those who verify. */
  readonly id: string;
}

/**
 * The CA in a Secret. Throws an Error that says what is wrong and what to put there, in words that fit
 * after "Cannot use the CA in Secret NAME: ".
 */
export function readSigningCa(secret: CaSecret, now: Date): SigningCa {
  const [certificate, ...above] = certificatesIn(secret.certificate, 'tls.crt');
  if (!certificate) throw new Error('tls.crt holds no certificate');
  const keyPair = keyIn(secret.key);
  if (!keyPair.publicKeyDer.equals(certificate.publicKeyDer))
    throw new Error('tls.key does not belong to the first certificate of tls.crt');
  refuse('tls.crt', caProblem(certificate, { below: 0, now }));
  const path: Path = isSelfSigned(certificate)
    ? [certificate]
    : pathToRoot(certificate, above, certificatesIn(secret.root ?? '', 'ca.crt'), now);
  for (const [below, each] of path.entries())
    refuse(JSON.stringify(oneLine(each.x509.subject)), caProblem(each, { below, now }));
  const chainPem = certificatesPem(path);
  return {
    authority: authorityFrom(path, keyPair),
    roots: path.slice(-1),
    constraints: chainConstraints(path),
    validity: commonValidity(path),
    chainPem,
    id: sha256Hex(chainPem),
  };
}

function refuse(what: string, problem: string | undefined): void {
  if (problem !== undefined) throw new Error(`${what} ${problem}`);
}

function certificatesIn(pem: string | undefined, name: string): readonly Certificate[] {
  if (pem === undefined) throw new Error(`it lacks ${name}`);
  try {
    return certificatesFromPem(pem);
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function keyIn(pem: string | undefined): KeyPair {
  if (pem === undefined) throw new Error('it lacks tls.key');
  try {
    return keyPairFromPem(pem);
  } catch (error) {
    // RFC 1421 headers and PKCS#8 alike say so.
    const isEncrypted = /^(-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED)/m.test(pem);
    const why = isEncrypted
      ? 'is encrypted; put it there without a password'
      : 'is no private key in PEM';
    throw new Error(`tls.key ${why}`, { cause: error });
  }
}

type Path = readonly [Certificate, ...Certificate[]];

/** The CA, those above it in the order in which they sign, and its root. CAs above it may stand in either file. */
function pathToRoot(
  certificate: Certificate,
  above: readonly Certificate[],
  given: readonly Certificate[],
  now: Date,
): Path {
  const roots = given.filter(isSelfSigned);
  if (roots.length === 0)
    throw new Error(
      'tls.crt is an intermediate, and ca.crt does not hold its root; put the self-signed root there',
    );
  const offered = [...above, ...given].filter((each) => !isSelfSigned(each));
  const verdict = verifyChain(certificate, offered, bundleOf(roots), now);
  if (verdict.kind === 'untrusted')
    throw new Error(`tls.crt does not lead to the root in ca.crt: ${verdict.why}`);
  return [certificate, ...verdict.path.slice(1), verdict.root];
}

function commonValidity(path: readonly Certificate[]): Validity {
  const times = (end: keyof Validity): number[] =>
    path.map(({ validity }) => validity[end].getTime());
  return {
    notBefore: new Date(Math.max(...times('notBefore'))),
    notAfter: new Date(Math.min(...times('notAfter'))),
  };
}
