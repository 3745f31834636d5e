/**
 * Lets something that happens (a file changed) end a sleep. A ring that comes while nobody sleeps
 * is remembered, so that it is not lost between two looks at the world.
 */
export interface Doorbell {
  ring(): void;
  /** A signal that aborts at the next ring, or at once when it rang since the last call, or when `stop` does. */
  nextRing(stop: AbortSignal): { readonly signal: AbortSignal; readonly release: () => void };
}

/** A reason of our own: the platform's is an exception with its stack, at each ring. */
const rang = 'rang';

export function doorbell(): Doorbell {
  let rung = false;
  let waiting: AbortController | undefined;
  return {
    ring() {
      if (waiting) waiting.abort(rang);
      else rung = true;
    },
    nextRing(stop) {
      const controller = new AbortController();
      const end = (): void => controller.abort(rang);
      waiting = controller;
      if (rung || stop.aborted) controller.abort(rang);
      else stop.addEventListener('abort', end, { once: true });
      rung = false;
      return {
        signal: controller.signal,
        release() {
          // Without this, every sleep would leave a listener on the long-lived stop signal.
          stop.removeEventListener('abort', end);
          waiting = undefined;
        },
      };
    },
  };
}
