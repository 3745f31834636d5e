import { type Random } from '../runtime/random.ts';

export const systemRandom: Random = { fraction: () => Math.random() };
