import { PodsealError } from '../errors.ts';
import { type SigningRequest } from './signing-request.ts';

/** What we submitted, to recognise it again. */
export interface Submitted {
  readonly name: string;
  /** Undefined when we were stopped before the API server answered. */
  readonly uid: string | undefined;
  /** The certification request, PEM. */
  readonly request: string;
}

export type Outcome =
  | { readonly kind: 'pending'; readonly lastSeen: string }
  | { readonly kind: 'issued'; readonly chainPem: string }
  | { readonly kind: 'over'; readonly error: PodsealError };

/**
 * What became of a request, from one read of it (undefined: it is not there). A certificate counts
 * only beside an Approved condition: the API server stores one without (kubernetes-facts 1.3).
 */
export function outcomeOf(read: SigningRequest | undefined, submitted: Submitted): Outcome {
  const name = JSON.stringify(submitted.name);
  if (!read)
    return over(
      'SIGNING_REQUEST_DELETED',
      `Cannot get a certificate from signing request ${name}: it was deleted before it was issued`,
      'A new request follows. Pending requests are removed by Kubernetes after 24 hours, and by administrators.',
    );
  if (submitted.uid !== undefined && read.uid !== submitted.uid)
    return over(
      'SIGNING_REQUEST_REPLACED',
      `Cannot use signing request ${name}: it was deleted and created again by somebody else (uid ${read.uid}, ours was ${submitted.uid})`,
      'A new request follows, with a new key. Find out who may create requests of that name.',
    );
  if (read.request.trim() !== submitted.request.trim())
    return over(
      'SIGNING_REQUEST_REPLACED',
      `Cannot use signing request ${name}: it holds another certification request than ours`,
      'A new request follows, with a new key. Find out who may create requests of that name.',
    );
  return decided(read, name);
}

function decided(read: SigningRequest, name: string): Outcome {
  const condition = (type: string) => read.conditions.find((each) => each.type === type);
  const denied = condition('Denied');
  if (denied)
    return over(
      'SIGNING_REQUEST_DENIED',
      `Cannot get a certificate from signing request ${name}: it was denied (${denied.reason}): ${denied.message}`,
      'The names are read anew and asked for again, slowly. A denial is final for its request; mend what it names.',
    );
  const failed = condition('Failed');
  if (failed)
    return over(
      'SIGNING_REQUEST_FAILED',
      `Cannot get a certificate from signing request ${name}: its signer failed (${failed.reason}): ${failed.message}`,
      `Look at the signer of ${JSON.stringify(read.signerName)}; a new request follows, slowly.`,
    );
  if (!condition('Approved'))
    return { kind: 'pending', lastSeen: 'no approver has acted on it yet' };
  if (read.certificate === undefined)
    return { kind: 'pending', lastSeen: 'it is approved, and no signer has issued it yet' };
  return { kind: 'issued', chainPem: read.certificate };
}

function over(
  code: ConstructorParameters<typeof PodsealError>[0],
  message: string,
  hint: string,
): Outcome {
  return { kind: 'over', error: new PodsealError(code, message, { hint }) };
}
