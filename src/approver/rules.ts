import { contentRules } from '../vetting/content-rules.ts';
import { type Finding } from '../vetting/finding.ts';
import { type Case } from './case.ts';
import { addressesFollow } from './rules-addresses.ts';
import { dnsNamesFollow, urisFollow } from './rules-names.ts';
import {
  nodeFits,
  podExists,
  podIsAlive,
  podIsNoMirror,
  requesterIsPod,
  serviceAccountFits,
} from './rules-requester.ts';

/**
 * Every rule of the approver, each a pure function of the facts. A request is approved when none of
 * them finds anything. docs/approval.md explains each to people; a test compares the two.
 */
export const rules = {
  'requester-is-a-pod': requesterIsPod,
  'pod-exists': podExists,
  'pod-is-alive': podIsAlive,
  'pod-is-no-mirror': podIsNoMirror,
  'service-account': serviceAccountFits,
  node: nodeFits,
  ...contentRules,
  'dns-names': dnsNamesFollow,
  addresses: addressesFollow,
  uris: urisFollow,
} as const satisfies Readonly<Record<string, (each: Case) => readonly Finding[]>>;

export type RuleId = keyof typeof rules;
