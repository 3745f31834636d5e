import { sameBundle } from '../trust/bundle.ts';
import { payload } from '../volume/payload.ts';
import { type Look } from './look.ts';
import { type AgentConfig, type AgentWorld } from './world.ts';

/**
 * Publishes the same key and chain with the bundle of now, when it differs from the one on the
 * volume. Returns whether it did. Throws VOLUME_UNWRITABLE.
 */
export function refreshTrust(seen: Look, config: AgentConfig, world: AgentWorld): boolean {
  if (seen.current.kind !== 'usable') return false;
  const { leaf, intermediates, keyPem, receipt, bundle: held } = seen.current.set;
  const { bundle } = seen.trust;
  if (bundle.certificates.length === 0 || sameBundle(held, bundle)) return false;
  world.volume.publish(payload(keyPem, [leaf, ...intermediates], bundle, config.payload), receipt);
  world.metrics.add('podseal_trust_reloads_total', 1);
  world.log(
    'info',
    'trust.reloaded',
    `Published a trust bundle of ${bundle.certificates.length} certificates`,
    {
      fingerprints: bundle.certificates.map((each) => each.fingerprint),
    },
  );
  return true;
}
