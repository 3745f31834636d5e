import { fork } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { startOracle } from '../oracle/oracle.ts';
import { runCases, type Tally } from './run-cases.ts';

/**
 * `npm run fuzz`: forged and honest requests, judged by the approver and by the oracle. `--count N`,
 * `--seed N` to repeat a run, `--only INDEX` to repeat one case and see all of it.
 */
const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    only: { type: 'string' },
    worker: { type: 'string' },
  },
});
const seed = Number(values.seed);
const count = Number(values.count);
const processes = 2;

process.exitCode =
  values.worker !== undefined
    ? await work(Number(values.worker))
    : values.only !== undefined
      ? await repeat(Number(values.only))
      : await share();

/** Every second case; a line now and then. */
async function work(first: number): Promise<number> {
  const oracle = await startOracle();
  if (!oracle) return 1;
  let failures = 0;
  const startedAt = performance.now();
  const sum: Tally = {
    cases: 0,
    approved: 0,
    denied: 0,
    waiting: 0,
    takenAndRefused: 0,
    late: 0,
    slowestMs: 0,
  };
  const stride = 20_000;
  for (let from = first; from < count && failures < 20; from += stride) {
    const range = { seed, from, to: Math.min(count, from + stride), step: processes };
    const tally = await runCases(range, oracle, ({ index, why }) => {
      failures++;
      console.log(
        `FAILED case ${index}: ${why}\n  again: npm run fuzz -- --seed ${seed} --only ${index}`,
      );
    });
    for (const key of Object.keys(sum) as (keyof Tally)[])
      sum[key] = key === 'slowestMs' ? Math.max(sum[key], tally[key]) : sum[key] + tally[key];
    const perSecond = Math.round(sum.cases / ((performance.now() - startedAt) / 1000));
    console.log(
      `process ${first}: ${JSON.stringify({ ...sum, slowestMs: Math.round(sum.slowestMs), perSecond })}`,
    );
  }
  oracle.close();
  return failures === 0 ? 0 : 1;
}

async function share(): Promise<number> {
  const oracle = await startOracle();
  if (!oracle) {
    console.error(
      'Cannot compare: there is no Go to build the oracle with. Install Go 1.24 or newer.',
    );
    return 1;
  }
  oracle.close();
  console.log(`${count} cases, seed ${seed}`);
  const args = ['--seed', String(seed), '--count', String(count)];
  const codes = await Promise.all(
    Array.from({ length: processes }, (_, worker) => {
      const child = fork(import.meta.filename, [...args, '--worker', String(worker)]);
      return new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
    }),
  );
  return Math.max(...codes);
}

async function repeat(index: number): Promise<number> {
  const oracle = await startOracle();
  if (!oracle) return 1;
  const failures: string[] = [];
  const range = { seed, from: index, to: index + 1, step: 1 };
  await runCases(range, oracle, ({ why, request, world }) =>
    failures.push(`${why}\n${world}\n${request}`),
  );
  oracle.close();
  console.log(failures.join('\n') || 'passed');
  return failures.length;
}
