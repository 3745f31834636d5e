import { asPodsealError } from '../errors.ts';
import {
  type PublishedConfigMap,
  type PublishedConfigMaps,
} from '../injection/published-config-map.ts';
import { type Step, stepTo, type Wanted } from './publication-step.ts';

export type Write = Step['kind'];

/** Replicas that all publish at once meet so often at most; then somebody fights with us. */
const maximumAttempts = 6;

/**
 * Brings a ConfigMap to what is wanted, from what is thought to stand there. Whoever else writes at the
 * same time: it is read again, and done is done, whoever did it. Resolves to what stands there then;
 * undefined: the namespace is being deleted, or is gone. Throws PodsealErrors.
 */
export async function bringAbout(
  wanted: Wanted,
  believed: PublishedConfigMap | undefined,
  configMaps: Pick<PublishedConfigMaps, 'read' | 'create' | 'change' | 'remove'>,
  onWrite: (write: Write) => void,
): Promise<PublishedConfigMap | undefined> {
  let standing = believed;
  for (let attempts = 1; ; attempts++) {
    const step = stepTo(wanted, standing);
    if (!step) return standing;
    try {
      const written = await carryOut(step, wanted, configMaps);
      onWrite(step.kind);
      return written;
    } catch (thrown) {
      const { code } = asPodsealError(thrown);
      if (code === 'API_NOT_FOUND' && step.kind === 'create') return undefined;
      const isOvertaken = code === 'API_CONFLICT' || code === 'API_NOT_FOUND';
      if (!isOvertaken || attempts === maximumAttempts) throw thrown;
      standing = await configMaps.read(wanted);
    }
  }
}

async function carryOut(
  step: Step,
  wanted: Wanted,
  configMaps: Pick<PublishedConfigMaps, 'create' | 'change' | 'remove'>,
): Promise<PublishedConfigMap> {
  const whole = { ...wanted, text: wanted.text() };
  switch (step.kind) {
    case 'change':
      return configMaps.change(step.standing, whole);
    case 'replace':
      await configMaps.remove(step.standing);
      return configMaps.create(whole);
    case 'create':
      return configMaps.create(whole);
  }
}
