import { type NewestSet } from '../application/newest-set.ts';
import { certificatesPem, subjectNamesIn } from '../pki/certificate.ts';
import { sha256Hex } from '../pki/signature.ts';
import { readCurrent } from '../volume/current.ts';
import { type Volume } from '../volume/volume.ts';

/** What the application is to be told of; undefined while there is no usable set. */
export function newestSet(volume: Volume): NewestSet | undefined {
  const current = readCurrent(volume.read());
  if (current.kind === 'unusable') return undefined;
  const { leaf, intermediates, bundle, keyPem } = current.set;
  const chainPem = certificatesPem([leaf, ...intermediates]);
  return {
    id: sha256Hex(Buffer.from(chainPem + bundle.pem)),
    fingerprint: leaf.fingerprint,
    dnsName: subjectNamesIn(leaf).dnsNames[0],
    keyPem,
    chainPem,
    bundlePem: bundle.pem,
  };
}
