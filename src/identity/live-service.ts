import { selects, type Service } from './service.ts';

/** A Service as the API server has it. */
export interface LiveService extends Service {
  readonly namespace: string;
  readonly isExternalName: boolean;
  readonly isBeingDeleted: boolean;
}

/**
 * Whether membership in the Service can prove anything. An ExternalName Service's traffic goes elsewhere
 * though it keeps its selector; one that is being deleted keeps its address for a while (kubernetes-facts 3.3).
 */
export function provesNames(service: LiveService): boolean {
  return !service.isExternalName && !service.isBeingDeleted;
}

/** Whether the Service sends its traffic to pods with these labels. */
export function provablySelects(
  service: LiveService,
  labels: ReadonlyMap<string, string>,
): boolean {
  return provesNames(service) && selects(service, labels);
}
