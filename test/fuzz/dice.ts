/** Chance that can be repeated: the same seed throws the same numbers on every machine. */
export interface Dice {
  /** A whole number from 0 to below `sides`. */
  below(sides: number): number;
  /** True in `percent` of a hundred cases. */
  chance(percent: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Up to `most` of them, in any order, none twice. */
  some<T>(from: readonly T[], most: number): T[];
  bytes(count: number): Buffer;
}

/** sfc32 (Chris Doty-Humphrey, PractRand), warmed up from seed and index. */
export function dice(seed: number, index: number): Dice {
  let [a, b, c, counter] = [seed | 0, index | 0, 0x9e3779b9 | 0, 1];
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  const below = (sides: number): number => Math.floor((next() / 2 ** 32) * sides);
  const pick = <T>(from: readonly T[]): T => {
    if (from.length === 0) throw new Error('nothing to pick from');
    return from[below(from.length)] as T;
  };
  return {
    below,
    chance: (percent) => below(1000) < percent * 10,
    pick,
    some(from, most) {
      const rest = [...from];
      const count = below(Math.min(most, rest.length) + 1);
      return Array.from({ length: count }, () => rest.splice(below(rest.length), 1)).flat();
    },
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))),
  };
}
