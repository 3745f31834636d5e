import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { formatIpRange } from '../src/identity/ip-range.ts';
import { allNames } from '../src/identity/subject-names.ts';
import { certificatesFromPem } from '../src/pki/certificate.ts';
import { parseCertificationRequest } from '../src/pki/certification-request.ts';
import { nameConstraintsOf } from '../src/pki/name-constraints.ts';
import { decodePem } from '../src/pki/pem.ts';
import { type ApiRequest } from '../test/support/administrator.ts';
import { type LogLine } from '../test/support/program.ts';
import { type Screen } from './screen.ts';

export function showRequest(request: ApiRequest, screen: Screen): void {
  const [block] = decodePem(Buffer.from(request.spec.request, 'base64').toString());
  const { names } = parseCertificationRequest(block?.der ?? Buffer.of());
  const podName = request.spec.extra?.['authentication.kubernetes.io/pod-name']?.join() ?? '?';
  screen.line(`signing request  ${request.metadata.name}`);
  screen.line(`asked by         ${request.spec.username}`);
  screen.line(`from pod         ${podName} (its token says so, and the API server checked it)`);
  screen.line(`signer           ${request.spec.signerName}`);
  for (const name of allNames(names)) screen.line(`for              ${name}`);
}

/** Log lines of several programs about one request, as one story. */
export function showStory(
  lines: readonly (LogLine & { readonly by: string })[],
  requestName: string,
  screen: Screen,
): void {
  const short = requestName.replace(/^(podseal-.{8}).*$/, '$1…');
  for (const { by, time, message } of lines.toSorted((a, b) =>
    String(a['time']) < String(b['time']) ? -1 : 1,
  )) {
    const clock = String(time).slice(11, 23);
    screen.detail(`${clock}  ${by.padEnd(10)}  ${message.replaceAll(requestName, short)}`);
  }
}

/** What the first CA of the bundle may vouch for. */
export function showConstraints(bundlePem: string, screen: Screen): void {
  const [root] = certificatesFromPem(bundlePem);
  const permitted = root && nameConstraintsOf(root)?.permitted;
  if (!permitted) throw new Error('The CA of the demo is not constrained');
  screen.detail(`names       ${permitted.dns.map((domain) => `*.${domain}`).join(' ')}`);
  screen.detail(`addresses   ${permitted.ip.map(formatIpRange).join(' ')}`);
  screen.detail(`identities  ${permitted.uri.map((host) => `spiffe://${host}/…`).join(' ')}`);
}

/** What `podseal inspect` says of the volume. */
export function showVolume(directory: string, screen: Screen): void {
  const program = join(import.meta.dirname, '../dist/podseal.cjs');
  const said = execFileSync(process.execPath, [program, 'inspect', directory]).toString();
  screen.detail(said.trimEnd());
}
