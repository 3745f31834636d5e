import { renewalOf } from './plan.ts';
import { type Look } from './look.ts';
import { type Status } from './status.ts';
import { type AgentWorld } from './world.ts';

const seconds = (date: Date): number => Math.floor(date.getTime() / 1000);

/** Sets the gauges from what was just seen. */
export function reportMetrics(seen: Look, status: Status, world: AgentWorld): void {
  const { metrics, volume } = world;
  const pending = volume.readPending();
  metrics.set('podseal_ready', status.ready ? 1 : 0);
  metrics.set('podseal_certificate_expired', status.expired ? 1 : 0);
  metrics.set('podseal_certificate_names_missing', status.missing.length);
  metrics.set(
    'podseal_request_pending_since_timestamp_seconds',
    pending ? seconds(new Date(pending.createdAt)) : 0,
  );
  metrics.set('podseal_trust_bundle_certificates', seen.trust.bundle.certificates.length);
  metrics.set('podseal_trust_files_unusable', seen.trust.unusable.length);
  if (seen.current.kind === 'unusable') return;
  const { set } = seen.current;
  const { notBefore, notAfter } = set.leaf.validity;
  metrics.set('podseal_certificate_chain_trusted', status.untrusted === undefined ? 1 : 0);
  metrics.set('podseal_certificate_not_before_timestamp_seconds', seconds(notBefore));
  metrics.set('podseal_certificate_not_after_timestamp_seconds', seconds(notAfter));
  metrics.set('podseal_certificate_renewal_timestamp_seconds', seconds(renewalOf(set)));
}
