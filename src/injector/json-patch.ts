import { type PodObject } from './pod-object.ts';

/** One operation of RFC 6902. `add` of a member that is there replaces it (section 4.1). */
export interface PatchOperation {
  readonly op: 'add';
  /** A JSON pointer (RFC 6901). */
  readonly path: string;
  readonly value: unknown;
}

/** What turns the one pod into the other, which injection made of it: labels, annotations and members of spec, each as a whole. */
export function podPatch(before: PodObject, after: PodObject): readonly PatchOperation[] {
  const changed = (path: string, from: unknown, to: unknown): readonly PatchOperation[] =>
    JSON.stringify(from) === JSON.stringify(to) ? [] : [{ op: 'add', path, value: to }];
  const spec = before.spec as unknown as Readonly<Record<string, unknown>>;
  return [
    ...changed('/metadata/labels', before.metadata.labels, after.metadata.labels),
    ...changed('/metadata/annotations', before.metadata.annotations, after.metadata.annotations),
    ...Object.entries(after.spec).flatMap(([name, value]) =>
      changed(`/spec/${name}`, spec[name], value),
    ),
  ];
}
