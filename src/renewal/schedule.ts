import { type Validity } from '../pki/certificate.ts';

/**
 * When a certificate is due for renewal: a random point between one half and two thirds of the time
 * it is usable, counted from the later of notBefore and receipt. Counting from receipt keeps a
 * short certificate that its signer back-dated from being due the moment it arrives.
 * `fraction` is in [0, 1).
 */
export function renewAt(validity: Validity, receivedAt: Date, fraction: number): Date {
  const from = Math.max(validity.notBefore.getTime(), receivedAt.getTime());
  const span = Math.max(0, validity.notAfter.getTime() - from);
  return new Date(from + span * (1 / 2 + fraction / 6));
}

/**
 * The certificate's own share of chance, in [0, 1), from its fingerprint: random between pods, and
 * the same after every restart, so that a container that crashes in a loop does not draw again and
 * again until the dice say "now".
 */
export function renewalFraction(fingerprintHex: string): number {
  return parseInt(fingerprintHex.slice(0, 12), 16) / 2 ** 48;
}
