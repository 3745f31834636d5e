import { type Follower } from '../controller/list-watch.ts';
import { type LiveService } from '../identity/live-service.ts';
import { type LiveNamespace } from '../injection/live-namespace.ts';
import {
  type PublishedConfigMap,
  publishedKeys,
  type PublishedName,
  type PublishedPlace,
} from '../injection/published-config-map.ts';
import { type WebhookConfiguration } from '../injection/webhook-configuration.ts';
import { sha256Hex } from '../pki/signature.ts';
import { isOurs, stepTo, type Wanted } from './publication-step.ts';
import { maximumFileBytes, servicesFile } from './services-file.ts';
import { type ServicesView, servicesView } from './services-view.ts';

export const publishedNames = Object.keys(publishedKeys) as readonly PublishedName[];

export interface PublicationView {
  readonly services: Pick<ServicesView, 'anySelects' | 'unselecting' | 'follower'>;
  /** What a live list of the namespace's Services said; nobody is told of it. */
  learnServices(namespace: string, services: readonly LiveService[]): void;
  readonly followers: {
    readonly namespaces: Follower<LiveNamespace>;
    readonly webhooks: Follower<WebhookConfiguration>;
    readonly configMaps: Readonly<Record<PublishedName, Follower<PublishedConfigMap>>>;
  };
  webhook(): WebhookConfiguration | undefined;
  /** Whether the watch has told of it. */
  isKnown(namespace: string): boolean;
  /** False of one that is not known. */
  isTerminating(namespace: string): boolean;
  /** Labelled, or claimed because it has pods that need what is published. */
  isWanted(namespace: string): boolean;
  isLabelled(namespace: string): boolean;
  /** The namespaces whose pods are all injected. */
  injecting(): readonly string[];
  /** Every namespace that there may be something to do in. */
  all(): ReadonlySet<string>;
  claim(namespace: string): void;
  release(namespace: string): void;
  /** The namespaces that are claimed, labelled or not. */
  claimed(): readonly string[];
  standing(place: PublishedPlace): PublishedConfigMap | undefined;
  /** What is to stand in the namespace, as far as it is known: without an owner nothing, without a trust bundle no bundle. */
  wanted(namespace: string): readonly Wanted[];
  /** Bytes of its services.json. */
  fileBytes(namespace: string): number;
  /** Whether everything wanted stands there, so far as we have heard. */
  isCurrent(namespace: string): boolean;
}

interface Source {
  /** What is published in all namespaces; undefined: not known yet. */
  bundle(): string | undefined;
  /** Something that the namespace's ConfigMaps follow from, or they themselves, may have changed. */
  onChange(namespace: string): void;
  /** As `onChange`, of all namespaces. */
  onChangeOfAll(): void;
}

/** What list and watch tell of everything that publications follow from, and what they should be. */
export function publicationView(ownNamespace: string, source: Source): PublicationView {
  const namespaces = new Map<string, LiveNamespace>();
  const standing = {
    'podseal-services': new Map<string, PublishedConfigMap>(),
    'podseal-trust': new Map<string, PublishedConfigMap>(),
  };
  const claims = new Set<string>();
  /** Of services.json; the text is made anew when it is written. */
  const files = new Map<string, { readonly digest: string; readonly bytes: number }>();
  let configuration: WebhookConfiguration | undefined;
  const services = servicesView((namespace) => {
    files.delete(namespace);
    source.onChange(namespace);
  });
  const textOf = (namespace: string): string => servicesFile(services.of(namespace));
  const fileOf = (namespace: string): { readonly digest: string; readonly bytes: number } => {
    const known = files.get(namespace);
    if (known) return known;
    const text = textOf(namespace);
    const file = { digest: sha256Hex(text), bytes: Buffer.byteLength(text) };
    files.set(namespace, file);
    return file;
  };
  let trust: { readonly pem: string; readonly digest: string } | undefined;
  const trustOf = (): typeof trust => {
    const pem = source.bundle();
    if (pem !== trust?.pem) trust = pem === undefined ? undefined : { pem, digest: sha256Hex(pem) };
    return trust;
  };
  const wanted = (namespace: string): readonly Wanted[] => {
    const ownerUid = configuration?.uid;
    if (ownerUid === undefined) return [];
    const { digest, bytes } = fileOf(namespace);
    const file: Wanted = {
      ...{ namespace, name: 'podseal-services', ownerUid, digest },
      text: () => textOf(namespace),
    };
    const bundle = trustOf();
    return [
      ...(bytes > maximumFileBytes ? [] : [file]),
      ...(bundle
        ? [
            {
              ...{ namespace, name: 'podseal-trust' as const, ownerUid, digest: bundle.digest },
              text: () => bundle.pem,
            },
          ]
        : []),
    ];
  };
  const put = (configMap: PublishedConfigMap): void => {
    const { namespace, name } = configMap;
    standing[name].set(namespace, configMap);
    // Whoever put it there had a reason: a round finds out whether it still holds.
    if (isOurs(configMap, configuration?.uid)) claims.add(namespace);
  };
  const configMapFollower = (name: PublishedName): Follower<PublishedConfigMap> => ({
    put(configMap) {
      put(configMap);
      source.onChange(configMap.namespace);
    },
    remove({ namespace }) {
      standing[name].delete(namespace);
      source.onChange(namespace);
    },
    replace(all) {
      standing[name].clear();
      for (const configMap of all) put(configMap);
      source.onChangeOfAll();
    },
  });
  const configure = (next: WebhookConfiguration | undefined): void => {
    const isSameOwner = next?.uid === configuration?.uid;
    configuration = next;
    if (isSameOwner) return;
    for (const each of Object.values(standing).flatMap((map) => [...map.values()])) put(each);
    source.onChangeOfAll();
  };
  const isLabelled = (namespace: string): boolean => {
    const facts = namespaces.get(namespace);
    return facts !== undefined && (facts.injects || facts.publishes);
  };
  const isTerminating = (namespace: string): boolean =>
    namespaces.get(namespace)?.isTerminating ?? false;
  return {
    services,
    learnServices(namespace, all) {
      services.replaceIn(namespace, all);
      files.delete(namespace);
    },
    followers: {
      namespaces: {
        replace(all) {
          namespaces.clear();
          for (const each of all) namespaces.set(each.name, each);
          for (const each of claims) if (!namespaces.has(each)) claims.delete(each);
          source.onChangeOfAll();
        },
        put(each) {
          namespaces.set(each.name, each);
          source.onChange(each.name);
        },
        remove({ name }) {
          namespaces.delete(name);
          claims.delete(name);
        },
      },
      webhooks: {
        replace: (all) => configure(all[0]),
        put: configure,
        remove: () => configure(undefined),
      },
      configMaps: {
        'podseal-services': configMapFollower('podseal-services'),
        'podseal-trust': configMapFollower('podseal-trust'),
      },
    },
    webhook: () => configuration,
    isKnown: (namespace) => namespaces.has(namespace),
    isTerminating,
    isLabelled,
    isWanted: (namespace) =>
      namespace !== ownNamespace &&
      !isTerminating(namespace) &&
      (isLabelled(namespace) || claims.has(namespace)),
    injecting: () =>
      [...namespaces.values()].filter(({ injects }) => injects).map(({ name }) => name),
    all: () => new Set([...namespaces.keys(), ...claims]),
    claim: (namespace) => void claims.add(namespace),
    release: (namespace) => void claims.delete(namespace),
    claimed: () => [...claims],
    standing: ({ namespace, name }) => standing[name].get(namespace),
    wanted,
    fileBytes: (namespace) => fileOf(namespace).bytes,
    isCurrent: (namespace) =>
      wanted(namespace).every((each) => !stepTo(each, standing[each.name].get(namespace))),
  };
}
