import { type WantedName } from '../identity/wanted-names.ts';

/** A table of names as kubectl prints tables. */
export function namesTable(names: readonly WantedName[]): string {
  const rows = [
    ['KIND', 'NAME', 'FROM'],
    ...names.map(({ kind, value, from }) => [kind.toUpperCase(), value, from]),
  ];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(([kind = '', name = '', from = '']) => {
      const cells = [kind.padEnd(widths[0] ?? 0), name.padEnd(widths[1] ?? 0), from];
      return `${cells.join('   ')}\n`;
    })
    .join('');
}
