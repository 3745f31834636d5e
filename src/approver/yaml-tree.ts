import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLError,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';

/** Where something stands in the file; a member of a map stands where its key does. */
export interface Place {
  readonly line: number;
  /** `namespaces[0].maxLifetime`; empty for the whole file. */
  readonly path: string;
}

/** A value of the file. */
export type Tree = Place &
  (
    | { readonly kind: 'text'; readonly text: string }
    | { readonly kind: 'number'; readonly number: number }
    | { readonly kind: 'flag'; readonly flag: boolean }
    | { readonly kind: 'nothing' }
    | { readonly kind: 'list'; readonly members: readonly Tree[] }
    | { readonly kind: 'map'; readonly members: ReadonlyMap<string, Tree> }
  );

/** Notes a problem. */
export type Report = (place: Place, why: string) => void;

/** Deeper than any policy. A bound, because the tree is walked by recursion. */
const maximumDepth = 16;

/**
 * The text as a tree of values with their places, or undefined when it is no YAML 1.2 (of which JSON is
 * a part). Anchors, aliases and tags are reported: they make a file say something else than a person
 * reads, and a few lines of them can stand for gigabytes.
 */
export function readYamlTree(text: string, report: Report): Tree | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    // With 'silent' it would pass over a second document.
    logLevel: 'error',
    // Its own check compares each key with all others; ours below says where the first one is.
    uniqueKeys: false,
    version: '1.2',
    merge: false,
  });
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line);
  for (const error of document.errors)
    report({ line: lineAt(error.pos[0]), path: '' }, whyNoYaml(error));
  if (document.errors.length > 0) return undefined;
  if (document.directives.yaml.explicit === true)
    report({ line: 1, path: '' }, 'it chooses a version of YAML; leave that line out');
  return treeOf(document.contents, { place: { line: 1, path: '' }, depth: 0, lineAt, report });
}

function whyNoYaml({ code, message }: YAMLError): string {
  switch (code) {
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; a policy is one document';
    case 'RESOURCE_EXHAUSTION':
      return 'it is nested too deeply';
    default:
      return `it is not YAML: ${message.split('\n', 1)[0] ?? ''}`;
  }
}

interface Position {
  readonly place: Place;
  readonly depth: number;
  readonly lineAt: (offset: number) => number;
  readonly report: Report;
}

function treeOf(node: unknown, at: Position): Tree | undefined {
  const { place, report } = at;
  if (node === null || node === undefined) return { ...place, kind: 'nothing' };
  if (isAlias(node)) report(place, 'aliases are not followed here; write the value out');
  else if (at.depth > maximumDepth) report(place, 'it is nested too deeply');
  else if (isNode(node)) {
    reportProperties(node, place, report);
    if (isScalar(node)) return scalarOf(node.value, at);
    if (isSeq(node)) return listOf(node, at);
    if (isMap(node)) return mapOf(node, at);
  }
  return undefined;
}

function reportProperties(
  { anchor, tag }: { readonly anchor?: string | undefined; readonly tag?: string | undefined },
  place: Place,
  report: Report,
): void {
  if (anchor !== undefined) report(place, 'anchors are not known here; leave it out');
  if (tag !== undefined) report(place, 'tags are not known here; leave it out');
}

function scalarOf(value: unknown, { place, report }: Position): Tree | undefined {
  switch (typeof value) {
    case 'string':
      return { ...place, kind: 'text', text: value };
    case 'number':
      return { ...place, kind: 'number', number: value };
    case 'boolean':
      return { ...place, kind: 'flag', flag: value };
    default:
      if (value === null) return { ...place, kind: 'nothing' };
      report(place, 'values of this kind are not known here');
      return undefined;
  }
}

function listOf(node: YAMLSeq, at: Position): Tree {
  const members = node.items.flatMap((item, index) => {
    const path = `${at.place.path}[${index}]`;
    const line = isNode(item) && item.range ? at.lineAt(item.range[0]) : at.place.line;
    return treeOf(item, { ...at, place: { line, path }, depth: at.depth + 1 }) ?? [];
  });
  return { ...at.place, kind: 'list', members };
}

function mapOf(node: YAMLMap, at: Position): Tree {
  const { place, report } = at;
  const members = new Map<string, Tree>();
  const lines = new Map<string, number>();
  for (const { key, value } of node.items) {
    const line = isNode(key) && key.range ? at.lineAt(key.range[0]) : place.line;
    if (!isScalar(key) || typeof key.value !== 'string') {
      report({ line, path: place.path }, 'a key is not text');
      continue;
    }
    const own = { line, path: [place.path, plain(key.value)].filter(Boolean).join('.') };
    reportProperties(key, own, report);
    const first = lines.get(key.value);
    lines.set(key.value, first ?? line);
    const member = treeOf(value, { ...at, place: own, depth: at.depth + 1 });
    if (first !== undefined) report(own, `it is given twice, first in line ${first}`);
    else if (member) members.set(key.value, member);
  }
  return { ...place, kind: 'map', members };
}

function plain(key: string): string {
  return /^[A-Za-z0-9]{1,40}$/.test(key) ? key : quoted(key);
}

/** The text in quotes, on one line, and not longer than fits into a message. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
