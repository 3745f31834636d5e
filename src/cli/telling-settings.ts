import { type TellingSettings } from '../agent/telling.ts';
import { callMethods, type HttpCall } from '../application/http-hook.ts';
import { type ProbeAddress } from '../application/serving.ts';
import { signalNames, type SignalTarget } from '../application/signal-hook.ts';
import { readIpAddress } from '../identity/ip-address.ts';
import { type SettingsReader } from './read-settings.ts';
import { durationFrom } from './setting-values.ts';
import { type SettingName } from './settings.ts';

/** `ownAddresses`: of the pod, in canonical text. */
export function readTelling(
  reader: SettingsReader<SettingName>,
  ownAddresses: readonly string[],
): TellingSettings {
  return {
    signal: reader.read('PODSEAL_HOOK_SIGNAL', optional(signalTarget)),
    http: reader.read('PODSEAL_HOOK_HTTP', optional(httpCall)),
    hookTimeoutMs: reader.read('PODSEAL_HOOK_TIMEOUT', durationFrom('1s')),
    probe: reader.read('PODSEAL_PROBE', optional(probeAddress(ownAddresses))),
  };
}

function optional<T>(parse: (text: string) => T): (text: string) => T | undefined {
  return (text) => (text === '' ? undefined : parse(text));
}

function signalTarget(text: string): SignalTarget {
  // Up to the last colon: names may hold some.
  const [, processName, given = ''] = /^([^/\s][^/]*):(?:SIG)?([A-Z0-9]+)$/i.exec(text) ?? [];
  const signal = signalNames.find((name) => name === given.toUpperCase());
  if (processName === undefined || signal === undefined)
    throw new Error(
      `is not the name of a process and one of ${signalNames.join(', ')}, like nginx:HUP`,
    );
  return { processName, signal };
}

/**
 * Plain HTTP alone: between two containers of one pod TLS would protect nothing, and a call that has the
 * application reload must work most of all when the certificate that it serves has expired.
 */
function httpCall(text: string): HttpCall {
  const [, given, address = ''] = /^(?:([a-z]+)\s+)?(\S+)$/i.exec(text) ?? [];
  const method = callMethods.find((each) => each === (given ?? 'POST').toUpperCase());
  if (method === undefined || !URL.canParse(address))
    throw new Error('is not a method and a URL, like POST http://127.0.0.1:9090/-/reload');
  const url = new URL(address);
  if (url.protocol !== 'http:') throw new Error('is not http: it stays inside the pod');
  if (url.username !== '' || url.password !== '')
    throw new Error('has a user in it: settings hold no secrets');
  if (!isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1')))
    throw new Error('does not call localhost, 127.0.0.1 or [::1]');
  url.hash = '';
  return { method, url: url.href };
}

function probeAddress(ownAddresses: readonly string[]): (text: string) => ProbeAddress {
  return (text) => {
    const [, bracketed, plain, port = ''] =
      /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text) ?? [];
    const host = bracketed ?? plain;
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535)
      throw new Error('is not an address and a port, like 127.0.0.1:8443 or [::1]:8443');
    const read = readIpAddress(host);
    const isOwn = 'address' in read && ownAddresses.includes(read.address);
    if (!isOwn && !isLoopback(host))
      throw new Error('is neither a loopback address nor one of the pod (POD_IPS)');
    return { host, port: Number(port) };
  };
}

function isLoopback(host: string): boolean {
  const read = readIpAddress(host);
  if ('problem' in read) return host === 'localhost';
  return read.address === '::1' || read.address.startsWith('127.');
}
