import { deepEqual, equal, rejects } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { joined } from '../../src/controller/joined.ts';

/** Calls that end when told; each answers with its number. */
function calls() {
  const ends: ((error?: Error) => void)[] = [];
  const begun: string[] = [];
  const ask = joined(
    (key) =>
      new Promise<number>((resolve, reject) => {
        const number = begun.push(key);
        ends.push((error) => (error ? reject(error) : resolve(number)));
      }),
  );
  return { ask, begun, end: (index: number, error?: Error) => ends[index]?.(error) };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('joined()', () => {
  test('who asks while a call is under way shares the next one', async () => {
    const { ask, begun, end } = calls();
    const first = ask('shop');
    const [second, third] = [ask('shop'), ask('shop')];
    deepEqual(begun, ['shop']);
    end(0);
    equal(await first, 1);
    await settled();
    deepEqual(begun, ['shop', 'shop']);
    end(1);
    deepEqual(await Promise.all([second, third]), [2, 2]);
  });

  test('keys do not wait for one another, and nothing is kept', async () => {
    const { ask, begun, end } = calls();
    const both = [ask('shop'), ask('bank')];
    deepEqual(begun, ['shop', 'bank']);
    end(0);
    end(1);
    await Promise.all(both);
    const again = ask('shop');
    end(2);
    equal(await again, 3);
  });

  test('a call that fails fails for its own askers alone', async () => {
    const { ask, end } = calls();
    const first = ask('shop');
    const second = ask('shop');
    end(0, new Error('away'));
    await rejects(first, /away/);
    await settled();
    end(1);
    equal(await second, 2);
  });
});
