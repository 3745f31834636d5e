import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import { askingRights } from '../../src/injector/asking-rights.ts';
import { noon } from '../support/certificate-builders.ts';
import { manualClock } from '../support/manual-clock.ts';

test('made-up service accounts are not asked about without end', async () => {
  const clock = manualClock(noon);
  const answers: ((allowed: boolean) => void)[] = [];
  const warnings = askingRights({
    clock,
    mayAsk: () => new Promise((resolve) => answers.push(resolve)),
  });
  const crowd = Array.from({ length: 1_000 }, (_, i) => warnings('shop', `made-up-${i}`));
  await clock.advance(0);
  equal(answers.length, 20);
  // Nobody is warned of what nobody knows.
  deepEqual((await Promise.all(crowd.slice(20))).flat(), []);
  for (const answer of answers.splice(0)) answer(false);
  for (const each of crowd.slice(0, 20)) match((await each).join(), /may not ask for certificates/);
  const next = warnings('shop', 'web');
  await clock.advance(0);
  equal(answers.length, 1);
  answers[0]?.(true);
  deepEqual(await next, []);
});

test('what is under way is asked once', async () => {
  const clock = manualClock(noon);
  const answers: ((allowed: boolean) => void)[] = [];
  const warnings = askingRights({
    clock,
    mayAsk: () => new Promise((resolve) => answers.push(resolve)),
  });
  const crowd = Array.from({ length: 100 }, () => warnings('shop', 'web'));
  await clock.advance(0);
  equal(answers.length, 1);
  answers[0]?.(false);
  for (const each of crowd) match((await each).join(), /may not ask for certificates/);
});
