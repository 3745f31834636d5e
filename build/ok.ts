import { spawn } from 'node:child_process';

/** `npm run ok`: everything that can be checked without a cluster, one line per check; all are run, then the worst counts. */
const checks: readonly (readonly [string, readonly string[]])[] = [
  ['format', ['prettier', '--check', '--log-level', 'warn', '.']],
  ['types', ['tsc']],
  [
    'lint',
    [
      'eslint',
      '--max-warnings',
      '0',
      '--cache',
      '--cache-location',
      'node_modules/.cache/eslint/',
      '.',
    ],
  ],
  ['dead code', ['knip', '--no-progress']],
  ['build', ['node', 'build/build.ts']],
  [
    'fast tests',
    [
      'node',
      '--test',
      '--test-concurrency=2',
      '--test-reporter=dot',
      'test/*.test.ts',
      'test/unit/**/*.test.ts',
    ],
  ],
];

let failed = 0;
for (const [name, [program = '', ...args]] of checks) {
  const startedAt = Date.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (code === 0) continue;
  failed++;
  console.log(output);
}
console.log(failed === 0 ? 'ok: all checks passed' : `${failed} of ${checks.length} checks failed`);
process.exitCode = failed === 0 ? 0 : 1;
