/**
 * A call that many want at once, made once at a time for each key. Whoever asks while it is under way gets
 * the next one, begun after the asking, together with all others who ask meanwhile: an answer is never
 * older than its question.
 */
export function joined<T>(call: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const running = new Map<string, Promise<T>>();
  const next = new Map<string, Promise<T>>();
  const begin = (key: string): Promise<T> => {
    const run = call(key).finally(() => {
      if (running.get(key) === run) running.delete(key);
    });
    running.set(key, run);
    return run;
  };
  return (key) => {
    const under = running.get(key);
    if (!under) return begin(key);
    const waiting = next.get(key);
    if (waiting) return waiting;
    const follow = (): Promise<T> => {
      next.delete(key);
      return begin(key);
    };
    const promise = under.then(follow, follow);
    next.set(key, promise);
    return promise;
  };
}
