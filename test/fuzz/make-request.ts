import { generateKeyPairSync, sign } from 'node:crypto';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { distinguishedName } from '../../src/pki/distinguished-name.ts';
import * as der from '../../src/pki/der.ts';
import {
  encodeExtension,
  extendedKeyUsage,
  keyUsage,
  subjectAltName,
  type Usage,
} from '../../src/pki/extensions.ts';
import { keyPairOf, type KeyPair } from '../../src/pki/key-pair.ts';
import { basicConstraints } from '../support/certificate-builders.ts';
import { extensionRequest } from '../support/crafted-request.ts';
import { encodeTlv, type Tlv } from '../support/tlv.ts';
import { type Dice } from './dice.ts';
import { mutate, openTree } from './mutate.ts';
import { type World } from './world.ts';

/** A certification request, and whether its structure is one that honest programs make. */
export interface Made {
  readonly text: string;
  readonly isHonest: boolean;
}

const ec = (namedCurve: string): KeyPair =>
  keyPairOf(generateKeyPairSync('ec', { namedCurve }).privateKey);
const rsa = (modulusLength: number, publicExponent = 65537): KeyPair =>
  keyPairOf(generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey);
const ed25519 = (): KeyPair => keyPairOf(generateKeyPairSync('ed25519').privateKey);

/** Some are made anew with every run: which key it is must not matter. Frequent ones are quick to sign with. */
const keys: readonly KeyPair[] = [
  ...Array.from({ length: 14 }, () => ec('P-256')),
  ...Array.from({ length: 4 }, ed25519),
  ec('P-384'),
  rsa(2048),
];
const weakKeys: readonly KeyPair[] = [
  ec('P-521'),
  ec('P-224'),
  ec('secp256k1'),
  rsa(1024),
  rsa(2048, 3),
];

/** A request for the names; on an even throw of the dice, something in it is not as it should be. */
export function makeRequest(dice: Dice, names: SubjectNames, world: World): Made {
  const key = dice.chance(98) ? dice.pick(keys) : dice.pick(weakKeys);
  const [commonName] = dice.chance(25)
    ? dice.some(dice.chance(90) ? names.dnsNames : ['web.shop.svc'], 1)
    : [];
  const info = openTree(der.encodeDer(infoOf(dice, { names, commonName, key }, world)));
  const isForged = dice.chance(50);
  const mutations = isForged && dice.chance(85) ? 1 + dice.below(dice.chance(80) ? 1 : 4) : 0;
  for (let i = 0; i < mutations; i++) mutate(dice, info);
  const request = signed(dice, info, { key, isForged });
  const text = pem(request, 64);
  return isForged && dice.chance(20)
    ? { text: trickedPem(dice, text, request), isHonest: false }
    : { text, isHonest: !isForged };
}

/** Usages that a request can say itself. */
const copied = ['digital signature', 'key encipherment', 'cert sign', 'server auth', 'client auth'];

function infoOf(
  dice: Dice,
  asked: {
    readonly names: SubjectNames;
    readonly commonName: string | undefined;
    readonly key: KeyPair;
  },
  world: World,
): der.Der {
  const usages = world.usages as Usage[];
  const copies = usages.every((each) => copied.includes(each)) && dice.chance(60);
  const extensions = [
    subjectAltName(asked.names, dice.chance(50)),
    copies ? keyUsage(usages) : undefined,
    copies ? extendedKeyUsage(usages) : undefined,
    dice.chance(20) ? basicConstraints(false) : undefined,
  ].filter((each) => each !== undefined);
  return der.sequence(
    der.integer(Uint8Array.of(0)),
    distinguishedName(asked.commonName),
    der.decodeDer(asked.key.publicKeyDer),
    der.tagged(
      0,
      der.sequence(
        der.oid(extensionRequest),
        der.setOf(der.sequence(...extensions.map(encodeExtension))),
      ),
    ),
  );
}

const nothing: Tlv = { tag: 5, content: Buffer.alloc(0) };
const oid = (hex: string): Tlv => ({ tag: 6, content: Buffer.from(hex, 'hex') });

const algorithms = {
  ec: [
    ['sha256', [oid('2a8648ce3d040302')]],
    ['sha384', [oid('2a8648ce3d040303')]],
    ['sha512', [oid('2a8648ce3d040304')]],
    ['sha1', [oid('2a8648ce3d0401')]],
    ['sha256', [oid('2a8648ce3d040302'), nothing]],
  ],
  rsa: [
    ['sha256', [oid('2a864886f70d01010b'), nothing]],
    ['sha384', [oid('2a864886f70d01010c'), nothing]],
    ['sha512', [oid('2a864886f70d01010d'), nothing]],
    ['sha1', [oid('2a864886f70d010105'), nothing]],
    ['sha256', [oid('2a864886f70d01010b')]],
  ],
  ed25519: [[null, [oid('2b6570')]]],
} as const;

/** Signed with the right key, mostly. The last two algorithms of each kind are no honest ones. */
function signed(
  dice: Dice,
  info: Tlv,
  { key, isForged }: { readonly key: KeyPair; readonly isForged: boolean },
): Buffer {
  const bytes = encodeTlv(info);
  const wrong = isForged && dice.chance(4) ? dice.pick(keys) : key;
  const kind = wrong.privateKey.asymmetricKeyType as keyof typeof algorithms;
  const all: readonly (readonly [string | null, readonly Tlv[]])[] = algorithms[kind];
  const honest = all.slice(0, 3);
  const [hash, identifier] = dice.pick(isForged && dice.chance(5) ? all : honest);
  const signature = sign(hash, bytes, wrong.privateKey);
  const tail: Tlv = {
    tag: 0x30,
    content: [
      { tag: 0x30, content: identifier.map((each) => ({ ...each })) },
      { tag: 3, content: Buffer.concat([Buffer.of(0), signature]) },
    ],
  };
  if (isForged && dice.chance(8)) mutate(dice, tail);
  const rest = Array.isArray(tail.content) ? tail.content.map(encodeTlv) : [];
  if (isForged && dice.chance(3)) rest.push(encodeTlv({ tag: dice.below(256), content: [] }));
  const whole = encodeTlv({ tag: 0x30, content: Buffer.concat([bytes, ...rest]) });
  return isForged && dice.chance(2) ? Buffer.concat([whole, dice.bytes(1 + dice.below(3))]) : whole;
}

function pem(request: Buffer, width: number, label = 'CERTIFICATE REQUEST'): string {
  const lines = request.toString('base64').match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Text that readers of PEM take differently. */
function trickedPem(dice: Dice, text: string, request: Buffer): string {
  const at = dice.below(text.length);
  const body = text.indexOf('\n') + 1;
  return dice.pick([
    text.replaceAll('\n', '\r\n'),
    `\n  ${text}\n\t`,
    text.trimEnd(),
    pem(request, 76),
    pem(request, 10_000),
    pem(request, 1 + dice.below(70)),
    text + text,
    `x\n${text}`,
    `${text}x`,
    `-----BEGIN JUNK-----\n${text}`,
    `-----BEGIN CERTIFICATE REQUEST-----\n${text}`,
    pem(request, 64, 'NEW CERTIFICATE REQUEST'),
    `${text.slice(0, body)}A: b\n\n${text.slice(body)}`,
    text.slice(0, at) + String.fromCharCode(dice.below(256)) + text.slice(at),
    text.slice(0, at) + String.fromCharCode(dice.below(128)) + text.slice(at + 1),
    text.slice(0, at) + text.slice(at + 1),
    text.replace('=', 'A'),
    text.replaceAll('=', ''),
    ` ${text.replaceAll('\n', '\n ')}`,
    text.replaceAll('\n', ' \n'),
    `${text}\0`,
    text.replaceAll('\n', '\r'),
    text.replace('CERTIFICATE', 'CERTIFICATE '),
  ]);
}
