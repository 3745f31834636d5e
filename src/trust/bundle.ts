import { certificatesFromPem, certificatesPem, type Certificate } from '../pki/certificate.ts';

/** Roots that we trust, in a canonical order (by fingerprint), without doubles. */
export interface TrustBundle {
  readonly certificates: readonly Certificate[];
  /** As it stands in ca.crt. */
  readonly pem: string;
}

/** What reading one trust file gave. */
export type TrustFileReading =
  | { readonly path: string; readonly kind: 'read'; readonly pem: string }
  | { readonly path: string; readonly kind: 'unreadable'; readonly why: string };

export interface TrustReading {
  readonly bundle: TrustBundle;
  /** Files that gave nothing usable, with the reason. */
  readonly unusable: readonly { readonly path: string; readonly why: string }[];
}

/** The kubelet shuffles a ClusterTrustBundle's certificates on purpose: the order must not look like a change. */
export function bundleOf(certificates: readonly Certificate[]): TrustBundle {
  const byFingerprint = new Map(certificates.map((each) => [each.fingerprint, each]));
  const sorted = [...byFingerprint.values()].sort((a, b) =>
    a.fingerprint < b.fingerprint ? -1 : 1,
  );
  return { certificates: sorted, pem: certificatesPem(sorted) };
}

/**
 * The bundle after looking at every trust file. While a file is missing, empty or broken, nothing
 * that `previous` held is dropped: a slip of the hand in a ConfigMap must not take trust away.
 */
export function nextBundle(
  previous: TrustBundle | undefined,
  readings: readonly TrustFileReading[],
): TrustReading {
  const unusable: { path: string; why: string }[] = [];
  const found: Certificate[] = [];
  for (const reading of readings) {
    const certificates = certificatesOf(reading);
    if (typeof certificates === 'string') unusable.push({ path: reading.path, why: certificates });
    else found.push(...certificates);
  }
  const kept = unusable.length > 0 ? (previous?.certificates ?? []) : [];
  return { bundle: bundleOf([...kept, ...found]), unusable };
}

function certificatesOf(reading: TrustFileReading): readonly Certificate[] | string {
  if (reading.kind === 'unreadable') return reading.why;
  try {
    const certificates = certificatesFromPem(reading.pem);
    return certificates.length > 0 ? certificates : 'it holds no certificate';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export function sameBundle(a: TrustBundle | undefined, b: TrustBundle | undefined): boolean {
  return a?.pem === b?.pem;
}
