import { deepEqual, equal, rejects } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type PublishedConfigMap } from '../../src/injection/published-config-map.ts';
import { bringAbout } from '../../src/injector/bring-about.ts';
import { isOurs, stepTo, type Wanted } from '../../src/injector/publication-step.ts';
import { failure } from '../support/signer-twins.ts';

const wanted: Wanted = {
  namespace: 'shop',
  name: 'podseal-trust',
  digest: 'new',
  ownerUid: 'owner',
  text: () => 'text',
};
const current: PublishedConfigMap = {
  namespace: 'shop',
  name: 'podseal-trust',
  uid: 'uid',
  resourceVersion: '1',
  digest: 'new',
  foreignKeys: { data: [], binaryData: [] },
  isImmutable: false,
  isManaged: true,
  owners: ['owner'],
};

describe('stepTo()', () => {
  test('what is current needs no write', () => {
    equal(stepTo(wanted, current), undefined);
  });

  test('what is missing is created', () => {
    deepEqual(stepTo(wanted, undefined), { kind: 'create' });
  });

  const changes: Readonly<Record<string, Partial<PublishedConfigMap>>> = {
    'another text': { digest: 'old' },
    'no text': { digest: undefined },
    'another key': { foreignKeys: { data: ['more'], binaryData: [] } },
    'another key of bytes': { foreignKeys: { data: [], binaryData: ['ca.crt'] } },
    'no label': { isManaged: false },
    'no owner': { owners: [] },
    'another owner': { owners: ['other'] },
    'an owner more': { owners: ['owner', 'other'] },
  };
  for (const [what, change] of Object.entries(changes)) {
    test(`${what} is changed`, () => {
      const standing = { ...current, ...change };
      deepEqual(stepTo(wanted, standing), { kind: 'change', standing });
    });
    test(`${what}, immutable, is made anew`, () => {
      const standing = { ...current, ...change, isImmutable: true };
      deepEqual(stepTo(wanted, standing), { kind: 'replace', standing });
    });
  }

  test('what is immutable is made anew, though it says the right thing', () => {
    const standing = { ...current, isImmutable: true };
    deepEqual(stepTo(wanted, standing), { kind: 'replace', standing });
  });
});

describe('isOurs()', () => {
  for (const [what, change, ownerUid, expected] of [
    ['label and owner', {}, 'owner', true],
    ['no label', { isManaged: false }, 'owner', false],
    ['no owner', { owners: [] }, 'owner', false],
    ['an owner of another installation', {}, 'other', false],
    ['an owner that is not known', { owners: [] }, undefined, false],
  ] as const)
    test(what, () => {
      equal(isOurs({ ...current, ...change }, ownerUid), expected);
    });
});

describe('bringAbout()', () => {
  /** Answers of the API in order; a call that none is left for fails the test. */
  function api(...answers: readonly (PublishedConfigMap | Error | undefined)[]) {
    const calls: string[] = [];
    const left = [...answers];
    const answer =
      (call: string) =>
      // eslint-disable-next-line @typescript-eslint/require-await -- throws as a promise does
      async (): Promise<PublishedConfigMap> => {
        calls.push(call);
        if (left.length === 0) throw new Error(`no answer for ${call}`);
        const next = left.shift();
        if (next instanceof Error) throw next;
        // Undefined is an answer to reads and removals alone.
        return next ?? (undefined as never);
      };
    const writes: string[] = [];
    return {
      calls,
      writes,
      bring: (believed?: PublishedConfigMap) =>
        bringAbout(
          wanted,
          believed,
          {
            read: answer('read'),
            create: answer('create'),
            change: answer('change'),
            async remove() {
              await answer('remove')();
            },
          },
          (write) => writes.push(write),
        ),
    };
  }
  const old = { ...current, digest: 'old' };
  const conflict = failure('API_CONFLICT');
  const missing = failure('API_NOT_FOUND');

  for (const [what, believed, answers, calls, writes] of [
    ['nothing when it is current', current, [], [], []],
    ['creates', undefined, [current], ['create'], ['create']],
    ['changes', old, [current], ['change'], ['change']],
    [
      'is content with what another replica created',
      undefined,
      [conflict, current],
      ['create', 'read'],
      [],
    ],
    [
      'changes what somebody else created',
      undefined,
      [conflict, old, current],
      ['create', 'read', 'change'],
      ['change'],
    ],
    [
      'changes again what changed meanwhile',
      old,
      [conflict, { ...old, resourceVersion: '2' }, current],
      ['change', 'read', 'change'],
      ['change'],
    ],
    [
      'creates what was deleted meanwhile',
      old,
      [missing, undefined, current],
      ['change', 'read', 'create'],
      ['create'],
    ],
    [
      'makes anew what is immutable',
      { ...old, isImmutable: true },
      [undefined, current],
      ['remove', 'create'],
      ['replace'],
    ],
    [
      'creates when the immutable one is gone already',
      { ...old, isImmutable: true },
      [missing, undefined, current],
      ['remove', 'read', 'create'],
      ['create'],
    ],
  ] as const)
    test(what, async () => {
      const scene = api(...answers);
      equal(await scene.bring(believed), current);
      deepEqual(scene.calls, calls);
      deepEqual(scene.writes, writes);
    });

  test('leaves a namespace alone that is being deleted', async () => {
    const scene = api(missing);
    equal(await scene.bring(undefined), undefined);
    deepEqual(scene.calls, ['create']);
  });

  test('writes once, though what came of it is not quite what it wanted', async () => {
    const scene = api({ ...current, isManaged: false });
    await scene.bring(old);
    deepEqual(scene.calls, ['change']);
  });

  test('gives up when somebody always is faster', async () => {
    const scene = api(...Array.from({ length: 6 }, () => [conflict, old]).flat());
    await rejects(scene.bring(old), { code: 'API_CONFLICT' });
    equal(scene.calls.filter((call) => call === 'change').length, 6);
  });

  test('does not ask again when the API is away', async () => {
    const scene = api(failure('API_UNREACHABLE'));
    await rejects(scene.bring(old), { code: 'API_UNREACHABLE' });
    deepEqual(scene.calls, ['change']);
  });
});
