import { elementsOf, encodeTlv, parseTlv, type Tlv } from '../support/tlv.ts';
import { type Dice } from './dice.ts';

/** A tree of everything, also of what stands inside of OCTET STRINGs. */
export function openTree(bytes: Buffer): Tlv {
  const tree = parseTlv(bytes);
  for (const each of elementsOf(tree))
    if (each.tag === 4 && Buffer.isBuffer(each.content)) each.content = [parseTlv(each.content)];
  return tree;
}

/** Changes one thing in a tree. */
export function mutate(dice: Dice, tree: Tlv): void {
  const places = placesIn(tree);
  if (places.length === 0) return;
  const [element, siblings] = dice.pick(places);
  dice.pick(mutations)(dice, { tree, element, siblings });
}

/** Every element but the outermost, each with those beside it. */
function placesIn({ content }: Tlv): (readonly [Tlv, Tlv[]])[] {
  if (!Array.isArray(content)) return [];
  return content.flatMap((each) => [[each, content] as const, ...placesIn(each)]);
}

interface Place {
  readonly tree: Tlv;
  readonly element: Tlv;
  /** Those beside it, and itself. */
  readonly siblings: Tlv[];
}

type Mutation = (dice: Dice, place: Place) => void;

const mutations: readonly Mutation[] = [
  flipBit,
  flipBit,
  changeTag,
  changeTag,
  changeText,
  changeText,
  changeLength,
  (dice, { element }) => void (element.content = dice.bytes(dice.below(6))),
  (dice, { element }) => wrap(element, dice.pick([0x30, 0x31, 4])),
  (dice, { siblings, element }) => insert(dice, siblings, copyOf(element)),
  (_, { siblings, element }) => siblings.splice(siblings.indexOf(element), 1),
  (_, { siblings }) => siblings.reverse(),
  (dice, { siblings }) => insert(dice, siblings, strangeElement(dice)),
  (dice, { element }) => insert(dice, membersOf(element), strangeElement(dice)),
  ...twice<Mutation>((dice, { tree }) =>
    insert(dice, listWith(tree, isName), copyOf(dice.pick(strangeNames))),
  ),
  ...twice<Mutation>((dice, { tree }) =>
    insert(dice, listWith(tree, isExtension), strangeExtension(dice)),
  ),
  (dice, { tree }) => insert(dice, listWith(tree, isRelativeName), list(0x31, subjectPart(dice))),
  (dice, { tree }) => insert(dice, listWith(tree, isSubjectPart), subjectPart(dice)),
  sayNotCritical,
  (dice, { tree }) => insert(dice, listWith(tree, isAttribute), strangeAttribute(dice)),
  (dice, { tree }) =>
    insert(dice, listWith(tree, isExtensions), { tag: 0x30, content: [strangeExtension(dice)] }),
];

function twice<T>(item: T): T[] {
  return [item, item];
}

function membersOf({ content }: Tlv): Tlv[] {
  return Array.isArray(content) ? content : [];
}

/** The members of the first element that has such a member. */
function listWith(tree: Tlv, is: (member: Tlv) => boolean): Tlv[] {
  return (
    elementsOf(tree)
      .map(membersOf)
      .find((members) => members.some(is)) ?? []
  );
}

const isSubjectPart = (tlv: Tlv): boolean => tlv.tag === 0x30 && membersOf(tlv)[0]?.tag === 6;
const isRelativeName = (tlv: Tlv): boolean =>
  tlv.tag === 0x31 && membersOf(tlv).some(isSubjectPart);
const isName = ({ tag }: Tlv): boolean => [0x82, 0x86, 0x87].includes(tag);
const isExtension = (tlv: Tlv): boolean => tlv.tag === 0x30 && membersOf(tlv).at(-1)?.tag === 4;
const isExtensions = (tlv: Tlv): boolean => tlv.tag === 0x30 && membersOf(tlv).some(isExtension);
const isAttribute = (tlv: Tlv): boolean => tlv.tag === 0x30 && membersOf(tlv).at(-1)?.tag === 0x31;

function copyOf({ tag, content, length }: Tlv): Tlv {
  const copy = Array.isArray(content) ? content.map(copyOf) : content;
  return length ? { tag, content: copy, length } : { tag, content: copy };
}

function insert(dice: Dice, siblings: Tlv[], element: Tlv): void {
  siblings.splice(dice.below(siblings.length + 1), 0, element);
}

function wrap(element: Tlv, tag: number): void {
  element.content = [{ ...element }];
  element.tag = tag;
}

function flipBit(dice: Dice, { element }: Place): void {
  const { content } = element;
  if (Array.isArray(content) || content.length === 0) {
    element.tag ^= 1 << dice.below(8);
    return;
  }
  const bytes = Buffer.from(content);
  const at = dice.below(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
  element.content = bytes;
}

/** DER leaves a default out. */
function sayNotCritical(dice: Dice, { tree }: Place): void {
  const { content } = dice.pick([...listWith(tree, isExtension), tree]);
  if (Array.isArray(content)) content.splice(1, content.length - 2, hex(1, '00'));
}

const tags = [1, 2, 3, 4, 5, 6, 10, 12, 18, 19, 20, 22, 30, 31, 0x24, 0x30, 0x31, 0x3f].concat([
  0x80, 0x81, 0x82, 0x83, 0x84, 0x86, 0x87, 0x88, 0xa0, 0xa1, 0xa2, 0xa4, 0x9f, 0xbf,
]);

function changeTag(dice: Dice, { element }: Place): void {
  element.tag = dice.chance(70) ? dice.pick(tags) : dice.below(256);
}

function changeLength(dice: Dice, { element }: Place): void {
  const { content } = element;
  const length = Array.isArray(content)
    ? Buffer.concat(content.map(encodeTlv)).length
    : content.length;
  const [high, low] = [(length >> 8) & 0xff, length & 0xff];
  element.length = dice.pick([
    Buffer.of(0x80),
    Buffer.of(0x81, low),
    Buffer.of(0x82, high, low),
    Buffer.of(0x84, 0, 0, high, low),
    Buffer.of((length + 1) & 0x7f),
    Buffer.of((length - 1) & 0x7f),
    Buffer.of(0xff),
  ]);
}

const texts = [
  'web.shop.svc',
  'WEB.shop.svc',
  'payments.prod.svc',
  'google.com',
  '*.shop.svc',
].concat(['web.shop.svc\0', '', '10.1.0.7', 'w\u00e9b.shop.svc']);

function changeText(dice: Dice, { element }: Place): void {
  element.content = Buffer.from(dice.pick(texts), dice.pick(['latin1', 'utf8', 'utf16le']));
  if (dice.chance(30)) element.tag = dice.pick([0x0c, 0x13, 0x14, 0x16, 0x1c, 0x1e]);
}

function strangeElement(dice: Dice): Tlv {
  const contents = ['', '00', 'ff', '7765622e73686f702e737663'].map((hex) =>
    Buffer.from(hex, 'hex'),
  );
  return { tag: dice.pick(tags), content: dice.pick([...contents, dice.bytes(4)]) };
}

const text = (tag: number, content: string): Tlv => ({ tag, content: Buffer.from(content) });
const hex = (tag: number, content: string): Tlv => ({ tag, content: Buffer.from(content, 'hex') });
const list = (tag: number, ...content: Tlv[]): Tlv => ({ tag, content });

const strangeNames: readonly Tlv[] = [
  text(0x81, 'me@example.com'),
  text(0x82, 'payments.prod.svc'),
  list(0xa2, text(0x16, 'payments.prod.svc')),
  list(0xa4, list(0x30)),
  list(0xa0, hex(6, '2a'), list(0xa0, text(0x0c, 'x'))),
  text(0x86, 'spiffe://cluster.local/ns/prod/sa/payments'),
  hex(0x87, '0a010007'),
  hex(0x87, '0a010007ffffffff'),
  hex(0x87, '00000000000000000000ffff0a010007'),
  hex(0x87, '0a01000700'),
  hex(0x88, '2a'),
  text(0x16, 'payments.prod.svc'),
];

/** commonName, organizationName. */
function subjectPart(dice: Dice): Tlv {
  const value = text(dice.pick([0x0c, 0x13, 0x16]), dice.pick(texts));
  return list(0x30, hex(6, dice.pick(['550403', '55040a'])), value);
}

const strangeValues: readonly Tlv[] = [
  list(0x30),
  list(0x30, hex(1, 'ff')),
  list(0x30, hex(1, '00')),
  list(0x30, hex(1, 'ff'), hex(2, '00')),
  list(0x30, text(0x82, 'web.shop.svc')),
  list(0x30, text(0x82, 'payments.prod.svc')),
  // keyUsage: with key encipherment, alone, with unused bits that are not, cert sign.
  hex(3, '05a0'),
  hex(3, '0780'),
  hex(3, '0080'),
  hex(3, '0204'),
  // extendedKeyUsage: server auth, code signing.
  list(0x30, hex(6, '2b06010505070301')),
  list(0x30, hex(6, '2b06010505070303')),
];

const extensionIds = [
  '551d11',
  '551d0f',
  '551d25',
  '551d13',
  '551d1e',
  '551d0e',
  '551d8011',
  '2a0304',
];

function strangeExtension(dice: Dice): Tlv {
  const critical = dice.pick([[], [], [hex(1, 'ff')], [hex(1, '00')], [hex(1, '01')]]);
  const value = copyOf(dice.pick(strangeValues));
  return list(0x30, hex(6, dice.pick(extensionIds)), ...critical.map(copyOf), list(4, value));
}

/** extensionRequest, challengePassword, Microsoft's extensionRequest. */
const attributeIds = ['2a864886f70d01090e', '2a864886f70d010907', '2b0601040182370201' + '0e'];

function strangeAttribute(dice: Dice): Tlv {
  const value = dice.chance(50)
    ? copyOf(dice.pick(strangeValues))
    : list(0x30, strangeExtension(dice));
  return list(0x30, hex(6, dice.pick(attributeIds)), list(0x31, value));
}
