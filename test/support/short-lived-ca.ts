import { randomBytes } from 'node:crypto';
import { generateKey } from '../../src/node/key-generator.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import {
  authorityOf,
  type Authority,
  makeIntermediate,
  makeRoot,
} from '../../src/signer/authority.ts';

/** A CA as Secret podseal-ca holds it; all PEM. */
export interface StoredCa {
  readonly certificate: string;
  readonly key: string;
  readonly root: string;
}

/** A root that goes on, with CAs below it that do not: nothing is valid beyond its issuer. */
export interface ShortLivedCas {
  next(lifetimeMs: number): Promise<StoredCa>;
}

const scope = { clusterDomain: 'cluster.local', trustDomain: 'cluster.local' };

/** Its CAs are called `NAME CA 1`, `NAME CA 2`, and so on. */
export async function shortLivedCas(name: string): Promise<ShortLivedCas> {
  const keyPair = await generateKey('ECDSAP256');
  const request = (commonName: string, lifetimeMs: number) => ({
    ...scope,
    commonName,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + lifetimeMs),
    serial: randomBytes(16),
  });
  const root = makeRoot({ ...request(`${name} root`, 86_400_000), pathLength: 1 }, keyPair);
  const authority: Authority = authorityOf(root, privateKeyPem(keyPair));
  let made = 0;
  return {
    async next(lifetimeMs) {
      const own = await generateKey('ECDSAP256');
      const asked = request(`${name} CA ${++made}`, lifetimeMs);
      const certificate = makeIntermediate(asked, own, authority);
      return { certificate, key: privateKeyPem(own), root };
    },
  };
}
