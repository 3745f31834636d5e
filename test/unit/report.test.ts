import { equal, ok } from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const report = join(import.meta.dirname, '../../src/cli/report.ts');

/** What a process that runs this code writes to standard error. */
function stderrOf(code: string): string {
  const module = `import { writeError, writeErrorSoon } from ${JSON.stringify(report)};\n${code}`;
  const args = ['--input-type=module', '--eval', module];
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 }).stderr;
}

const abc = "for (const line of ['a', 'b', 'ü€😀']) writeErrorSoon(`${line}\\n`);";

describe('writeErrorSoon()', { concurrency: true }, () => {
  for (const [how, code] of [
    ['has nothing left to do', ''],
    ['exits at once', 'process.exit(1);'],
    ['is told to end', "process.once('SIGTERM', () => process.exit()); process.kill(process.pid);"],
    ['ends later', 'setTimeout(() => process.exit(), 50);'],
  ] as const)
    test(`every line in order from a process that ${how}`, () => {
      equal(stderrOf(abc + code), 'a\nb\nü€😀\n');
    });

  test('every line from a process that breaks', () => {
    for (const code of [
      "throw new Error('broken');",
      "await Promise.reject(new Error('broken'));",
    ]) {
      const text = stderrOf(abc + code);
      ok(text.includes('a\nb\nü€😀\n') && text.includes('Error: broken'), text);
    }
  });

  test('what is written at once comes after what was to be written soon', () => {
    equal(stderrOf(`${abc} writeError('c\\n'); writeErrorSoon('d\\n');`), 'a\nb\nü€😀\nc\nd\n');
  });

  test('lines of one turn of the event loop are one write, and do not wait for the next line', () => {
    const writes = stderrOf(`
      import { readFileSync } from 'node:fs';
      const writes = () => Number(/syscw: (\\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))[1]);
      const before = writes();
      for (let i = 0; i < 100; i++) writeErrorSoon('');
      for (let i = 0; i < 100; i++) writeErrorSoon('x');
      setTimeout(() => { const made = writes() - before; writeError(made < 50 ? ' few' : ' many'); }, 50);`);
    equal(writes, `${'x'.repeat(100)} few`);
  });
});
