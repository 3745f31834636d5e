import { deepEqual, equal, rejects } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readArguments, refuseForeign } from '../../src/cli/arguments.ts';
import { podsealErrorOf } from '../support/thrown.ts';

describe('readArguments()', () => {
  test('command, what follows it, options wherever they stand', async () => {
    deepEqual(await readArguments([]), { command: undefined, positionals: [], options: {} });
    const given = await readArguments(['-n', 'shop', 'status', 'web-0', '--output=wide', 'web-1']);
    deepEqual(
      { ...given, options: { ...given.options } },
      {
        command: 'status',
        positionals: ['web-0', 'web-1'],
        options: { namespace: 'shop', output: 'wide' },
      },
    );
  });

  test('an option that there is not', () =>
    rejects(readArguments(['status', '--watch']), { code: 'USAGE', message: /'--watch'/ }));
});

describe('refuseForeign()', () => {
  const refusal = async (line: string): Promise<string> => {
    const given = await readArguments(line.split(' '));
    return podsealErrorOf(() => refuseForeign(given.command ?? '', given)).message;
  };
  const accepts = async (line: string): Promise<void> => {
    const given = await readArguments(line.split(' '));
    refuseForeign(given.command ?? '', given);
  };

  test('options of other commands', async () => {
    equal(await refusal('init -n shop'), 'Cannot run init with --namespace: it belongs to status');
    equal(
      await refusal('watch -o json'),
      'Cannot run watch with --output: it belongs to approver, inspect, names, status',
    );
    for (const line of ['names -A', 'inspect -l a=b', 'status --explain x', 'signer --explain x'])
      await rejects(accepts(line), { code: 'USAGE' }, line);
  });

  test('forms that a command does not have', async () => {
    equal(await refusal('names -o wide'), 'Cannot print as "wide": other forms of names are json');
    equal(
      await refusal('status -o yaml'),
      'Cannot print as "yaml": other forms of status are json, wide',
    );
  });

  test('more than a command takes', async () => {
    equal(await refusal('init x'), 'Cannot run init: unexpected argument "x"');
    equal(await refusal('inspect x y'), 'Cannot run inspect: unexpected argument "y"');
  });

  test('what belongs to each', async () => {
    for (const line of [
      'init',
      'names -o json',
      'inspect /var/run/podseal -o json',
      'approver --explain x -o json',
      'status a b -n shop',
      'status -A -l a=b -o wide',
      'help status',
    ])
      await accepts(line);
  });
});
