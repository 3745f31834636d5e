import {
  type PublishedConfigMap,
  type WantedConfigMap,
} from '../injection/published-config-map.ts';

/** What a ConfigMap is to be. The text itself is made when it is written. */
export interface Wanted extends Omit<WantedConfigMap, 'text'> {
  /** SHA-256 of the text, lower-case hex. */
  readonly digest: string;
  text(): string;
}

export type Step =
  | { readonly kind: 'create' }
  | { readonly kind: 'change'; readonly standing: PublishedConfigMap }
  /** Removed and made anew. */
  | { readonly kind: 'replace'; readonly standing: PublishedConfigMap };

/** The write that leads from what stands there to what is wanted; undefined: none is needed. */
export function stepTo(wanted: Wanted, standing: PublishedConfigMap | undefined): Step | undefined {
  if (!standing) return { kind: 'create' };
  const { foreignKeys, owners } = standing;
  const isSame =
    standing.digest === wanted.digest &&
    foreignKeys.data.length + foreignKeys.binaryData.length === 0 &&
    !standing.isImmutable &&
    standing.isManaged &&
    owners.length === 1 &&
    owners[0] === wanted.ownerUid;
  if (isSame) return undefined;
  return { kind: standing.isImmutable ? 'replace' : 'change', standing };
}

/** Whether it is of this injector, so that it may remove it. */
export function isOurs(
  { isManaged, owners }: PublishedConfigMap,
  ownerUid: string | undefined,
): boolean {
  return isManaged && ownerUid !== undefined && owners.includes(ownerUid);
}
