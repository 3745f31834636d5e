import { allNames } from '../identity/subject-names.ts';
import { oneLine, subjectNamesIn } from '../pki/certificate.ts';
import { formatDuration } from '../runtime/duration.ts';
import { verifyChain } from '../trust/verify-chain.ts';
import { readCurrent } from '../volume/current.ts';
import { type PendingRequest, type PublishedSet } from '../volume/volume.ts';
import { renewalOf } from './plan.ts';

/** What is on the volume, for people and programs. Never holds a key. */
export interface Inspection {
  readonly directory: string;
  readonly usable: boolean;
  readonly problem?: string;
  readonly files: readonly string[];
  readonly names?: readonly string[];
  readonly issuer?: string;
  readonly serial?: string;
  readonly fingerprint?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly secondsLeft?: number;
  readonly renewalDue?: string;
  readonly chain?: string;
  readonly trustedRoots?: number;
  readonly requestName?: string;
  readonly pendingRequest?: string;
}

export function inspectVolume(
  directory: string,
  volume: {
    readonly published: PublishedSet | undefined;
    readonly pending: PendingRequest | undefined;
  },
  now: Date,
): Inspection {
  const { published, pending } = volume;
  const current = readCurrent(published);
  const pendingRequest = pending ? { pendingRequest: pending.name } : {};
  const files = published?.files ?? [];
  if (current.kind === 'unusable')
    return { directory, usable: false, problem: current.why, files, ...pendingRequest };
  const { leaf, intermediates, bundle, receipt } = current.set;
  const { notBefore, notAfter } = leaf.validity;
  const verdict = verifyChain(leaf, intermediates, bundle, now);
  const problem =
    now >= notAfter
      ? 'the certificate has expired'
      : verdict.kind === 'untrusted'
        ? `the chain does not verify: ${verdict.why}`
        : undefined;
  return {
    directory,
    usable: problem === undefined,
    ...(problem === undefined ? {} : { problem }),
    files,
    names: allNames(subjectNamesIn(leaf)),
    issuer: oneLine(leaf.x509.issuer),
    serial: leaf.serial,
    fingerprint: leaf.fingerprint,
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
    secondsLeft: Math.floor((notAfter.getTime() - now.getTime()) / 1000),
    renewalDue: renewalOf(current.set).toISOString(),
    chain:
      verdict.kind === 'trusted'
        ? `verifies under ${oneLine(verdict.root.x509.subject)}, ${intermediates.length} intermediates`
        : verdict.why,
    trustedRoots: bundle.certificates.length,
    requestName: receipt.requestName,
    ...pendingRequest,
  };
}

export function inspectionText(inspection: Inspection): string {
  const left = inspection.secondsLeft ?? 0;
  const days = `${(left / 86_400).toFixed(1)} days (${formatDuration(left * 1000)})`;
  const rows: readonly (readonly [string, string | number | undefined])[] = [
    ['Directory', inspection.directory],
    ['Usable', inspection.usable ? 'yes' : `no: ${inspection.problem ?? ''}`],
    ['Files', inspection.files.join(' ')],
    ['Names', inspection.names?.join('\n')],
    ['Issuer', inspection.issuer],
    ['Serial', inspection.serial],
    ['SHA-256', inspection.fingerprint],
    ['Valid from', inspection.notBefore],
    ['Valid until', inspection.notAfter],
    ['Left', inspection.notAfter === undefined ? undefined : days],
    ['Renewal due', inspection.renewalDue],
    ['Key', inspection.serial === undefined ? undefined : 'belongs to the certificate'],
    ['Chain', inspection.chain],
    ['Trusted roots', inspection.trustedRoots],
    ['Request', inspection.requestName],
    ['Pending request', inspection.pendingRequest],
  ];
  return rows
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([title, value]) => {
      const lines = String(value).replaceAll('\n', `\n${' '.repeat(17)}`);
      return `${`${title}:`.padEnd(17)}${lines}\n`;
    })
    .join('');
}
