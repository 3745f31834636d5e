import { deepEqual } from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');
const source = join(root, 'src');

/** Rows of the only table in ARCHITECTURE.md whose first cell is one lower-case word. */
const rows = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8').matchAll(
  /^\| ([a-z]+) \|(?: ([^|\n]*?))? \|$/gm,
);
const allowed = new Map(
  [...rows].map(([, folder = '', list = '']) => [
    folder,
    list.replaceAll('`', '').split(', ').filter(Boolean),
  ]),
);
allowed.delete('folder');

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);
const folderOf = (file: string): string => (file.split(sep)[0] ?? '').replace(/\.ts$/, '');
const imports = new Map(
  files.map((file) => [
    file,
    [
      ...readFileSync(join(source, file), 'utf8').matchAll(
        /^import [^']*'([^']+)'|\bimport\('([^']+)'\)/gm,
      ),
    ]
      .map(([, named, lazy]) => named ?? lazy ?? '')
      .map((target) => (target.startsWith('.') ? normalize(join(dirname(file), target)) : target)),
  ]),
);

const fits = (name: string, rule: string): boolean =>
  rule.endsWith('*') ? name.startsWith(rule.slice(0, -1)) : name === rule;

test('every folder has a row, every row a folder', () => {
  deepEqual([...new Set(files.map(folderOf))].sort(), [...allowed.keys()].sort());
});

test('imports follow the table', () => {
  const wrong = files.flatMap((file) =>
    (imports.get(file) ?? [])
      .map((target) => (files.includes(target) ? folderOf(target) : target))
      .filter((name) => name !== folderOf(file))
      .filter((name) => !allowed.get(folderOf(file))?.some((rule) => fits(name, rule)))
      .map((name) => `${file} imports ${name}, which ARCHITECTURE.md does not allow`),
  );
  deepEqual(wrong, []);
});

test('every permission of the table is used', () => {
  const used = (folder: string, rule: string): boolean =>
    files.some(
      (file) =>
        folderOf(file) === folder &&
        imports
          .get(file)
          ?.some((target) => fits(files.includes(target) ? folderOf(target) : target, rule)),
    );
  const unused = [...allowed].flatMap(([folder, rules]) =>
    rules.filter((rule) => !used(folder, rule)).map((rule) => `${folder} does not need ${rule}`),
  );
  deepEqual(unused, []);
});

test('no cycles between files', () => {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [[...path, file].join(' -> ')];
    if (done.has(file)) return [];
    const found = (imports.get(file) ?? []).flatMap((target) => visit(target, [...path, file]));
    done.add(file);
    return found;
  };
  deepEqual(
    files.flatMap((file) => visit(file, [])),
    [],
  );
});

test('only the composing files and the commands introduce adapters', () => {
  const introduced = files.filter(
    (file) =>
      !['node', 'kubernetes'].includes(folderOf(file)) &&
      imports
        .get(file)
        ?.some(
          (target) => ['node', 'kubernetes'].includes(folderOf(target)) && files.includes(target),
        ),
  );
  deepEqual(introduced.sort(), [
    'cli/agent-config.ts',
    'cli/api-server.ts',
    'cli/commands.ts',
    'cli/compose-controllers.ts',
    'cli/compose-telling.ts',
    'cli/compose.ts',
    'cli/controllers.ts',
    'cli/explain.ts',
    'cli/status.ts',
  ]);
});
