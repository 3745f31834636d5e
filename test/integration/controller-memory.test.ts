import { ok } from 'node:assert/strict';
import { test } from 'node:test';
import { privateMB } from '../support/process-figures.ts';
import { largeCluster } from '../support/large-cluster.ts';
import { startProgram } from '../support/program.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { until } from '../support/until.ts';

const size = { services: 5_000, issued: 6_000, denied: 3_000, pending: 1_000 };
const limitMB = 120;
const lists = 4;

for (const name of ['approver', 'signer'] as const)
  test(
    `the ${name} needs at most ${limitMB} MB with 5,000 Services and 10,000 signing requests, listed again and again`,
    { timeout: 120_000 },
    async (context) => {
      const cluster = await largeCluster(temporaryDirectory(context), size);
      context.after(() => cluster.close());
      const relist = { PODSEAL_RELIST: '2s' };
      const program = startProgram([name], { ...cluster.environment, ...relist });
      context.after(async () => {
        program.child.kill('SIGKILL');
        await program.exit;
      });
      const seen: number[] = [];
      await until(
        `${lists} lists`,
        () => {
          seen.push(privateMB(program.child.pid));
          ok(program.child.exitCode === null, program.output());
          return cluster.lists() > lists;
        },
        100,
      );
      context.diagnostic(`at most ${Math.max(...seen)} MB, ${seen.at(-1) ?? 0} MB in the end`);
      const interruptions = program.lines().filter(({ event }) => event === 'watch.interrupted');
      ok(interruptions.length === 0, JSON.stringify(interruptions[0]));
      if (name === 'approver') await program.logged('request.undecided');
      ok(Math.max(...seen) <= limitMB);
    },
  );
