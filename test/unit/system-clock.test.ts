import { equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/node/system-clock.ts';

test('sleepUntil() does not wake at once for waits beyond what the platform timer holds', async () => {
  const wake = new AbortController();
  let isAwake = false;
  const sleeping = systemClock
    .sleepUntil(new Date(Date.now() + 60 * 86_400_000), wake.signal)
    .then(() => (isAwake = true));
  // An overflowing timer fires after a millisecond.
  await new Promise((resolve) => setTimeout(resolve, 100));
  equal(isAwake, false);
  wake.abort();
  await sleeping;
});

test('sleepUntil() returns at the time, at once for a time that has passed, and at once when woken before', async () => {
  const startedAt = Date.now();
  await systemClock.sleepUntil(new Date(startedAt + 50), new AbortController().signal);
  ok(Date.now() - startedAt >= 50);
  await systemClock.sleepUntil(new Date(0), new AbortController().signal);
  await systemClock.sleepUntil(new Date(Date.now() + 1e9), AbortSignal.abort());
});

test('pause() returns after so long and not before, and at once when woken', async () => {
  for (const ms of [0.4, 20, 50]) {
    const startedAt = systemClock.uptimeMs();
    await systemClock.pause(ms, new AbortController().signal);
    ok(systemClock.uptimeMs() - startedAt >= ms);
  }
  const wake = new AbortController();
  const sleeping = systemClock.pause(60 * 86_400_000, wake.signal);
  wake.abort();
  await sleeping;
  await systemClock.pause(1e9, AbortSignal.abort());
});
