import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { PodsealError } from '../../src/errors.ts';
import { diskVolume } from '../../src/node/disk-volume.ts';
import { type VolumeFile } from '../../src/volume/volume.ts';

const receipt = {
  requestName: 'r',
  receivedAt: '2026-01-01T00:00:00.000Z',
  renewAnnotation: undefined,
};
const filesOf = (value: string, bytes = 10): VolumeFile[] =>
  ['tls.key', 'tls.crt', 'ca.crt'].map((name) => ({
    name,
    content: value.repeat(bytes),
    mode: 0o444,
  }));

function directoryFor(context: { after(fn: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'podseal-volume-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const isRoot = process.getuid?.() === 0;

describe('the volume beside a reader and on a bad disk', { timeout: 120_000 }, () => {
  test('a reader that resolves ..data once never sees a mix', async (context) => {
    const directory = directoryFor(context);
    const volume = diskVolume(directory);
    volume.publish(filesOf('0'), receipt);
    const reader = spawn(process.execPath, [
      '-e',
      `const fs = require('node:fs');
       const seen = new Set();
       process.once('SIGTERM', () => { console.log(JSON.stringify({ rounds, sets: seen.size })); process.exit(0); });
       let rounds = 0;
       (function look() {
         for (let i = 0; i < 50; i++) {
           const set = process.argv[1] + '/' + fs.readlinkSync(process.argv[1] + '/..data');
           const texts = ['tls.key', 'tls.crt', 'ca.crt'].map((name) => fs.readFileSync(set + '/' + name, 'utf8'));
           if (new Set(texts).size !== 1) { console.error('a mix: ' + texts); process.exit(1); }
           seen.add(texts[0]);
           rounds++;
         }
         setImmediate(look);
       })();`,
      directory,
    ]);
    let output = '';
    for (const stream of [reader.stdout, reader.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const closed = once(reader, 'close');
    for (let i = 0; i < 400 && reader.exitCode === null; i++) {
      volume.publish(filesOf(String(i % 10)), receipt);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // A slow machine may not have started the reader yet.
    for (let i = 0; i < 2000 && output === '' && reader.exitCode === null && i < 300; i++) {
      volume.publish(filesOf(String(i % 10)), receipt);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    reader.kill('SIGTERM');
    await closed;
    const { rounds, sets } = JSON.parse(output) as { rounds: number; sets: number };
    ok(rounds > 100 && sets > 1, output);
  });

  test('killed in the middle of publishing, again and again: the set is whole', async (context) => {
    const directory = directoryFor(context);
    diskVolume(directory).publish(filesOf('0'), receipt);
    const writer = `import { diskVolume } from ${JSON.stringify(join(import.meta.dirname, '../../src/node/disk-volume.ts'))};
      const volume = diskVolume(process.argv[1]);
      for (let i = 0; ; i++) volume.publish(['tls.key', 'tls.crt', 'ca.crt'].map((name) => ({ name, content: String(i % 10).repeat(100), mode: 0o444 })), ${JSON.stringify(receipt)});`;
    for (let round = 0; round < 12; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', writer, directory], {
        stdio: 'ignore',
      });
      const closed = once(child, 'close');
      const before = readlinkSync(join(directory, '..data'));
      for (
        let waited = 0;
        readlinkSync(join(directory, '..data')) === before && waited < 1000;
        waited++
      )
        await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setTimeout(resolve, round));
      child.kill('SIGKILL');
      await closed;
      const set = diskVolume(directory).read();
      const texts = ['tls.key', 'tls.crt', 'ca.crt'].map((name) =>
        readFileSync(join(directory, name), 'utf8'),
      );
      equal(new Set(texts).size, 1);
      equal(set?.tlsCrt, texts[1]);
    }
  });

  test(
    'a full disk: a clear error, the old set untouched',
    { skip: isRoot ? false : 'needs root to mount a small tmpfs' },
    (context) => {
      const directory = directoryFor(context);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'podseal-test', directory]);
      try {
        const volume = diskVolume(directory);
        volume.publish(filesOf('a'), receipt);
        let error: unknown;
        try {
          volume.publish(filesOf('b', 40_000), receipt);
        } catch (thrown) {
          error = thrown;
        }
        ok(error instanceof PodsealError);
        equal(error.code, 'VOLUME_UNWRITABLE');
        match(error.message, /no space is left/);
        equal(readFileSync(join(directory, 'tls.key'), 'utf8'), 'a'.repeat(10));
        volume.publish(filesOf('c'), receipt);
        equal(volume.read()?.tlsCrt, 'c'.repeat(10), 'what the failed attempt took is given back');
      } finally {
        execFileSync('umount', [directory]);
      }
    },
  );

  test('read-only: a clear error', { skip: isRoot ? false : 'needs root to mount' }, (context) => {
    const directory = directoryFor(context);
    diskVolume(directory).publish(filesOf('a'), receipt);
    execFileSync('mount', ['--bind', '-o', 'ro', directory, directory]);
    try {
      let error: unknown;
      try {
        diskVolume(directory).publish(filesOf('b'), receipt);
      } catch (thrown) {
        error = thrown;
      }
      ok(error instanceof PodsealError);
      match(error.message, /mounted read-only/);
      equal(readFileSync(join(directory, 'tls.key'), 'utf8'), 'a'.repeat(10));
    } finally {
      execFileSync('umount', [directory]);
    }
  });

  test(
    'wrong owner: a clear error',
    { skip: isRoot ? false : 'needs root to become another user' },
    (context) => {
      const directory = directoryFor(context);
      chmodSync(directory, 0o755);
      const script = `process.setgid(65534); process.setuid(65534);
      const { diskVolume } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/node/disk-volume.ts'))});
      try { diskVolume(process.argv[1]).publish([], {}); } catch (error) { console.log(error.code + ': ' + error.message); }`;
      // Modules of a checkout under a private directory cannot be read by nobody: load them first.
      const early = script
        .replace(/^process.*\n/, '')
        .replace('const {', 'const {')
        .replace('try {', 'process.setgid(65534); process.setuid(65534); try {');
      const output = execFileSync(process.execPath, [
        '--input-type=module',
        '-e',
        early,
        directory,
      ]).toString();
      match(output, /VOLUME_UNWRITABLE: Cannot publish to volume .*: permission denied/);
    },
  );

  test('a directory that is missing, or is a file: a clear error', (context) => {
    const directory = directoryFor(context);
    writeFileSync(join(directory, 'file'), '');
    mkdirSync(join(directory, 'there'));
    const messages = ['missing', 'file'].map((name) => {
      try {
        diskVolume(join(directory, name)).publish(filesOf('a'), receipt);
        return '';
      } catch (error) {
        return error instanceof PodsealError ? error.message.replace(/^.*: /, '') : String(error);
      }
    });
    deepEqual(messages, ['the directory does not exist', 'it is not a directory']);
  });
});
