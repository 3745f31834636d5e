import { isAbsolute, resolve } from 'node:path';
import { dnsNameProblem, isDnsLabel } from '../identity/dns-name.ts';
import { readIpAddress } from '../identity/ip-address.ts';
import { parseDurationMs } from '../runtime/duration.ts';
import { type ListenAddress } from '../runtime/web.ts';

/** Readers of single settings: each throws an Error whose message fits after the quoted value. */

export function absolutePath(text: string): string {
  if (!isAbsolute(text)) throw new Error('is not an absolute path');
  return resolve(text);
}

/** The API's own rule (kubernetes-facts 1.1): one slash, a domain of two labels or more, a path. */
export function signerName(text: string): string {
  const [domain = '', path = '', ...more] = text.split('/');
  const isFine =
    more.length === 0 &&
    domain.split('.').length >= 2 &&
    domain.split('.').every(isDnsLabel) &&
    path.split('.').every(isDnsLabel) &&
    text.length <= 571;
  if (!isFine) throw new Error('is not a signer name of the form example.com/name');
  return text;
}

export function durationFrom(minimum: string): (text: string) => number {
  const minimumMs = parseDurationMs(minimum) ?? 0;
  return (text) => {
    const ms = parseDurationMs(text);
    if (ms === undefined) throw new Error('is not a duration like 24h, 90m or 30s');
    if (ms < minimumMs) throw new Error(`is shorter than ${minimum}`);
    // The API's field is a signed 32-bit number of seconds.
    if (ms > 2 ** 31 * 1000 - 1000) throw new Error('is longer than 68 years');
    return ms;
  };
}

export function listenAddress(text: string): ListenAddress | undefined {
  if (text === 'off') return undefined;
  const [, bracketed, plain, port] =
    /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '';
  if (
    port === undefined ||
    Number(port) > 65_535 ||
    (host !== '' && 'problem' in readIpAddress(host))
  )
    throw new Error('is not an address like :9809, 127.0.0.1:9809 or [::1]:9809, nor off');
  return { host: host === '' ? undefined : host, port: Number(port) };
}

/** Why it cannot be the DNS domain of a cluster; undefined when it can. */
export function clusterDomainProblem(domain: string): string | undefined {
  if (domain === 'svc') return 'names under it would read as names of other namespaces';
  return domain.startsWith('*') ? 'it is a wildcard' : dnsNameProblem(domain);
}

export function trustDomainProblem(domain: string): string | undefined {
  return /^[a-z0-9._-]{1,255}$/.test(domain)
    ? undefined
    : 'is not a SPIFFE trust domain (lower-case letters, digits, dots, hyphens, underscores)';
}
