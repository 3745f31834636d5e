import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as nodeFs from 'node:fs';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { diskVolume, type FileSystem } from '../../src/node/disk-volume.ts';
import { type PendingRequest, type Receipt, type VolumeFile } from '../../src/volume/volume.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { podsealErrorOf } from '../support/thrown.ts';

/** Three files whose contents say which set they are of. */
const setOf = (label: string): readonly VolumeFile[] => [
  { name: 'tls.key', content: `key ${label}\n`, mode: 0o400 },
  { name: 'tls.crt', content: `certificate ${label}\n`.repeat(1000), mode: 0o444 },
  { name: 'ca.crt', content: `bundle ${label}\n`, mode: 0o444 },
];

const receiptOf = (label: string): Receipt => ({
  requestName: `podseal-${label}`,
  receivedAt: '2026-06-01T12:00:00.000Z',
  renewAnnotation: label,
});

const pending: PendingRequest = {
  name: 'podseal-1',
  uid: undefined,
  signerName: 'podseal.dev/serving',
  keyPem: 'key',
  request: 'request',
  names: { dnsNames: ['web.shop.svc'], ipAddresses: [], uris: [] },
  createdAt: '2026-06-01T12:00:00.000Z',
};

/** Which set an application sees that resolves `..data` once; undefined when it sees no set. */
const seenByApplication = (directory: string): string | undefined => {
  if (!existsSync(join(directory, '..data'))) return undefined;
  const set = join(directory, readlinkSync(join(directory, '..data')));
  const [key, crt, ca] = ['tls.key', 'tls.crt', 'ca.crt'].map((name) =>
    readFileSync(join(set, name), 'utf8'),
  );
  const label = /^key (.*)\n$/.exec(key ?? '')?.[1];
  assert.equal(crt, `certificate ${label}\n`.repeat(1000), 'tls.crt is of another set, or in part');
  assert.equal(ca, `bundle ${label}\n`, 'ca.crt is of another set, or in part');
  return label;
};

/** Which set `read()` gives, after a check that it is whole. */
const labelRead = (directory: string): string | undefined => {
  const set = diskVolume(directory).read();
  if (!set) return undefined;
  const label = set.receipt?.renewAnnotation;
  const [key, crt, ca] = setOf(label ?? '');
  assert.equal(set.tlsKey?.toString(), key?.content);
  assert.equal(set.tlsCrt, crt?.content);
  assert.equal(set.caCrt, ca?.content);
  assert.deepEqual(set.receipt, receiptOf(label ?? ''));
  return label;
};

const setsIn = (directory: string): readonly string[] =>
  readdirSync(directory).filter((name) => name.startsWith('..2'));

describe('publish()', () => {
  test('writes files that an application reads through links, as in a volume of the kubelet', (t) => {
    const directory = temporaryDirectory(t);
    diskVolume(directory).publish(setOf('one'), receiptOf('one'));
    assert.equal(labelRead(directory), 'one');
    assert.equal(seenByApplication(directory), 'one');
    assert.equal(readlinkSync(join(directory, 'tls.key')), '..data/tls.key');
    assert.match(readlinkSync(join(directory, '..data')), /^\.\.\d{4}(_\d\d){5}\.\w{6}$/);
    assert.deepEqual(diskVolume(directory).read()?.files.toSorted(), [
      'ca.crt',
      'tls.crt',
      'tls.key',
    ]);
    assert.deepEqual(
      readdirSync(directory).filter((name) => !name.startsWith('..')),
      ['ca.crt', 'tls.crt', 'tls.key'],
    );
  });

  test('replaces the whole set by one swap, and takes away what the new set lacks', (t) => {
    const directory = temporaryDirectory(t);
    const volume = diskVolume(directory);
    const more = { name: 'tls-combined.pem', content: 'both', mode: 0o400 };
    volume.publish([...setOf('one'), more], receiptOf('one'));
    assert.equal(readFileSync(join(directory, 'tls-combined.pem'), 'utf8'), 'both');
    volume.publish(setOf('two'), receiptOf('two'));
    assert.equal(labelRead(directory), 'two');
    assert.equal(seenByApplication(directory), 'two');
    assert.equal(existsSync(join(directory, 'tls-combined.pem')), false);
    assert.equal(lstatOf(directory, 'tls-combined.pem'), undefined);
  });

  test('leaves files alone that are not its own', (t) => {
    const directory = temporaryDirectory(t);
    const volume = diskVolume(directory);
    writeFileSync(join(directory, 'theirs'), 'theirs');
    mkdirSync(join(directory, '..2026_01_01'));
    volume.publish(setOf('one'), receiptOf('one'));
    volume.publish(setOf('two'), receiptOf('two'));
    assert.equal(readFileSync(join(directory, 'theirs'), 'utf8'), 'theirs');
    assert.ok(existsSync(join(directory, '..2026_01_01')));
  });

  test('keeps a set that was in use for hours for 10 s after it was replaced', (t) => {
    const directory = temporaryDirectory(t);
    diskVolume(directory).publish(setOf('one'), receiptOf('one'));
    const one = readlinkSync(join(directory, '..data'));
    const hoursAgo = Date.now() / 1000 - 8 * 3600;
    utimesSync(join(directory, one), hoursAgo, hoursAgo);
    diskVolume(directory).publish(setOf('two'), receiptOf('two'));
    // A reader that resolved ..data just before the swap opens its files now.
    assert.equal(readFileSync(join(directory, one, 'tls.key'), 'utf8'), 'key one\n');
  });

  test('removes a set that was replaced long ago', (t) => {
    const directory = temporaryDirectory(t);
    const at = (seconds: number) =>
      diskVolume(directory, nodeFs, () => new Date(Date.now() + seconds * 1000));
    at(0).publish(setOf('one'), receiptOf('one'));
    at(1).publish(setOf('two'), receiptOf('two'));
    assert.equal(setsIn(directory).length, 2);
    at(3600).publish(setOf('three'), receiptOf('three'));
    at(7200).publish(setOf('four'), receiptOf('four'));
    assert.equal(seenByApplication(directory), 'four');
    // What the last swap replaced may still be there; what was replaced an hour before is not.
    assert.ok(setsIn(directory).length <= 2, setsIn(directory).join(', '));
  });

  for (const umask of [0o077, 0o000])
    test(`sets the modes that were asked for under umask ${umask.toString(8).padStart(3, '0')}`, (t) => {
      const directory = temporaryDirectory(t);
      const previous = process.umask(umask);
      t.after(() => process.umask(previous));
      const volume = diskVolume(directory);
      volume.publish(
        [
          { name: 'tls.key', content: 'key', mode: 0o440 },
          { name: 'tls.crt', content: 'crt', mode: 0o444 },
        ],
        receiptOf('one'),
      );
      volume.writePending(pending);
      const mode = (name: string) => (statSync(join(directory, name)).mode & 0o777).toString(8);
      assert.equal(mode('tls.key'), '440');
      assert.equal(mode('tls.crt'), '444');
      assert.equal(mode('..data'), '755');
      assert.equal(mode('..data/.receipt.json'), '444');
      assert.equal(mode('..pending'), '600');
    });

  for (const [what, prepare, why] of [
    ['a directory that does not exist', () => undefined, /the directory does not exist$/],
    [
      'a file in place of the directory',
      (path: string) => writeFileSync(path, ''),
      /it is not a directory$/,
    ],
  ] as const)
    test(`refuses ${what} with VOLUME_UNWRITABLE`, (t) => {
      const path = join(temporaryDirectory(t), 'volume');
      prepare(path);
      for (const action of [
        () => diskVolume(path).publish(setOf('one'), receiptOf('one')),
        () => diskVolume(path).writePending(pending),
      ]) {
        const error = podsealErrorOf(action);
        assert.equal(error.code, 'VOLUME_UNWRITABLE');
        assert.match(error.message, why);
        assert.match(error.hint ?? '', /emptyDir/);
      }
      assert.equal(diskVolume(path).read(), undefined);
      assert.equal(diskVolume(path).readPending(), undefined);
    });

  for (const [code, why] of [
    ['ENOSPC', /no space is left/],
    ['EROFS', /it is mounted read-only/],
    ['EACCES', /permission denied/],
  ] as const)
    test(`says what ${code} means, and leaves the old set alone`, (t) => {
      const directory = temporaryDirectory(t);
      diskVolume(directory).publish(setOf('one'), receiptOf('one'));
      const failing: FileSystem = {
        ...nodeFs,
        writeSync: () => {
          throw Object.assign(new Error(`${code}: no`), { code });
        },
      };
      const error = podsealErrorOf(() =>
        diskVolume(directory, failing).publish(setOf('two'), receiptOf('two')),
      );
      assert.match(error.message, why);
      assert.ok(error.hint);
      assert.equal(labelRead(directory), 'one');
      // Nothing is left behind: on a full disk that is what counts.
      assert.equal(setsIn(directory).length, 1);
    });

  test('goes on after a write that took only part of the bytes', (t) => {
    const directory = temporaryDirectory(t);
    const slow: FileSystem = {
      ...nodeFs,
      writeSync: ((fd: number, bytes: Buffer, offset: number) =>
        nodeFs.writeSync(
          fd,
          bytes,
          offset,
          Math.min(7, bytes.length - offset),
        )) as FileSystem['writeSync'],
    };
    diskVolume(directory, slow).publish(setOf('one'), receiptOf('one'));
    assert.equal(seenByApplication(directory), 'one');
  });
});

const operations = [
  'chmodSync',
  'closeSync',
  'fchmodSync',
  'fsyncSync',
  'lstatSync',
  'mkdtempSync',
  'openSync',
  'readdirSync',
  'readFileSync',
  'readlinkSync',
  'renameSync',
  'rmSync',
  'symlinkSync',
  'writeSync',
] as const satisfies readonly (keyof FileSystem)[];

/** How the file system fails at one call. */
const failures = {
  /** That call and all that follow throw: what a process leaves behind that is killed there. */
  'a crash at': { isFailing: (call: number, at: number) => call >= at, isDone: false },
  'an error of': { isFailing: (call: number, at: number) => call === at, isDone: false },
  'an error just after': { isFailing: (call: number, at: number) => call === at, isDone: true },
} as const;

/** A file system that fails at call number `at` (1 is the first one); `calls` counts. */
function failingFileSystem(
  kind: keyof typeof failures,
  at: number,
): { readonly fs: FileSystem; readonly calls: () => number } {
  const { isFailing, isDone } = failures[kind];
  let calls = 0;
  const failing = operations.map((operation) => [
    operation,
    (...args: readonly unknown[]): unknown => {
      const fails = isFailing(++calls, at);
      const call = nodeFs[operation] as (...args: readonly unknown[]) => unknown;
      const result = fails && !isDone ? undefined : call(...args);
      if (fails) throw new Error(`${kind} call ${calls}, ${operation}`);
      return result;
    },
  ]);
  return { fs: Object.fromEntries(failing) as FileSystem, calls: () => calls };
}

for (const kind of Object.keys(failures) as (keyof typeof failures)[])
  describe(`${kind} any file operation`, () => {
    /** How a volume stands before the publish that dies. */
    const befores: readonly (readonly [string, (directory: string) => void, string | undefined])[] =
      [
        ['an empty volume', () => undefined, undefined],
        [
          'a volume with a set',
          (directory) => diskVolume(directory).publish(setOf('old'), receiptOf('old')),
          'old',
        ],
        [
          'a volume with sets to remove and a file too many',
          (directory) => {
            diskVolume(directory).publish(setOf('older'), receiptOf('older'));
            const longAgo = Date.now() / 1000 - 3600;
            utimesSync(join(directory, readlinkSync(join(directory, '..data'))), longAgo, longAgo);
            const more = { name: 'tls-combined.pem', content: 'both', mode: 0o400 };
            // Published by hand into the same second, so that both sets are there.
            diskVolume(directory, nodeFs, () => new Date(0)).publish(
              [...setOf('old'), more],
              receiptOf('old'),
            );
          },
          'old',
        ],
      ];
    for (const [what, prepare, before] of befores)
      test(`leaves ${what} usable when it publishes`, (t) => {
        const wasAt = new Set<string | undefined>();
        for (let from = 1, done = false; !done; from++) {
          const directory = temporaryDirectory(t);
          prepare(directory);
          const { fs, calls } = failingFileSystem(kind, from);
          try {
            diskVolume(directory, fs).publish(setOf('new'), receiptOf('new'));
          } catch (error) {
            assert.match(String(error), /Cannot publish to volume/);
          }
          done = calls() < from;
          const seen = labelRead(directory);
          wasAt.add(seen);
          assert.ok(seen === before || seen === 'new', `${seen} at call ${from}`);
          assert.equal(seenByApplication(directory), seen);
          if (done) assert.equal(seen, 'new');
          // Who opens by path finds every file as soon as there is a set.
          if (seen !== undefined)
            for (const { name, content } of setOf(seen))
              assert.equal(readFileSync(join(directory, name), 'utf8'), content);
          diskVolume(directory).publish(setOf('next'), receiptOf('next'));
          assert.equal(labelRead(directory), 'next');
          assert.equal(seenByApplication(directory), 'next');
          assert.equal(readFileSync(join(directory, 'tls.key'), 'utf8'), 'key next\n');
          assert.ok(from < 500, 'it never passes');
        }
        assert.deepEqual(wasAt, new Set([before, 'new']), 'the failure was never where it counts');
      });

    test('keeps the pending request, or the one before it', (t) => {
      for (let from = 1, done = false; !done; from++) {
        const directory = temporaryDirectory(t);
        diskVolume(directory).writePending(pending);
        const { fs, calls } = failingFileSystem(kind, from);
        try {
          diskVolume(directory, fs).writePending({ ...pending, uid: 'uid-1' });
        } catch (error) {
          assert.match(String(error), /Cannot keep the pending request in volume/);
        }
        done = calls() < from;
        const read = diskVolume(directory).readPending();
        assert.ok(read);
        assert.ok(read.uid === 'uid-1' || (read.uid === undefined && !done));
        diskVolume(directory).writePending({ ...pending, uid: 'uid-2' });
        assert.equal(diskVolume(directory).readPending()?.uid, 'uid-2');
      }
    });
  });

describe('a volume into which somebody else wrote', () => {
  const names = ['..data', 'tls.key', '..link_tmp', '..pending', '..pending_tmp'] as const;

  for (const name of names)
    for (const kind of ['file', 'directory'] as const)
      test(`does not read or write outside through ${name}, a link to a ${kind}`, (t) => {
        const directory = temporaryDirectory(t);
        const outside = temporaryDirectory(t);
        const secret = join(outside, 'tls.key');
        writeFileSync(secret, JSON.stringify(pending));
        symlinkSync(kind === 'file' ? secret : outside, join(directory, name));

        const volume = diskVolume(directory);
        assert.equal(volume.read(), undefined);
        assert.equal(volume.readPending(), undefined);
        volume.publish(setOf('one'), receiptOf('one'));
        volume.writePending(pending);
        assert.equal(labelRead(directory), 'one');
        assert.equal(seenByApplication(directory), 'one');
        assert.deepEqual(volume.readPending()?.names, pending.names);
        volume.clearPending();
        assert.equal(volume.readPending(), undefined);

        assert.deepEqual(readdirSync(outside), ['tls.key']);
        assert.equal(readFileSync(secret, 'utf8'), JSON.stringify(pending));
      });

  for (const name of names)
    test(`puts its own in the place of a file ${name}`, (t) => {
      const directory = temporaryDirectory(t);
      writeFileSync(join(directory, name), 'planted');
      const volume = diskVolume(directory);
      assert.equal(volume.read(), undefined);
      assert.equal(volume.readPending(), undefined);
      volume.publish(setOf('one'), receiptOf('one'));
      volume.writePending(pending);
      assert.equal(labelRead(directory), 'one');
      assert.equal(seenByApplication(directory), 'one');
      assert.equal(volume.readPending()?.name, pending.name);
    });

  for (const name of names)
    test(`is whole, or says what is in the way, with a directory ${name}`, (t) => {
      const directory = temporaryDirectory(t);
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, 'theirs'), 'theirs');
      const volume = diskVolume(directory);
      assert.equal(volume.read(), undefined);
      assert.equal(volume.readPending(), undefined);
      for (const action of [
        () => volume.publish(setOf('one'), receiptOf('one')),
        () => volume.writePending(pending),
      ])
        try {
          action();
        } catch (error) {
          assert.match(String(error), /^PodsealError: Cannot .* volume ".*": \w+/);
        }
      const seen = labelRead(directory);
      assert.ok(seen === undefined || seen === 'one');
    });

  test('takes no set behind a second link', (t) => {
    const directory = temporaryDirectory(t);
    const outside = temporaryDirectory(t);
    for (const { name, content } of setOf('evil')) writeFileSync(join(outside, name), content);
    writeFileSync(join(outside, '.receipt.json'), JSON.stringify(receiptOf('evil')));
    symlinkSync(outside, join(directory, '..2026_06_01_12_00_00.abcdef'));
    symlinkSync('..2026_06_01_12_00_00.abcdef', join(directory, '..data'));
    assert.equal(diskVolume(directory).read(), undefined);
    diskVolume(directory).publish(setOf('one'), receiptOf('one'));
    assert.equal(labelRead(directory), 'one');
    assert.equal(readFileSync(join(outside, 'tls.key'), 'utf8'), 'key evil\n');
  });

  test('reads no file of a set through a link', (t) => {
    const directory = temporaryDirectory(t);
    const outside = join(temporaryDirectory(t), 'secret');
    writeFileSync(outside, 'secret');
    const set = '..2026_06_01_12_00_00.abcdef';
    mkdirSync(join(directory, set));
    symlinkSync(outside, join(directory, set, 'tls.key'));
    symlinkSync(set, join(directory, '..data'));
    assert.equal(diskVolume(directory).read()?.tlsKey, undefined);
  });

  for (const [what, text] of [
    ['that was cut off', JSON.stringify(pending).slice(0, -10)],
    ['of another shape', '{"name":"podseal-1"}'],
    ['that is null', 'null'],
    ['that is a list', '[]'],
    ['without names', JSON.stringify({ ...pending, names: null })],
  ] as const)
    test(`takes no pending request ${what}`, (t) => {
      const directory = temporaryDirectory(t);
      writeFileSync(join(directory, '..pending'), text);
      assert.equal(diskVolume(directory).readPending(), undefined);
    });
});

describe('a pipe that somebody put into the volume', { concurrency: true }, () => {
  const set = '..2026_06_01_12_00_00.abcdef';
  for (const name of ['..pending', `${set}/tls.key`])
    test(`does not hold up the program as ${name}`, async (t) => {
      const directory = temporaryDirectory(t);
      mkdirSync(join(directory, set));
      symlinkSync(set, join(directory, '..data'));
      execFileSync('mkfifo', [join(directory, name)]);
      const source = new URL('../../src/node/disk-volume.ts', import.meta.url).href;
      const program = `
        const { diskVolume } = await import(${JSON.stringify(source)});
        const volume = diskVolume(${JSON.stringify(directory)});
        volume.read();
        volume.readPending();`;
      // In a process of its own: reading is synchronous, and would hold up this test too.
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
        timeout: 4_000,
      });
      const [code] = (await once(child, 'exit')) as [number | null];
      assert.equal(code, 0, 'it was still reading after 4 s');
    });
});

describe('a reader that opened the old set', () => {
  test('reads it to its end while the volume goes on', (t) => {
    const directory = temporaryDirectory(t);
    const volume = diskVolume(directory);
    volume.publish(setOf('one'), receiptOf('one'));
    const fd = openSync(join(directory, 'tls.crt'), 'r');
    t.after(() => nodeFs.closeSync(fd));
    for (const label of ['two', 'three', 'four']) volume.publish(setOf(label), receiptOf(label));
    assert.equal(readFileSync(fd, 'utf8'), 'certificate one\n'.repeat(1000));
  });
});

function lstatOf(directory: string, name: string): nodeFs.Stats | undefined {
  return lstatSync(join(directory, name), { throwIfNoEntry: false });
}

test(
  'takes no pending request that another user planted, with a key that user knows',
  { skip: process.getuid?.() === 0 ? false : 'needs root to give a file to another user' },
  (t) => {
    const directory = temporaryDirectory(t);
    const volume = diskVolume(directory);
    volume.writePending(pending);
    assert.equal(volume.readPending()?.name, pending.name);
    nodeFs.chownSync(join(directory, '..pending'), 65534, 65534);
    assert.equal(volume.readPending(), undefined);
  },
);

describe('what was told', () => {
  test('is remembered by the volume, as the last one that was written', (t) => {
    const directory = temporaryDirectory(t);
    assert.equal(diskVolume(directory).readTold(), undefined);
    for (const id of ['', 'one', 'two']) {
      diskVolume(directory).writeTold(id);
      assert.equal(diskVolume(directory).readTold(), id);
    }
    diskVolume(directory).publish(setOf('one'), receiptOf('one'));
    assert.equal(diskVolume(directory).readTold(), 'two');
  });

  test('is neither read nor written through a link', (t) => {
    const directory = temporaryDirectory(t);
    const outside = join(temporaryDirectory(t), 'secret');
    writeFileSync(outside, 'secret');
    for (const name of ['..told', '..told_tmp']) symlinkSync(outside, join(directory, name));
    const volume = diskVolume(directory);
    assert.equal(volume.readTold(), undefined);
    volume.writeTold('one');
    assert.equal(volume.readTold(), 'one');
    assert.equal(readFileSync(outside, 'utf8'), 'secret');
  });

  for (const kind of Object.keys(failures) as (keyof typeof failures)[])
    test(`${kind} any file operation leaves it, or what was before`, (t) => {
      for (let from = 1, done = false; !done; from++) {
        const directory = temporaryDirectory(t);
        diskVolume(directory).writeTold('old');
        const { fs, calls } = failingFileSystem(kind, from);
        try {
          diskVolume(directory, fs).writeTold('new');
        } catch (error) {
          assert.match(String(error), /Cannot keep in mind what was told in volume/);
        }
        done = calls() < from;
        const seen = diskVolume(directory).readTold();
        assert.ok(done ? seen === 'new' : seen === 'old' || seen === 'new', String(seen));
      }
    });
});
