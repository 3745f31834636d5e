import { readFileSync, statSync } from 'node:fs';
import { PodsealError } from '../errors.ts';
import { watchFiles } from './watch-files.ts';

/** The value of a file's text, or everything that is wrong with it. */
export type Parsed<T> =
  | { readonly kind: 'valid'; readonly value: T }
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

/** What is told about a file after its first reading; each new content once. */
export interface FileEvents<T> {
  /** Also when a file that was refused is again as it was before. */
  onChange(value: T): void;
  onRefused(problems: readonly string[]): void;
  /** No inotify left on the node: the file is polled. */
  onUnwatched(why: string): void;
}

/** The file is read this often even when no watcher says anything (subPath mounts). */
const readAgainMs = 30_000;

/** More than a ConfigMap holds. Bounds what a wrong mount can cost. */
const maximumBytes = 2 * 1024 * 1024;

/**
 * The value of a file that is followed until `stop`, as a function that gives the newest valid one: a change
 * that cannot be read or is not valid is told, and takes nothing away. Throws CONFIG_INVALID with every
 * problem when the file cannot be used at the start.
 */
export function validatedFile<T>(
  path: string,
  parse: (text: string) => Parsed<T>,
  events: FileEvents<T>,
  stop: AbortSignal,
): () => T {
  let seen = readFile(path);
  const first = parsed(seen, parse);
  if (first.kind === 'invalid') throw cannotUse(path, first.problems);
  let { value } = first;
  const look = (): void => {
    const now = readFile(path);
    if (now.kind === seen.kind && now.text === seen.text) return;
    seen = now;
    const result = parsed(now, parse);
    if (result.kind === 'valid') {
      value = result.value;
      events.onChange(value);
    } else events.onRefused(result.problems);
  };
  watchFiles([path], look, stop, (why) => events.onUnwatched(why));
  const timer = setInterval(look, readAgainMs);
  stop.addEventListener('abort', () => clearInterval(timer), { once: true });
  if (stop.aborted) clearInterval(timer);
  return () => value;
}

/** A file as it stands now; `text` of one that cannot be read says why. */
interface Reading {
  readonly kind: 'read' | 'unreadable';
  readonly text: string;
}

function parsed<T>({ kind, text }: Reading, parse: (text: string) => Parsed<T>): Parsed<T> {
  return kind === 'read' ? parse(text) : { kind: 'invalid', problems: [text] };
}

function readFile(path: string): Reading {
  const unreadable = (text: string): Reading => ({ kind: 'unreadable', text });
  try {
    const status = statSync(path);
    if (!status.isFile()) return unreadable('it is not a file');
    if (status.size > maximumBytes) return unreadable(`it is larger than ${maximumBytes} bytes`);
    const decoder = new TextDecoder('utf-8', { fatal: true });
    return { kind: 'read', text: decoder.decode(readFileSync(path)) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return unreadable('it does not exist');
    return unreadable(code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'it is not UTF-8' : message);
  }
}

function cannotUse(path: string, problems: readonly string[]): PodsealError {
  const [first = '', ...more] = problems;
  const list =
    more.length === 0 ? first : `${problems.length} problems\n  ${problems.join('\n  ')}`;
  return new PodsealError(
    'CONFIG_INVALID',
    `Cannot use the file ${JSON.stringify(path)}: ${list}`,
    {
      hint: 'Mend the file; nothing of it is used while one problem is left.',
    },
  );
}
