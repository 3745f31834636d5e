import { createCipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { type Certificate } from './certificate.ts';
import * as der from './der.ts';
import { keyPairFromPem } from './key-pair.ts';

/**
 * PKCS#12 stores (RFC 7292) that Java and .NET read, in today's algorithms: PBES2 with PBKDF2 and
 * HMAC-SHA-256, AES-256-CBC, and a MAC by HMAC-SHA-256 (the defaults of openssl 3 and keytool 17).
 */
const iterations = 10_000;
const oids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  /** Marks a certificate as trusted for Java; without it keytool shows an empty store. */
  javaTrustedKeyUsage: '2.16.840.1.113894.746875.1.1',
  anyExtendedKeyUsage: '2.5.29.37.0',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacSha256: '1.2.840.113549.2.9',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

/** Key and chain under the alias `tls`, DER. */
export function keyStore(keyPem: string, chain: readonly Certificate[], password: string): Buffer {
  const key = keyPairFromPem(keyPem).privateKey.export({ type: 'pkcs8', format: 'der' });
  const keyId = createHash('sha256').update(key).digest();
  const marks = [attribute(oids.localKeyId, der.octetString(keyId))];
  const keyBag = der.sequence(
    der.oid(oids.shroudedKeyBag),
    der.tagged(0, encryptedKey(key, password)),
    der.setOf(friendlyName('tls'), ...marks),
  );
  const certBags = chain.map((certificate, index) =>
    certBag(certificate, index === 0 ? [friendlyName('tls'), ...marks] : []),
  );
  return store([encryptedContent(certBags, password), plainContent([keyBag])], password);
}

/** Trusted roots, DER. */
export function trustStore(roots: readonly Certificate[], password: string): Buffer {
  const bags = roots.map((root, index) =>
    certBag(root, [
      friendlyName(`ca-${index + 1}`),
      attribute(oids.javaTrustedKeyUsage, der.oid(oids.anyExtendedKeyUsage)),
    ]),
  );
  return store([encryptedContent(bags, password)], password);
}

function attribute(type: string, value: der.Der): der.Der {
  return der.sequence(der.oid(type), der.setOf(value));
}

function friendlyName(name: string): der.Der {
  return attribute(oids.friendlyName, der.bmpString(name));
}

function certBag(certificate: Certificate, attributes: readonly der.Der[]): der.Der {
  return der.sequence(
    der.oid(oids.certBag),
    der.tagged(
      0,
      der.sequence(der.oid(oids.x509Certificate), der.tagged(0, der.octetString(certificate.der))),
    ),
    ...(attributes.length > 0 ? [der.setOf(...attributes)] : []),
  );
}

function encrypt(plain: Buffer, password: string): { algorithm: der.Der; bytes: Buffer } {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const key = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const algorithm = der.sequence(
    der.oid(oids.pbes2),
    der.sequence(
      der.sequence(
        der.oid(oids.pbkdf2),
        der.sequence(
          der.octetString(salt),
          der.integer(bigEndian(iterations)),
          der.sequence(der.oid(oids.hmacSha256), der.nothing()),
        ),
      ),
      der.sequence(der.oid(oids.aes256Cbc), der.octetString(iv)),
    ),
  );
  return { algorithm, bytes: Buffer.concat([cipher.update(plain), cipher.final()]) };
}

function bigEndian(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** EncryptedPrivateKeyInfo (RFC 5958). */
function encryptedKey(key: Buffer, password: string): der.Der {
  const { algorithm, bytes } = encrypt(key, password);
  return der.sequence(algorithm, der.octetString(bytes));
}

function plainContent(bags: readonly der.Der[]): der.Der {
  return der.sequence(
    der.oid(oids.data),
    der.tagged(0, der.octetString(der.encodeDer(der.sequence(...bags)))),
  );
}

function encryptedContent(bags: readonly der.Der[], password: string): der.Der {
  const { algorithm, bytes } = encrypt(der.encodeDer(der.sequence(...bags)), password);
  return der.sequence(
    der.oid(oids.encryptedData),
    der.tagged(
      0,
      der.sequence(
        der.integer(Uint8Array.of(0)),
        der.sequence(der.oid(oids.data), algorithm, der.taggedBytes(0, bytes)),
      ),
    ),
  );
}

/** PFX with its MAC over the contents. */
function store(contents: readonly der.Der[], password: string): Buffer {
  const safe = der.encodeDer(der.sequence(...contents));
  const salt = randomBytes(16);
  const mac = createHmac('sha256', macKey(password, salt)).update(safe).digest();
  return der.encodeDer(
    der.sequence(
      der.integer(Uint8Array.of(3)),
      der.sequence(der.oid(oids.data), der.tagged(0, der.octetString(safe))),
      der.sequence(
        der.sequence(der.sequence(der.oid(oids.sha256), der.nothing()), der.octetString(mac)),
        der.octetString(salt),
        der.integer(bigEndian(iterations)),
      ),
    ),
  );
}

/** The MAC key of RFC 7292 appendix B.2 with SHA-256 (one block suffices: u = 32, v = 64). */
function macKey(password: string, salt: Buffer): Buffer {
  const blockBytes = 64;
  const text = Buffer.concat([Buffer.from(`${password}\0`, 'utf16le').swap16()]);
  const fill = (bytes: Buffer): Buffer =>
    Buffer.alloc(Math.ceil(bytes.length / blockBytes) * blockBytes, bytes);
  const macPurpose = 3;
  let key = Buffer.concat([Buffer.alloc(blockBytes, macPurpose), fill(salt), fill(text)]);
  for (let i = 0; i < iterations; i++) key = createHash('sha256').update(key).digest();
  return key;
}
