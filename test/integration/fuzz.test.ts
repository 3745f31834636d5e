import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { runCases } from '../fuzz/run-cases.ts';
import { startOracle } from '../oracle/oracle.ts';

/** `npm run fuzz` runs a million. */
const count = 5_000;

test(`approver and oracle agree about ${count} generated requests`, async (t) => {
  const oracle = await startOracle();
  if (!oracle) {
    const why = 'there is no Go to build the oracle of test/oracle with; install Go 1.24 or newer';
    console.error(`SKIPPED: generated requests were NOT compared, because ${why}`);
    t.skip(why);
    return;
  }
  t.after(() => oracle.close());
  const seed = randomInt(2 ** 31);
  const failures: string[] = [];
  const range = { seed, from: 0, to: count, step: 1 };
  const tally = await runCases(range, oracle, ({ index, why }) =>
    failures.push(`${why}\n  again: npm run fuzz -- --seed ${seed} --only ${index}`),
  );
  assert.deepEqual(failures, []);
  // Else the comparison would prove nothing.
  t.diagnostic(`seed ${seed}: ${JSON.stringify(tally)}`);
  assert.ok(tally.approved > count / 20, `${tally.approved} approved`);
  assert.ok(tally.takenAndRefused > count / 4, `${tally.takenAndRefused} well-formed and refused`);
  assert.ok(tally.late > 50 && tally.waiting > 20, JSON.stringify(tally));
});
