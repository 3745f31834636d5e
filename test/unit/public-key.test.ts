import assert from 'node:assert/strict';
import {
  createPublicKey,
  ECDH,
  generateKeyPairSync,
  randomBytes,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { describe, test } from 'node:test';
import * as der from '../../src/pki/der.ts';
import { distinguishedName } from '../../src/pki/distinguished-name.ts';
import { keyAlgorithmOf, publicKeyProblem } from '../../src/pki/public-key.ts';
import { atNoonPlus, dayMs } from '../support/certificate-builders.ts';

const derOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const keyOf = (spki: Buffer): KeyObject =>
  createPublicKey({ key: spki, type: 'spki', format: 'der' });

/** The problem of the key in these bytes, which OpenSSL reads without complaint. */
const problemOf = (spki: Buffer): string | undefined => publicKeyProblem(keyOf(spki), spki);

const refuses = (spki: Buffer, why: RegExp): void => {
  const problem = problemOf(spki);
  assert.match(problem ?? 'no problem', why);
  assert.match(problem ?? '', /^its key is .+; accepted are P-256 and P-384 .+ exponent 65537$/);
};

const spkiOf = (algorithm: der.Der, bits: Uint8Array): Buffer =>
  der.encodeDer(der.sequence(algorithm, der.bitString(bits)));

const ecKey = (namedCurve: string): KeyObject =>
  generateKeyPairSync('ec', { namedCurve }).publicKey;

describe('publicKeyProblem()', () => {
  for (const curve of ['P-256', 'P-384'])
    test(`finds nothing wrong with keys on ${curve}`, () => {
      for (let i = 0; i < 50; i++) assert.equal(problemOf(derOf(ecKey(curve))), undefined);
    });

  for (const [curve, called] of [
    ['P-224', 'secp224r1'],
    ['P-521', 'secp521r1'],
    ['secp256k1', 'secp256k1'],
    ['prime192v1', 'prime192v1'],
    ['brainpoolP256r1', 'brainpoolP256r1'],
  ] as const)
    test(`refuses a key on ${curve}`, () => {
      refuses(derOf(ecKey(curve)), new RegExp(`^its key is an EC key on ${called}; `));
    });

  for (const type of ['x25519', 'x448', 'ed448'] as const)
    test(`refuses a key of type ${type}`, () => {
      // The published types have one overload for each.
      const { publicKey } = generateKeyPairSync(type as 'ed448');
      refuses(derOf(publicKey), new RegExp(`^its key is of type ${type}; `));
    });

  test('refuses an RSA key for PSS alone', () => {
    const { publicKey } = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
    refuses(derOf(publicKey), /^its key is of type rsa-pss; /);
  });
});

describe('publicKeyProblem() of another encoding of a good point', () => {
  const ecPublicKey = '1.2.840.10045.2.1';
  for (const [algorithm, curve, curveOid] of [
    ['ECDSAP256', 'prime256v1', '1.2.840.10045.3.1.7'],
    ['ECDSAP384', 'secp384r1', '1.3.132.0.34'],
  ] as const) {
    const spki = derOf(ecKey(curve));
    const [, bits] = der.membersOf(der.decodeDer(spki), 'sequence', 'key');
    const point = der.bitsOf(bits, 'point').bytes;
    const inForm = (form: 'compressed' | 'hybrid' | 'uncompressed'): Buffer => {
      const bytes = ECDH.convertKey(point, curve, undefined, undefined, form) as Buffer;
      return spkiOf(der.sequence(der.oid(ecPublicKey), der.oid(curveOid)), bytes);
    };
    const why = new RegExp(`^its key is ${algorithm} in another encoding; `);

    test(`takes an uncompressed point on ${curve}, built by hand`, () => {
      assert.deepEqual(inForm('uncompressed'), spki);
      assert.equal(problemOf(inForm('uncompressed')), undefined);
    });

    for (const form of ['compressed', 'hybrid'] as const)
      test(`refuses a ${form} point on ${curve}, which OpenSSL writes again as it was`, () => {
        const other = inForm(form);
        assert.deepEqual(derOf(keyOf(other)), other);
        refuses(other, why);
      });

    test(`refuses explicit parameters of ${curve}, which OpenSSL writes again as they were`, () => {
      const { publicKey } = generateKeyPairSync('ec', {
        namedCurve: curve,
        paramEncoding: 'explicit',
      });
      const explicit = derOf(publicKey);
      assert.deepEqual(derOf(keyOf(explicit)), explicit);
      refuses(explicit, why);
    });

    test(`refuses bytes after a key on ${curve}`, () => {
      refuses(Buffer.concat([spki, Buffer.of(5, 0)]), why);
    });

    test(`leaves it to OpenSSL to refuse a point beside ${curve}`, () => {
      const beside = Buffer.from(spki);
      beside[beside.length - 1] = (beside.at(-1) ?? 0) ^ 1;
      assert.throws(() => keyOf(beside));
    });
  }
});

describe('publicKeyProblem() of RSA', () => {
  /** A modulus of random bits without a factor below 752, as far as `publicKeyProblem()` can see a real one. */
  const modulusOf = (bits: number): bigint => {
    const random = BigInt(`0x${randomBytes(Math.ceil(bits / 8)).toString('hex')}`);
    let modulus = BigInt.asUintN(bits - 1, random) | (1n << BigInt(bits - 1)) | 1n;
    const hasSmallFactor = (): boolean => {
      for (let factor = 3n; factor < 752n; factor += 2n) if (modulus % factor === 0n) return true;
      return false;
    };
    while (hasSmallFactor()) modulus += 2n;
    return modulus;
  };
  const bytesOf = (value: bigint): Buffer => {
    const hex = value.toString(16);
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  };
  const rsaEncryption = '1.2.840.113549.1.1.1';
  const rsa = (
    modulus: bigint,
    exponent = 65537n,
    algorithm: der.Der = der.sequence(der.oid(rsaEncryption), der.nothing()),
  ): Buffer => {
    const numbers = der.sequence(der.integer(bytesOf(modulus)), der.integer(bytesOf(exponent)));
    return spkiOf(algorithm, der.encodeDer(numbers));
  };

  test('finds nothing wrong with a key that was generated', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    assert.equal(publicKeyProblem(publicKey, derOf(publicKey)), undefined);
  });

  for (const [bits, algorithm] of [
    [2048, 'RSA2048'],
    [2049, 'RSA2048'],
    [3071, 'RSA2048'],
    [3072, 'RSA3072'],
    [4095, 'RSA3072'],
    [4096, 'RSA4096'],
  ] as const)
    test(`takes ${bits} bits as ${algorithm}`, () => {
      const spki = rsa(modulusOf(bits));
      assert.equal(problemOf(spki), undefined);
      assert.equal(keyAlgorithmOf(keyOf(spki)), algorithm);
    });

  for (const bits of [512, 1024, 1536, 2047, 4097, 8192])
    test(`refuses ${bits} bits`, () => {
      const spki = rsa(modulusOf(bits));
      refuses(spki, new RegExp(`^its key is an RSA key of ${bits} bits; `));
      assert.equal(keyAlgorithmOf(keyOf(spki)), undefined);
    });

  for (const exponent of [1n, 3n, 17n, 65535n, 65539n, 2n ** 32n + 1n])
    test(`refuses the exponent ${exponent}`, () => {
      refuses(rsa(modulusOf(2048), exponent), new RegExp(`an RSA key with exponent ${exponent};`));
    });

  test('does not write out a huge exponent', () => {
    refuses(rsa(modulusOf(2048), 10n ** 300n + 1n), /an RSA key with an exponent of 301 digits;/);
  });

  for (const factor of [2n, 3n, 5n, 251n, 257n, 743n, 751n])
    test(`refuses a modulus that ${factor} divides`, () => {
      const why = new RegExp(`an RSA key whose modulus is divisible by ${factor};`);
      refuses(rsa(modulusOf(2100) * factor), why);
      refuses(rsa(modulusOf(2100) * factor * 751n), why);
    });

  test('looks for no factor beyond 751', () => {
    assert.equal(problemOf(rsa(modulusOf(2100) * 757n)), undefined);
  });

  const modulus = modulusOf(2048);
  const numbers = (modulusBytes: Uint8Array, exponentBytes: Uint8Array): Buffer =>
    Buffer.concat([
      Buffer.of(0x30, 0x82, 0, 0, 0x02, 0x82, modulusBytes.length >> 8, modulusBytes.length & 0xff),
      modulusBytes,
      Buffer.of(0x02, exponentBytes.length),
      exponentBytes,
    ]);
  const spkiWith = (modulusBytes: Uint8Array, exponentBytes: Uint8Array): Buffer => {
    const inner = numbers(modulusBytes, exponentBytes);
    inner.writeUInt16BE(inner.length - 4, 2);
    return spkiOf(der.sequence(der.oid(rsaEncryption), der.nothing()), inner);
  };
  const padded = Buffer.concat([Buffer.of(0), bytesOf(modulus)]);

  test('takes the numbers in DER, built by hand', () => {
    assert.deepEqual(spkiWith(padded, Buffer.of(1, 0, 1)), rsa(modulus));
  });

  for (const [what, spki] of [
    ['without NULL', rsa(modulus, 65537n, der.sequence(der.oid(rsaEncryption)))],
    [
      'with the old OID of X.500',
      rsa(modulus, 65537n, der.sequence(der.oid('2.5.8.1.1'), der.nothing())),
    ],
    ['with a padded modulus', spkiWith(Buffer.concat([Buffer.of(0), padded]), Buffer.of(1, 0, 1))],
    ['with a padded exponent', spkiWith(padded, Buffer.of(0, 1, 0, 1))],
    ['with bytes after it', Buffer.concat([rsa(modulus), Buffer.of(5, 0)])],
  ] as const)
    test(`refuses a key ${what}`, () => {
      refuses(spki, /an RSA key in another encoding than DER wants;/);
    });
});

/** Points of the curve of RFC 8032 5.1, to find those of small order without believing a table. */
const p = 2n ** 255n - 19n;
const mod = (value: bigint): bigint => ((value % p) + p) % p;
const power = (base: bigint, exponent: bigint): bigint => {
  let [result, square] = [1n, mod(base)];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = mod(result * square);
    square = mod(square * square);
  }
  return result;
};
const inverse = (value: bigint): bigint => power(value, p - 2n);
const d = mod(-121665n * inverse(121666n));

interface Point {
  readonly x: bigint;
  readonly y: bigint;
}
const neutral: Point = { x: 0n, y: 1n };
const add = (a: Point, b: Point): Point => {
  const product = mod(d * a.x * b.x * a.y * b.y);
  return {
    x: mod((a.x * b.y + b.x * a.y) * inverse(1n + product)),
    y: mod((a.y * b.y + a.x * b.x) * inverse(1n - product)),
  };
};
const times = (factor: bigint, point: Point): Point => {
  let [result, double] = [neutral, point];
  for (let rest = factor; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = add(result, double);
    double = add(double, double);
  }
  return result;
};
const isNeutral = ({ x, y }: Point): boolean => x === 0n && y === 1n;
/** A point with this y, if there is one. */
const pointAt = (y: bigint): Point | undefined => {
  const square = mod((y * y - 1n) * inverse(d * y * y + 1n));
  const root = power(square, (p + 3n) / 8n);
  const x = [root, mod(root * power(2n, (p - 1n) / 4n))].find(
    (each) => mod(each * each) === square,
  );
  return x === undefined ? undefined : { x, y };
};
/** The order of the base point. */
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The eight points whose order divides 8: multiples of one of order 8. */
const smallPoints = (): readonly Point[] => {
  for (let y = 2n; ; y++) {
    const found = pointAt(y);
    const generator = found && times(order, found);
    if (generator && !isNeutral(times(4n, generator)))
      return Array.from({ length: 8 }, (_, factor) => times(BigInt(factor), generator));
  }
};

const encoded = (y: bigint, sign: bigint): Buffer =>
  Buffer.from((y | (sign << 255n)).toString(16).padStart(64, '0'), 'hex').reverse();

/** Every 32 bytes that a forgiving reader takes for this point. */
const encodingsOf = ({ x, y }: Point): readonly Buffer[] => {
  const signs = x === 0n ? [0n, 1n] : [x & 1n];
  const ys = y + p < 2n ** 255n ? [y, y + p] : [y];
  return ys.flatMap((each) => signs.map((sign) => encoded(each, sign)));
};

const ed25519 = '1.3.101.112';
const ed25519Spki = (point: Uint8Array): Buffer => spkiOf(der.sequence(der.oid(ed25519)), point);

/**
 * A self-signed certificate that nobody's private key has signed: R is the neutral point and S is 0,
 * so that S B = R + k A whenever k A is neutral (RFC 8032 5.1.7). A certificate, because OpenSSL alone
 * judges it: newer versions of Node's own verify() know the points of small order, older ones do not.
 */
function forgedCertificate(spki: Buffer, serial: number): X509Certificate {
  const algorithm = der.sequence(der.oid(ed25519));
  const name = distinguishedName('forged');
  const content = der.sequence(
    der.tagged(0, der.integer(Uint8Array.of(2))),
    der.integer(Uint8Array.of(serial >> 8, serial & 0xff)),
    algorithm,
    name,
    der.sequence(der.time(atNoonPlus(0)), der.time(atNoonPlus(dayMs))),
    name,
    der.decodeDer(spki),
  );
  const signature = Buffer.concat([encoded(1n, 0n), Buffer.alloc(32)]);
  return new X509Certificate(
    der.encodeDer(der.sequence(content, algorithm, der.bitString(signature))),
  );
}

describe('publicKeyProblem() of Ed25519', () => {
  const points = smallPoints();
  const encodings = points.flatMap(encodingsOf);

  test('finds nothing wrong with keys that were generated', () => {
    for (let i = 0; i < 200; i++) {
      const { publicKey } = generateKeyPairSync('ed25519');
      assert.equal(publicKeyProblem(publicKey, derOf(publicKey)), undefined);
    }
  });

  test('knows eight points of small order, in fourteen encodings', () => {
    assert.equal(new Set(points.map(({ x, y }) => `${x},${y}`)).size, 8);
    assert.ok(points.every((point) => isNeutral(times(8n, point))));
    assert.equal(new Set(encodings.map((each) => each.toString('hex'))).size, 14);
  });

  for (const encoding of encodings)
    test(`refuses ${encoding.toString('hex')}, under which anybody can sign`, () => {
      const spki = ed25519Spki(encoding);
      // The signature is always the same. It fits when the order of the point divides a hash over the
      // certificate, so for one serial in eight at the worst.
      const serials = Array.from({ length: 300 }, (_, serial) => serial + 1);
      assert.ok(serials.some((serial) => forgedCertificate(spki, serial).verify(keyOf(spki))));
      const y = BigInt.asUintN(255, BigInt(`0x${Buffer.from(encoding).reverse().toString('hex')}`));
      refuses(
        spki,
        y < p ? /Ed25519 point of small order;/ : /Ed25519 point in a form that is not/,
      );
    });

  test('refuses every y that is not below p, and takes the last one that is', () => {
    for (let y = p; y < 2n ** 255n; y++)
      for (const sign of [0n, 1n])
        refuses(
          ed25519Spki(encoded(y, sign)),
          /^its key is an Ed25519 point in a form that is not/,
        );
    assert.equal(problemOf(ed25519Spki(encoded(p - 2n, 0n))), undefined);
  });

  test('takes a y that shares all but one byte with p', () => {
    for (let index = 1; index < 32; index++) {
      const y = encoded(p, 0n);
      y[index] = (y[index] ?? 0) - 1;
      assert.equal(problemOf(ed25519Spki(y)), undefined);
    }
  });

  test('is about forgeries that fail under an honest key', () => {
    // What the forgeries above do not show: that X509Certificate.verify() can say no.
    const spki = derOf(generateKeyPairSync('ed25519').publicKey);
    for (let serial = 1; serial < 100; serial++)
      assert.equal(forgedCertificate(spki, serial).verify(keyOf(spki)), false);
  });

  test('refuses bytes after the key', () => {
    const spki = derOf(generateKeyPairSync('ed25519').publicKey);
    const why = /^its key is ED25519 in another encoding;/;
    refuses(Buffer.concat([spki, Buffer.of(5, 0)]), why);
  });
});

describe('keyAlgorithmOf()', () => {
  for (const [key, expected] of [
    [ecKey('P-256'), 'ECDSAP256'],
    [ecKey('P-384'), 'ECDSAP384'],
    [ecKey('P-521'), undefined],
    [ecKey('secp256k1'), undefined],
    [generateKeyPairSync('ed25519').publicKey, 'ED25519'],
    [generateKeyPairSync('ed448').publicKey, undefined],
    [generateKeyPairSync('x25519').publicKey, undefined],
    [generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey, 'RSA2048'],
    [generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey, undefined],
  ] as const) {
    const details = key.asymmetricKeyDetails?.namedCurve ?? '';
    test(`says ${expected} for a key ${key.asymmetricKeyType} ${details}`, () => {
      assert.equal(keyAlgorithmOf(key), expected);
    });
  }
});
