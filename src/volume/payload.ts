import { type Certificate, certificatesPem } from '../pki/certificate.ts';
import { keyStore, trustStore } from '../pki/pkcs12.ts';
import { type TrustBundle } from '../trust/bundle.ts';
import { type VolumeFile } from './volume.ts';

export const volumeFormats = ['combined', 'pkcs12'] as const;
export type VolumeFormat = (typeof volumeFormats)[number];

export interface PayloadSettings {
  /** Permission bits of every file that holds the private key. */
  readonly keyMode: number;
  readonly formats: readonly VolumeFormat[];
  /** Of the PKCS#12 stores. */
  readonly storePassword: string;
}

/** tls.key, tls.crt, ca.crt and what the formats add. `keyPem` is PKCS#8; `chain` is the leaf, then its intermediates. */
export function payload(
  keyPem: string,
  chain: readonly Certificate[],
  bundle: TrustBundle,
  settings: PayloadSettings,
): readonly VolumeFile[] {
  const { keyMode, formats, storePassword } = settings;
  const chainPem = certificatesPem(chain);
  const publicMode = 0o444;
  return [
    { name: 'tls.key', content: keyPem, mode: keyMode },
    { name: 'tls.crt', content: chainPem, mode: publicMode },
    { name: 'ca.crt', content: bundle.pem, mode: publicMode },
    ...(formats.includes('combined')
      ? [{ name: 'tls-combined.pem', content: keyPem + chainPem, mode: keyMode }]
      : []),
    ...(formats.includes('pkcs12')
      ? [
          { name: 'keystore.p12', content: keyStore(keyPem, chain, storePassword), mode: keyMode },
          {
            name: 'truststore.p12',
            content: trustStore(bundle.certificates, storePassword),
            mode: publicMode,
          },
        ]
      : []),
  ];
}
