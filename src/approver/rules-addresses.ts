import { type Finding } from '../vetting/finding.ts';
import { addressFinding } from './address-finding.ts';
import { type Case } from './case.ts';

/** Each address that is asked for is the pod's own, a Service's of its own, or one that policy adds. */
export function addressesFollow({ content, holder, provable }: Case): readonly Finding[] {
  if (content.kind !== 'read' || !holder) return [];
  return content.value.names.ipAddresses.flatMap((address) => {
    const finding = addressFinding(address, holder);
    return finding ? [{ ...finding, allowed: provable.ipAddresses }] : [];
  });
}
