import { equal, ok } from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { watchFiles } from '../../src/node/watch-files.ts';
import { kubeletVolume } from '../support/kubelet-volume.ts';
import { until } from '../support/until.ts';

/** The files' content as a watcher saw it last. */
function follow(context: TestContext, paths: readonly string[]): () => string {
  const stop = new AbortController();
  context.after(() => stop.abort());
  const read = (): string =>
    paths
      .map((path) => {
        try {
          return readFileSync(path, 'utf8');
        } catch {
          return '';
        }
      })
      .join('|');
  let seen = 'nothing';
  watchFiles(
    paths,
    () => (seen = read()),
    stop.signal,
    (why) => (seen = why),
  );
  return () => seen;
}

function directoryFor(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'podseal-watch-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

describe('watchFiles()', { timeout: 120_000 }, () => {
  test('notices every swap of a mounted volume, and the last of every burst', async (context) => {
    const volume = kubeletVolume(join(directoryFor(context), 'mount'), { 'ca.crt': 'first' });
    const seen = follow(context, [volume.path('ca.crt')]);
    await until('the first look', () => seen() === 'first');
    for (let swap = 0; swap < 40; swap++) {
      volume.write({ 'ca.crt': `swap ${swap}` });
      await until(`swap ${swap}`, () => seen() === `swap ${swap}`, 5);
    }
    for (let burst = 0; burst < 30; burst++) {
      for (let i = 0; i < 2 + (burst % 4); i++) {
        volume.write({ 'ca.crt': `burst ${burst} ${i}` });
        await new Promise((resolve) => setTimeout(resolve, burst % 7));
      }
      const last = `burst ${burst} ${1 + (burst % 4)}`;
      await until(last, () => seen() === last, 5);
    }
  });

  test('notices a file and a directory that appear later, and a file that is renamed over another', async (context) => {
    const directory = directoryFor(context);
    const path = join(directory, 'later', 'ca.crt');
    const seen = follow(context, [path]);
    await until('the first look', () => seen() === '');
    mkdirSync(join(directory, 'later'));
    writeFileSync(path, 'there');
    await until('the new file', () => seen() === 'there');
    rmSync(join(directory, 'later'), { recursive: true });
    await until('its end', () => seen() === '');
    mkdirSync(join(directory, 'later'));
    writeFileSync(path, 'again');
    await until('the file made again', () => seen() === 'again');
  });

  test('stops when told', async (context) => {
    const directory = directoryFor(context);
    const path = join(directory, 'ca.crt');
    writeFileSync(path, 'one');
    const stop = new AbortController();
    let calls = 0;
    watchFiles(
      [path],
      () => calls++,
      stop.signal,
      () => undefined,
    );
    await until('the first look', () => calls > 0);
    stop.abort();
    const before = calls;
    writeFileSync(path, 'two');
    await new Promise((resolve) => setTimeout(resolve, 400));
    equal(calls, before);
    ok(calls > 0);
  });
});
