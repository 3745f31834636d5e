import { PodsealError } from '../../src/errors.ts';

/** What the action throws; an error when it throws nothing. */
export function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** The PodsealError that the action throws; anything else that it throws is passed on. */
export function podsealErrorOf(action: () => unknown): PodsealError {
  const error = thrownBy(action);
  if (error instanceof PodsealError) return error;
  throw error;
}
