import { type Preconditions } from './api-request.ts';
import { badRequest, conflict, resource, type Resource } from './status.ts';

/** Which object, and which version of it. */
export interface Identity extends Preconditions {
  readonly name: string;
}

/** Throws unless an update is meant for the stored object, as it is now. */
export function checkIdentity(wanted: Identity, stored: Identity, of: Resource = resource): void {
  const { name, uid, resourceVersion } = wanted;
  if (name !== stored.name)
    throw badRequest(
      `the name of the object (${name}) does not match the name on the URL (${stored.name})`,
    );
  if (uid !== '' && uid !== stored.uid)
    throw conflict(
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${stored.uid}`,
      of,
    );
  // None at all is an unconditional update.
  if (resourceVersion !== '' && resourceVersion !== stored.resourceVersion)
    throw conflict(
      name,
      'the object has been modified; please apply your changes to the latest version and try again',
      of,
    );
}

/** Throws unless the stored object is the one to delete. */
export function checkPreconditions(
  { uid, resourceVersion }: Preconditions,
  stored: Identity,
  of: Resource = resource,
): void {
  const fits = (wanted: string, found: string): boolean => wanted === '' || wanted === found;
  if (fits(uid, stored.uid) && fits(resourceVersion, stored.resourceVersion)) return;
  throw conflict(stored.name, 'Precondition failed', of);
}
