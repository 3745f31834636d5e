import { certificatesFromPem, subjectNamesIn, type Certificate } from '../pki/certificate.ts';
import { keyPairFromPem } from '../pki/key-pair.ts';
import { bundleOf, type TrustBundle } from '../trust/bundle.ts';
import { type PublishedSet, type Receipt } from './volume.ts';

/** The published set, understood. */
export interface CurrentSet {
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
  readonly bundle: TrustBundle;
  readonly keyPem: string;
  readonly receipt: Receipt;
}

export type CurrentReading =
  | { readonly kind: 'usable'; readonly set: CurrentSet }
  | { readonly kind: 'unusable'; readonly why: string };

/** A published set never changes, so it is understood once: reading keys again at each look costs memory that V8 does not count. */
const understood = new WeakMap<PublishedSet, CurrentReading>();

/** Whether the set on the volume is one that an application can use, apart from time, names and trust. */
export function readCurrent(published: PublishedSet | undefined): CurrentReading {
  if (!published) return unusable('there is none yet');
  const reading = understood.get(published) ?? understand(published);
  understood.set(published, reading);
  return reading;
}

function unusable(why: string): CurrentReading {
  return { kind: 'unusable', why };
}

function understand(published: PublishedSet): CurrentReading {
  const { tlsKey, tlsCrt, caCrt, receipt } = published;
  if (!tlsKey || tlsCrt === undefined || caCrt === undefined)
    return unusable('tls.key, tls.crt or ca.crt is missing');
  if (!receipt) return unusable('its receipt is missing');
  try {
    const [leaf, ...intermediates] = certificatesFromPem(tlsCrt);
    if (!leaf) return unusable('tls.crt holds no certificate');
    // Whoever looks at the set later may rely on its names being readable.
    subjectNamesIn(leaf);
    if (!keyPairFromPem(tlsKey).publicKeyDer.equals(leaf.publicKeyDer))
      return unusable('tls.key does not belong to tls.crt');
    const bundle = bundleOf(certificatesFromPem(caCrt));
    const set = { leaf, intermediates, bundle, keyPem: tlsKey.toString('latin1'), receipt };
    return { kind: 'usable', set };
  } catch (error) {
    return unusable(error instanceof Error ? error.message : String(error));
  }
}
