import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { type Parsed, validatedFile } from '../../src/node/validated-file.ts';
import { kubeletVolume } from '../support/kubelet-volume.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { podsealErrorOf } from '../support/thrown.ts';
import { until } from '../support/until.ts';

/** Numbers alone are valid. */
function parseNumbers(text: string): Parsed<number> {
  const wrong = text.split(' ').filter((word) => !/^\d+$/.test(word));
  return wrong.length === 0
    ? { kind: 'valid', value: Number(text.split(' ')[0]) }
    : { kind: 'invalid', problems: wrong.map((word) => `${word} is no number`) };
}

/** Follows the file; everything that it tells, in order. */
function follow(context: TestContext, path: string) {
  const stop = new AbortController();
  context.after(() => stop.abort());
  const told: string[] = [];
  const value = validatedFile(
    path,
    parseNumbers,
    {
      onChange: (number) => told.push(`changed to ${number}`),
      onRefused: (problems) => told.push(`refused: ${problems.join(', ')}`),
      onUnwatched: (why) => told.push(`unwatched: ${why}`),
    },
    stop.signal,
  );
  return { value, told, stop };
}

describe('validatedFile()', () => {
  test('follows every swap of a mounted volume, and keeps the last good value', async (context) => {
    const mount = join(temporaryDirectory(context), 'mount');
    const volume = kubeletVolume(mount, { 'policy.yaml': '1' });
    const { value, told } = follow(context, volume.path('policy.yaml'));
    assert.equal(value(), 1);
    const write = async (text: string): Promise<void> => {
      const before = told.length;
      volume.write({ 'policy.yaml': text });
      await until(`word of ${text}`, () => told.length > before);
    };
    await write('2');
    assert.equal(value(), 2);
    await write('x 3 y');
    assert.equal(value(), 2);
    await write('2');
    await write('4');
    assert.equal(value(), 4);
    assert.deepEqual(told, [
      'changed to 2',
      'refused: x is no number, y is no number',
      'changed to 2',
      'changed to 4',
    ]);
  });

  test('keeps the value of a file that vanishes, and finds it again', async (context) => {
    const path = join(temporaryDirectory(context), 'policy.yaml');
    writeFileSync(path, '1');
    const { value, told } = follow(context, path);
    rmSync(path);
    await until('its end', () => told.length === 1);
    assert.equal(value(), 1);
    writeFileSync(path, '2');
    await until('the new file', () => value() === 2);
    assert.equal(told[0], 'refused: it does not exist');
    assert.equal(told.at(-1), 'changed to 2');
  });

  test('reads the file every half minute, whether or not a watcher says anything', (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const path = join(temporaryDirectory(context), 'policy.yaml');
    writeFileSync(path, '1');
    const { value, told, stop } = follow(context, path);
    writeFileSync(path, '2');
    // Nothing is awaited here, so no watcher can have had its turn.
    context.mock.timers.tick(29_999);
    assert.equal(value(), 1);
    context.mock.timers.tick(1);
    assert.equal(value(), 2);
    writeFileSync(path, 'x');
    context.mock.timers.tick(30_000);
    context.mock.timers.tick(30_000);
    assert.deepEqual(told, ['changed to 2', 'refused: x is no number']);
    stop.abort();
    writeFileSync(path, '3');
    context.mock.timers.tick(60_000);
    assert.equal(value(), 2);
  });

  test('is silent about a file that is written anew without a change', (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const path = join(temporaryDirectory(context), 'policy.yaml');
    writeFileSync(path, '1');
    const { told } = follow(context, path);
    writeFileSync(path, '1');
    context.mock.timers.tick(30_000);
    assert.deepEqual(told, []);
  });

  for (const { what, make, problem } of [
    {
      what: 'is not there',
      make: () => undefined,
      problem: 'it does not exist',
    },
    {
      what: 'is not valid',
      make: (path: string) => writeFileSync(path, 'x'),
      problem: 'x is no number',
    },
    {
      what: 'has two problems',
      make: (path: string) => writeFileSync(path, 'x 1 y'),
      problem: '2 problems\n  x is no number\n  y is no number',
    },
    {
      what: 'is a directory',
      make: (path: string) => mkdirSync(path),
      problem: 'it is not a file',
    },
    {
      what: 'never answers',
      make: (path: string) => execFileSync('mkfifo', [path]),
      problem: 'it is not a file',
    },
    {
      what: 'is no UTF-8',
      make: (path: string) => writeFileSync(path, Buffer.of(0x31, 0xff)),
      problem: 'it is not UTF-8',
    },
    {
      what: 'is far too large',
      make: (path: string) => writeFileSync(path, '1'.repeat(2 * 1024 * 1024 + 1)),
      problem: 'it is larger than 2097152 bytes',
    },
  ])
    test(`throws at the start when the file ${what}`, (context) => {
      const path = join(temporaryDirectory(context), 'policy.yaml');
      make(path);
      const error = podsealErrorOf(() => follow(context, path));
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.equal(error.message, `Cannot use the file ${JSON.stringify(path)}: ${problem}`);
    });
});
