import { watch } from 'chokidar';
import { watch as watchDirectory } from 'node:fs';
import { dirname } from 'node:path';

/** A burst of events (the kubelet swaps several files at once) becomes one call after this pause. */
const quietMs = 100;

/**
 * Calls `changed` after any of the files changed, appeared or vanished, until `stop`. Files are
 * watched by path, through the links that the kubelet swaps, and so are their directories: of some
 * two thousand swaps one was reported by the directory alone. Where the node has no inotify instances
 * left (128 per user by default, across pods), polling takes over; callers also look again by
 * themselves every now and then, because a subPath mount never reports anything.
 */
export function watchFiles(
  paths: readonly string[],
  changed: () => void,
  stop: AbortSignal,
  onProblem: (why: string) => void,
): void {
  if (paths.length === 0) return;
  let timer: NodeJS.Timeout | undefined;
  const soon = (): void => {
    clearTimeout(timer);
    timer = setTimeout(changed, quietMs);
  };
  const start = (options: { backend?: 'polling'; interval?: number }): void => {
    const watcher = watch([...paths], { ignoreInitial: true, ...options });
    const end = (): void => {
      clearTimeout(timer);
      void watcher.close();
    };
    watcher.on('all', soon);
    // What changed between the caller's first look and the first watch was reported by nobody.
    watcher.on('ready', soon);
    watcher.on('error', (error) => {
      onProblem(error instanceof Error ? error.message : String(error));
      if (options.backend === 'polling' || stop.aborted) return;
      stop.removeEventListener('abort', end);
      end();
      start({ backend: 'polling', interval: 500 });
      soon();
    });
    if (stop.aborted) end();
    else stop.addEventListener('abort', end, { once: true });
  };
  start({});
  for (const directory of new Set(paths.map((path) => dirname(path))))
    watchSwaps(directory, soon, stop);
}

/** Reports what happens to the names in a directory, as long as it is there; it shares the one inotify instance. */
function watchSwaps(directory: string, changed: () => void, stop: AbortSignal): void {
  try {
    const watcher = watchDirectory(directory, changed);
    watcher.on('error', () => watcher.close());
    stop.addEventListener('abort', () => watcher.close(), { once: true });
  } catch {
    // Missing for now, or no inotify left: the other watcher copes with both.
  }
}
