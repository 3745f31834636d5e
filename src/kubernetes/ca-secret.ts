import { type Listing } from '../controller/list-watch.ts';
import { type CaSecret } from '../trust/ca-secret.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Json, objectOf, textOf } from './json.ts';
import { listingOf } from './listing.ts';

/** The Secret of the CA, by its name: nothing else in the namespace is read. */
export function caSecret(
  calls: ApiCalls,
  secret: { readonly namespace: string; readonly name: string },
): {
  readonly listing: Listing<CaSecret>;
  readonly where: string;
  create(content: CaSecret): Promise<void>;
} {
  const { namespace, name } = secret;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  const where = `${namespace}/${name}`;
  return {
    where,
    listing: listingOf(calls, {
      what: `Secret ${where}`,
      resource: 'secrets',
      path,
      fieldSelector: `metadata.name=${name}`,
      rbacFile: 'examples/rbac/signer.yaml',
      read: (object) => readCaSecret(objectOf(object['data'])),
    }),
    async create({ certificate = '', key = '', root = '' }) {
      const base64 = (text: string): string => Buffer.from(text).toString('base64');
      await calls.call({
        method: 'POST',
        path,
        body: {
          metadata: { name, namespace, labels: { 'app.kubernetes.io/managed-by': 'podseal' } },
          type: 'kubernetes.io/tls',
          data: { 'tls.crt': base64(certificate), 'tls.key': base64(key), 'ca.crt': base64(root) },
        },
        attempted: {
          verb: 'create',
          resource: 'secrets',
          what: `Secret ${JSON.stringify(where)}`,
          rbac: 'apply examples/rbac/signer.yaml, or put a CA there yourself.',
        },
      });
    },
  };
}

function readCaSecret(data: Json): CaSecret {
  const entry = (name: string): string | undefined => {
    const base64 = textOf(data[name]);
    return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('utf8');
  };
  return { certificate: entry('tls.crt'), key: entry('tls.key'), root: entry('ca.crt') };
}
