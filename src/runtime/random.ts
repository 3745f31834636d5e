/** Chance: for jitter (`fraction`, in [0, 1)). Keys and serials draw from node:crypto directly. */
export interface Random {
  fraction(): number;
}
