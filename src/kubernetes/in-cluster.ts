import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PodsealError } from '../errors.ts';
import { sha256Hex } from '../pki/signature.ts';
import { type ApiEndpoint } from './api-endpoint.ts';

/** The API as every pod finds it: service host and port, token and ca.crt of the service account. */
export function inClusterEndpoint(
  host: string,
  port: string,
  serviceAccountDirectory: string,
): ApiEndpoint {
  const read = (name: string): string => {
    const path = join(serviceAccountDirectory, name);
    try {
      const text = readFileSync(path, 'utf8').trim();
      if (text !== '') return text;
    } catch {
      // Said below, in the same words as for an empty file.
    }
    throw new PodsealError(
      'API_FORBIDDEN',
      `Cannot read "${path}": it is missing, empty or unreadable`,
      {
        hint: 'Mount a service account token there (automountServiceAccountToken, or a projected volume), or set PODSEAL_SERVICE_ACCOUNT_DIR.',
      },
    );
  };
  return {
    // By its colon: node's own check compiles a pattern for 4 ms at every start.
    serverUrl: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    source: serviceAccountDirectory,
    tls() {
      const ca = read('ca.crt');
      return Promise.resolve({ key: sha256Hex(ca), material: { ca } });
    },
    headers: () => Promise.resolve({ authorization: `Bearer ${read('token')}` }),
  };
}
