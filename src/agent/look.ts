import { type SubjectNames } from '../identity/subject-names.ts';
import { subjectNamesOf } from '../identity/wanted-names.ts';
import { PodsealError } from '../errors.ts';
import { certificatesFromPem, subjectNamesIn } from '../pki/certificate.ts';
import { bundleOf, nextBundle, type TrustBundle, type TrustReading } from '../trust/bundle.ts';
import { readCurrent, type CurrentReading } from '../volume/current.ts';
import { type AgentSources, type AgentWorld, type NamesReading } from './world.ts';

/** `watch` looks at the files this often even when no watcher says anything (subPath mounts, no inotify left). */
export const lookAgainMs = 60_000;

/** Everything a decision needs, seen at one moment. */
export interface Look {
  readonly current: CurrentReading;
  readonly names: NamesReading;
  readonly trust: TrustReading;
  readonly renewAnnotation: string | undefined;
}

export function look(world: Pick<AgentWorld, 'volume' | 'sources'>): Look {
  const published = world.volume.read();
  return {
    current: readCurrent(published),
    names: world.sources.names(),
    trust: trustNow(world, published),
    renewAnnotation: world.sources.renewAnnotation(),
  };
}

/** The bundle of now, for who needs nothing else. */
export function trustNow(
  world: Pick<AgentWorld, 'volume' | 'sources'>,
  published = world.volume.read(),
): TrustReading {
  return nextBundle(bundleFrom(published?.caCrt), world.sources.trust());
}

/** The published bundle is the memory of trust: it outlives this container. */
function bundleFrom(caCrt: string | undefined): TrustBundle | undefined {
  try {
    return caCrt === undefined ? undefined : bundleOf(certificatesFromPem(caCrt));
  } catch {
    return undefined;
  }
}

/**
 * The names to ask for. While the sources cannot say (a file is missing after a restart), the names
 * of the certificate in use: unknown is not none. Undefined when neither is there.
 */
export function namesToAskFor(seen: Look): SubjectNames | undefined {
  if (seen.names.kind === 'known') return subjectNamesOf(seen.names.names);
  return seen.current.kind === 'usable' ? subjectNamesIn(seen.current.set.leaf) : undefined;
}

/** Throws what no waiting can mend: no source of names, no trust file. */
export function refuseHopeless(seen: Look, sources: AgentSources): void {
  if (seen.names.kind === 'unknown' && seen.names.unconfigured)
    throw new PodsealError(
      'IDENTITY_INCOMPLETE',
      `Cannot tell the names of the pod: ${seen.names.why}`,
      {
        hint: 'Set PODSEAL_SERVICES (an empty value means none), or mount services.json and set PODSEAL_SERVICES_FILE, or annotate the pod with podseal.dev/services.',
      },
    );
  if (seen.trust.bundle.certificates.length > 0) return;
  const [first] = seen.trust.unusable;
  const where = first
    ? `${JSON.stringify(first.path)}: ${first.why}`
    : 'PODSEAL_TRUST_FILES is empty';
  const count = sources.trust().length;
  throw new PodsealError(
    'TRUST_MISSING',
    `Cannot read a root certificate from any of ${count} trust files (${where})`,
    {
      hint: 'Mount the ca.crt of the signer (ConfigMap podseal-trust) and name it in PODSEAL_TRUST_FILES. A root is never learnt from the issued chain.',
    },
  );
}
