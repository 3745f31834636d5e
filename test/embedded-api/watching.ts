import { type Selector } from './api-request.ts';
import {
  ApiFailure,
  apiVersionOf,
  expired,
  failureBody,
  type FailureStatus,
  type Resource,
} from './status.ts';

/** One line of a watch. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: unknown;
}

export interface Watcher {
  readonly send: (event: WatchEvent) => void;
  /** Nothing is sent any more. */
  readonly end: () => void;
}

/** Begins to tell a watcher; returns how to stop. */
export type Watch = (watcher: Watcher) => () => void;

export interface Watched {
  readonly of: Resource;
  readonly isMeant: Selector;
  /** Every such object as it is now. */
  readonly present: () => readonly object[];
}

/** Every change of every kind, in order, by the version that it led to. */
export interface History {
  /** Of the last change: what lists show. */
  version(): string;
  /** A change that is about to be told leads to this one. */
  next(): string;
  tell(of: Resource, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: object): void;
  watch(query: URLSearchParams, watched: Watched): Watch;
}

/** As if the server had been up before: what happened then is forgotten. */
const firstVersion = 100;
/** Changes that are remembered. */
const kept = 5_000;
const bookmarkEveryMs = 30_000;

interface Change {
  readonly version: number;
  readonly of: Resource;
  readonly event: WatchEvent & { readonly object: object };
}

export function newHistory(): History {
  let version = firstVersion;
  let oldest = firstVersion;
  const changes: Change[] = [];
  const listeners = new Set<(change: Change) => void>();
  const forget = (): void => {
    const forgotten = changes.shift();
    oldest = forgotten?.version ?? oldest;
  };
  return {
    version: () => String(version),
    next: () => String((version += 1)),
    tell(of, type, object) {
      const change = { version, of, event: { type, object } };
      changes.push(change);
      if (changes.length > kept) forget();
      for (const listener of listeners) listener(change);
    },
    watch(query, { of, isMeant, present }) {
      const from = versionIn(query);
      const seconds = Number(query.get('timeoutSeconds') ?? 0);
      const wantsBookmarks = query.get('allowWatchBookmarks') === 'true';
      return ({ send, end }) => {
        if (from > 0 && from < oldest) {
          send({ type: 'ERROR', object: failureBody(expired(from, oldest)) });
          end();
          return () => undefined;
        }
        const listener = (change: Change): void => {
          if (change.of === of && isMeant(change.event.object)) send(change.event);
        };
        if (from === 0) for (const object of present()) send({ type: 'ADDED', object });
        else for (const change of changes) if (change.version > from) listener(change);
        listeners.add(listener);
        const bookmarks = setInterval(() => {
          const metadata = { resourceVersion: String(version) };
          const object = { kind: of.kind, apiVersion: apiVersionOf(of), metadata };
          if (wantsBookmarks) send({ type: 'BOOKMARK', object });
        }, bookmarkEveryMs);
        const limit = seconds > 0 ? setTimeout(end, seconds * 1000) : undefined;
        return () => {
          listeners.delete(listener);
          clearInterval(bookmarks);
          clearTimeout(limit);
        };
      };
    },
  };
}

/** Where a watch begins; 0: with everything that there is. */
function versionIn(query: URLSearchParams): number {
  const text = query.get('resourceVersion') ?? '';
  if (/^\d*$/.test(text)) return Number(text);
  const message = `resourceVersion: Invalid value: ${JSON.stringify(text)}: invalid syntax`;
  throw new ApiFailure({ code: 500, message } satisfies FailureStatus);
}
