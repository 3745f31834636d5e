import { type ObservedRequest } from './observed-request.ts';

/**
 * What the approver writes into signing requests. Each write holds only for the state that was read
 * (`resourceVersion`): API_CONFLICT when somebody wrote in between, API_NOT_FOUND when it is gone.
 */
export interface Decisions {
  approve(request: ObservedRequest, message: string): Promise<void>;
  deny(request: ObservedRequest, message: string): Promise<void>;
}

/** The reasons that stand in the conditions: stable words for programs. */
export const conditionReasons = {
  approved: 'PodsealApproved',
  denied: 'PodsealDenied',
  failed: 'SignerValidationFailure',
} as const;

/** What the signer writes, in the same way. */
export interface Issuance {
  /** A live read; undefined when there is no such request. */
  read(name: string): Promise<ObservedRequest | undefined>;
  /** PEM: leaf, then intermediates. */
  issue(request: ObservedRequest, chainPem: string): Promise<void>;
  fail(request: ObservedRequest, message: string): Promise<void>;
  /** Only this very object: a request that was created anew under the same name stays. */
  remove(request: Pick<ObservedRequest, 'name' | 'uid'>): Promise<void>;
}
