import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext } from 'node:test';

/** A new directory that is gone after the test. */
export function temporaryDirectory(test: TestContext): string {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), 'podseal-unit-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
