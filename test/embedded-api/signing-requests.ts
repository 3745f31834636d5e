import { randomBytes, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type Preconditions, type Selector } from './api-request.ts';
import { checkIdentity, checkPreconditions } from './preconditions.ts';
import {
  timestamp,
  wholeSigningRequest,
  type Condition,
  type Requester,
  type SigningRequestObject,
} from './signing-request-object.ts';
import { alreadyExists, ApiFailure, invalid, notFound, resource } from './status.ts';
import { faultsOfNew, faultsOfUpdate, type Subresource } from './validation.ts';
import { type History, type Watch } from './watching.ts';

/** Admission: throws when the user may not make this change. */
export type Admit = (changed: SigningRequestObject, stored: SigningRequestObject) => void;

export interface Change {
  readonly name: string;
  readonly subresource: Subresource;
  /** The object as the client wants it, made from the stored one for a patch. */
  readonly wanted: (stored: SigningRequestObject) => SigningRequestObject;
  readonly admit: Admit;
}

/** The stored requests. Every method throws ApiFailures, as the API server would answer. */
export interface SigningRequestStore {
  create(wanted: SigningRequestObject, requester: Requester): SigningRequestObject;
  get(name: string): SigningRequestObject;
  /** In the order of their names. */
  list(): readonly SigningRequestObject[];
  /** As lists show it. */
  resourceVersion(): string;
  watch(query: URLSearchParams, isMeant: Selector): Watch;
  update(change: Change): SigningRequestObject;
  remove(name: string, preconditions: Preconditions): SigningRequestObject;
}

export function signingRequestStore(now: () => Date, history: History): SigningRequestStore {
  const stored = new Map<string, SigningRequestObject>();
  const get = (name: string): SigningRequestObject => {
    const found = stored.get(name);
    if (!found) throw notFound(name);
    return found;
  };
  const list = (): SigningRequestObject[] =>
    [...stored.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  /** Tells watchers, with the version of the change. */
  const told = (
    type: 'ADDED' | 'MODIFIED' | 'DELETED',
    object: SigningRequestObject,
  ): SigningRequestObject => {
    const metadata = { ...object.metadata, resourceVersion: history.next() };
    const written = { ...object, metadata };
    if (type === 'DELETED') stored.delete(metadata.name);
    else stored.set(metadata.name, written);
    history.tell(resource, type, wholeSigningRequest(written));
    return written;
  };
  return {
    get,
    list,
    resourceVersion: () => history.version(),
    watch(query, isMeant) {
      const present = (): object[] => list().map(wholeSigningRequest).filter(isMeant);
      return history.watch(query, { of: resource, isMeant, present });
    },
    create(wanted, requester) {
      if (wanted.metadata.resourceVersion !== '')
        throw new ApiFailure({
          code: 500,
          message: 'resourceVersion should not be set on objects to be created',
        });
      const object = prepareNew(wanted, requester, now());
      const faults = faultsOfNew(object);
      if (faults.length > 0) throw invalid(object.metadata.name, faults);
      if (stored.has(object.metadata.name)) throw alreadyExists(object.metadata.name);
      return told('ADDED', object);
    },
    update({ name, subresource, wanted, admit }) {
      const before = get(name);
      const asked = wanted(before);
      checkIdentity(asked.metadata, before.metadata);
      const changed = prepareUpdate(asked, before, { subresource, now: now() });
      const faults = faultsOfUpdate(changed, before, subresource);
      if (faults.length > 0) throw invalid(name, faults);
      admit(changed, before);
      return isDeepStrictEqual(changed, before) ? before : told('MODIFIED', changed);
    },
    remove(name, preconditions) {
      const removed = get(name);
      checkPreconditions(preconditions, removed.metadata);
      return told('DELETED', removed);
    },
  };
}

/** What the server decides by itself: identity of the object and of its requester; no status. */
function prepareNew(
  { metadata, spec }: SigningRequestObject,
  { username, uid, groups, extra }: Requester,
  now: Date,
): SigningRequestObject {
  const { name, generateName, labels, annotations } = metadata;
  return {
    metadata: {
      name: name === '' && generateName !== '' ? generateName.slice(0, 58) + suffix() : name,
      generateName,
      uid: randomUUID(),
      resourceVersion: '',
      creationTimestamp: timestamp(now),
      labels,
      annotations,
    },
    spec: { ...spec, username, uid, groups, extra },
    status: { conditions: [], certificate: '' },
  };
}

/** Five characters of those that spell no words. */
function suffix(): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  return [...randomBytes(5)].map((byte) => alphabet[byte % alphabet.length] ?? '').join('');
}

/** Each endpoint changes its own part; the rest is silently as it was. */
function prepareUpdate(
  wanted: SigningRequestObject,
  before: SigningRequestObject,
  { subresource, now }: { readonly subresource: Subresource; readonly now: Date },
): SigningRequestObject {
  const { labels, annotations } = wanted.metadata;
  const metadata = { ...before.metadata, labels, annotations };
  const conditions = stamped(wanted.status.conditions, before.status.conditions, timestamp(now));
  switch (subresource) {
    case '':
      return { ...before, metadata };
    case 'approval':
      return { metadata, spec: before.spec, status: { ...before.status, conditions } };
    case 'status': {
      const { certificate } = wanted.status;
      const status = {
        certificate,
        conditions: keepDecisions(conditions, before.status.conditions),
      };
      return { metadata, spec: before.spec, status };
    }
  }
}

function stamped(
  conditions: readonly Condition[],
  before: readonly Condition[],
  now: string,
): readonly Condition[] {
  return conditions.map((condition) => {
    const { lastUpdateTime, lastTransitionTime } = condition;
    const same = before.find(
      (each) => each.type === condition.type && each.status === condition.status,
    );
    return {
      ...condition,
      lastUpdateTime: lastUpdateTime === '' ? now : lastUpdateTime,
      lastTransitionTime:
        lastTransitionTime === '' ? (same?.lastTransitionTime ?? now) : lastTransitionTime,
    };
  });
}

/** A stale copy of Approved or Denied written through /status is no change; one more or less is left for validation. */
function keepDecisions(
  conditions: readonly Condition[],
  before: readonly Condition[],
): readonly Condition[] {
  return conditions.map((condition) => {
    if (condition.type !== 'Approved' && condition.type !== 'Denied') return condition;
    const old = before.filter((each) => each.type === condition.type);
    const wanted = conditions.filter((each) => each.type === condition.type);
    return old.length === wanted.length ? (old[wanted.indexOf(condition)] ?? condition) : condition;
  });
}
