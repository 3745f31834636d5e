import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { trustSource } from '../../src/injector/trust-source.ts';
import { newCa } from '../support/certificate-builders.ts';
import { logTwin } from '../support/signer-twins.ts';

const first = newCa({ commonName: 'first' }).pem;
const second = newCa({ commonName: 'second' }).pem;

test('trustSource() keeps the last bundle that could be used', () => {
  const logged = logTwin();
  let changes = 0;
  const source = trustSource(logged.log, () => changes++);
  const { follower } = source;
  const bundle = (): string | undefined => source.bundle();
  follower.replace([]);
  equal(bundle(), undefined);
  follower.replace([first]);
  follower.put(first);
  deepEqual([bundle(), changes], [first, 1]);
  for (const unusable of [
    '',
    'no PEM',
    first.replace('MII', 'MIX'),
    first.replaceAll('CERTIFICATE', 'PRIVATE KEY'),
  ])
    follower.put(unusable);
  follower.remove(first);
  follower.replace([]);
  deepEqual([bundle(), changes, logged.lines.length], [first, 1, 4]);
  follower.put(first + second);
  deepEqual([bundle(), changes], [first + second, 2]);
});
