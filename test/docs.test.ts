import { deepEqual, equal, ok } from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { statusPicture } from '../demo/status-picture.ts';
import { rules } from '../src/approver/rules.ts';
import {
  approverSettings,
  injectorSettings,
  signerSettings,
} from '../src/cli/controller-settings.ts';
import { controllerHelpTexts, injectorHelpTexts, settingsHelpTexts } from '../src/cli/help.ts';
import { agentSettings } from '../src/cli/settings.ts';
import { errorCodes } from '../src/errors.ts';
import { states } from '../src/status/pod-status.ts';
import { controllerMetrics } from '../src/telemetry/controller-metrics.ts';
import { agentMetrics } from '../src/telemetry/metrics.ts';
import { podEventReasons } from '../src/telemetry/pod-events.ts';
import { contentRules } from '../src/vetting/content-rules.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Rows of a markdown table, by their first cell, whose first cell matches. */
function tableRows(path: string, first: RegExp): readonly (readonly string[])[] {
  return rowsOf(read(path), first);
}

function rowsOf(text: string, first: RegExp): readonly (readonly string[])[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    )
    .filter(([cell = '']) => first.test(cell));
}

/** Setting, default, meaning, as the README's table below this heading has them. */
function settingRows(heading: string): readonly (readonly string[])[] {
  const text = read('README.md');
  const from = text.indexOf(`\n### ${heading}\n`);
  ok(from >= 0, `README.md has no heading "### ${heading}"`);
  const section = text.slice(from + 5).split(/\n##+ /)[0] ?? '';
  return rowsOf(section, /^PODSEAL_/);
}

test('README lists every setting with its default and meaning', () => {
  const expected = (
    defaults: Readonly<Record<string, string>>,
    texts: Readonly<Record<string, string>>,
  ): string[][] =>
    Object.entries(defaults).map(([name, value]) => [name, value, texts[name] ?? '']);
  deepEqual(settingRows('Agent'), expected(agentSettings, settingsHelpTexts));
  deepEqual(settingRows('Approver'), expected(approverSettings, controllerHelpTexts));
  deepEqual(settingRows('Signer'), expected(signerSettings, controllerHelpTexts));
  deepEqual(settingRows('Injector'), expected(injectorSettings, injectorHelpTexts));
});

test('approval.md lists every rule, and which of them the signer applies again', () => {
  const documented = tableRows('docs/approval.md', /^[a-z][a-z-]+$/)
    .filter(([name]) => name !== 'rule')
    .map(([name, , signerToo]) => [name, signerToo]);
  const expected = Object.keys(rules).map((name) => [name, name in contentRules ? 'yes' : '']);
  deepEqual(documented.sort(), expected.sort());
});

test('operations.md lists every Event', () => {
  deepEqual(
    tableRows('docs/operations.md', /^(Certificate\w+|NotInjected)$/)
      .map(([reason]) => reason)
      .sort(),
    [...podEventReasons].sort(),
  );
});

test('status.md lists every state of a pod, and which of them are fine', () => {
  const documented = tableRows('docs/status.md', /^[a-z ]+$/)
    .filter(([, isFine]) => isFine === 'yes' || isFine === 'no')
    .map(([state, isFine]) => [state, isFine]);
  const expected = Object.entries(states).map(([state, { isFine }]) => [
    state,
    isFine ? 'yes' : 'no',
  ]);
  deepEqual(documented.sort(), expected.sort());
});

test('images/status.svg shows what podseal status prints', async () => {
  equal(read('images/status.svg'), await statusPicture(), 'npm run picture draws it anew');
});

test('operations.md lists every error with its exit code and how it is tried again', () => {
  const rows = tableRows('docs/operations.md', /^[A-Z_]+$/).map(([code, exit, again]) => [
    code,
    exit,
    again,
  ]);
  const expected = Object.entries(errorCodes).map(([code, { exitCode, again }]) => [
    code,
    String(exitCode),
    again,
  ]);
  deepEqual(rows, expected);
});

test('operations.md lists every metric', () => {
  deepEqual(
    tableRows('docs/operations.md', /^podseal_/).map(([name]) => name),
    [...Object.keys(agentMetrics), ...Object.keys(controllerMetrics)],
  );
});

test('operations.md lists every log event with its level', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts'),
  );
  const source = files.map((name) => read(join('src', name))).join('\n');
  const logged = [...source.matchAll(/\blog\(\s*'(\w+)',\s*'([a-z.]+)'/g)].map(
    ([, level, event]) => `${event ?? ''} ${level ?? ''}`,
  );
  const documented = tableRows('docs/operations.md', /^[a-z]+\.[a-z]+$/).map(
    ([event, level]) => `${event ?? ''} ${level ?? ''}`,
  );
  deepEqual([...new Set([...logged, 'command.failed error'])].sort(), documented.sort());
});

test('exit codes of the help text are those of the error table', () => {
  const [, sentence = ''] = /Exit codes: ([^]*?)\. docs/.exec(read('src/cli/help.ts')) ?? [];
  const said = [...sentence.matchAll(/\b(\d+) /g)].map(([, code]) => Number(code));
  const codes = new Set<number>(Object.values(errorCodes).map(({ exitCode }) => exitCode));
  // 0 and 1 are not errors; 70 is a bug of ours, which no help text needs.
  deepEqual(said, [0, 1, ...[...codes].filter((code) => code !== 70).sort((a, b) => a - b)]);
});

test('every relative link in the documents leads somewhere', () => {
  const pages = [
    ...readdirSync(root).filter((name) => name.endsWith('.md')),
    ...['docs', 'examples'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.md'))
        .map((name) => join(folder, name)),
    ),
  ];
  ok(pages.includes('README.md') && pages.length > 10);
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  );
  deepEqual(broken, []);
});
