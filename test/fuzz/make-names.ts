import { caseOf } from '../../src/approver/case.ts';
import { type SubjectNames } from '../../src/identity/subject-names.ts';
import { dashedAddress } from '../../src/identity/wanted-names.ts';
import { type Dice } from './dice.ts';
import { words } from './make-world.ts';
import { factsOfWorld, type World } from './world.ts';

/** What a pod may think of asking for: mostly names that follow, else anything that comes near. */
export function makeNames(dice: Dice, world: World): SubjectNames {
  if (dice.chance(25)) return oneName(dice, world);
  const { provable } = caseOf(factsOfWorld(world, ''));
  const names = {
    dnsNames: dice.some(provable.dnsNames, 6),
    ipAddresses: dice.some(provable.ipAddresses, 3),
    uris: dice.chance(80) ? provable.uris : [],
  };
  if (dice.chance(80)) return names;
  const other = oneName(dice, world);
  return {
    dnsNames: [...names.dnsNames, ...other.dnsNames],
    ipAddresses: [...names.ipAddresses, ...other.ipAddresses],
    uris: [...names.uris, ...other.uris],
  };
}

function oneName(dice: Dice, world: World): SubjectNames {
  const kind = dice.below(10);
  return {
    dnsNames: kind < 6 ? [dnsName(dice, world)] : [],
    ipAddresses: kind >= 6 && kind < 9 ? [dice.pick(addressesOf(world))] : [],
    uris: kind === 9 ? [uri(dice, world)] : [],
  };
}

function addressesOf({ pod, services }: World): readonly string[] {
  const all = [words.podIPs, words.clusterIPs, words.foreignClusterIPs, words.nodeIPs];
  const own = [...(pod?.ips ?? []), ...services.flatMap(({ clusterIPs }) => clusterIPs)];
  return [...all.flat(), ...words.otherIPs, ...own, ...own, ...own];
}

function dnsName(dice: Dice, world: World): string {
  const { pod, clusterDomain } = world;
  const namespace = dice.chance(90) ? (pod?.namespace ?? 'shop') : dice.pick(words.namespaces);
  const service = dice.pick([...words.services, ...world.services.map(({ name }) => name)]);
  const hostname = dice.chance(80) && pod?.hostname ? pod.hostname : 'web-0';
  const host = dice.pick([`${hostname}.`, '', '', '']);
  const domain = dice.pick([clusterDomain, clusterDomain, ...words.domains]);
  const dashed = dashedAddress(dice.pick(addressesOf(world)));
  const suffix = dice.pick(words.suffixes);
  const name = dice.pick([
    `${host}${service}.${namespace}.svc`,
    `${host}${service}.${namespace}.svc.${domain}`,
    `${service}.${namespace}`,
    service,
    `${host}${service}`,
    `${dashed}.${namespace}.pod.${domain}`,
    suffix,
    `web.${suffix}`,
    `web${suffix}`,
    `*.${suffix}`,
    `*.web.${suffix}`,
    `${namespace}.svc`,
  ]);
  return dice.chance(88) ? name : tricked(dice, name);
}

/** The same name to a hasty reader, or none. */
function tricked(dice: Dice, name: string): string {
  const at = dice.below(name.length + 1);
  const [before, after] = [name.slice(0, at), name.slice(at)];
  return dice.pick([
    `${before}\0${after}`,
    `${before}\n${after}`,
    `${before},DNS:${after}`,
    `${before}.${after}`,
    `${before}-${after}`,
    `${before}_${after}`,
    `${before}\u00e9${after}`,
    `${before} ${after}`,
    `${before}*${after}`,
    `${before}${after.toUpperCase()}`,
    `${name}.`,
    `.${name}`,
    `*.${name}`,
    `xn--${name}`,
    `${name}.example.com`,
    `${'a'.repeat(64)}.${name}`,
    `${'abcdefg.'.repeat(30)}${name}`,
    name.slice(1),
    '',
  ]);
}

function uri(dice: Dice, { pod, trustDomain }: World): string {
  const own = `spiffe://${trustDomain}/ns/${pod?.namespace ?? ''}/sa/${pod?.serviceAccount ?? ''}`;
  return dice.pick([
    own,
    own,
    own,
    `spiffe://${trustDomain}/ns/prod/sa/web`,
    `spiffe://${trustDomain}/ns/shop/sa/${dice.pick(words.accounts)}`,
    'spiffe://other.example/ns/shop/sa/web',
    `${own}/`,
    `${own}#x`,
    `${own}\0`,
    own.replace('spiffe', 'SPIFFE'),
    'https://web.shop.svc',
    '',
  ]);
}
