import { randomBytes, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  timestamp,
  type Condition,
  type Requester,
  type SigningRequestObject,
} from './signing-request-object.ts';
import { alreadyExists, ApiFailure, badRequest, conflict, invalid, notFound } from './status.ts';
import { faultsOfNew, faultsOfUpdate, type Subresource } from './validation.ts';

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
  /** How many changes there have been, as lists show it. */
  resourceVersion(): string;
  update(change: Change): SigningRequestObject;
  remove(name: string, preconditions: Preconditions): SigningRequestObject;
}

export interface Preconditions {
  readonly uid: string;
  readonly resourceVersion: string;
}

export function signingRequestStore(now: () => Date): SigningRequestStore {
  const stored = new Map<string, SigningRequestObject>();
  let version = 1;
  const get = (name: string): SigningRequestObject => {
    const found = stored.get(name);
    if (!found) throw notFound(name);
    return found;
  };
  const put = (object: SigningRequestObject): SigningRequestObject => {
    version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    const written = { ...object, metadata };
    stored.set(metadata.name, written);
    return written;
  };
  return {
    get,
    list: () => [...stored.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
    resourceVersion: () => String(version),
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
      return put(object);
    },
    update({ name, subresource, wanted, admit }) {
      const before = get(name);
      const asked = wanted(before);
      checkIdentity(asked, before);
      const changed = prepareUpdate(asked, before, { subresource, now: now() });
      const faults = faultsOfUpdate(changed, before, subresource);
      if (faults.length > 0) throw invalid(name, faults);
      admit(changed, before);
      return isDeepStrictEqual(changed, before) ? before : put(changed);
    },
    remove(name, { uid, resourceVersion }) {
      const { metadata } = get(name);
      const fits = (wanted: string, found: string): boolean => wanted === '' || wanted === found;
      if (!fits(uid, metadata.uid) || !fits(resourceVersion, metadata.resourceVersion))
        throw conflict(name, 'Precondition failed');
      const removed = get(name);
      stored.delete(name);
      version += 1;
      return removed;
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

function checkIdentity(wanted: SigningRequestObject, before: SigningRequestObject): void {
  const { name, uid, resourceVersion } = wanted.metadata;
  const stored = before.metadata;
  if (name !== stored.name)
    throw badRequest(
      `the name of the object (${name}) does not match the name on the URL (${stored.name})`,
    );
  if (uid !== '' && uid !== stored.uid)
    throw conflict(
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${stored.uid}`,
    );
  // None at all is an unconditional update.
  if (resourceVersion !== '' && resourceVersion !== stored.resourceVersion)
    throw conflict(
      name,
      'the object has been modified; please apply your changes to the latest version and try again',
    );
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
