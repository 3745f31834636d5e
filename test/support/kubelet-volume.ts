import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';

/**
 * A mounted volume as the kubelet writes it: a timestamped directory, `..data` swapped by rename,
 * files as links through it, the old directory removed.
 */
export interface KubeletVolume {
  readonly directory: string;
  path(name: string): string;
  /** Replaces the whole content at once. */
  write(files: Readonly<Record<string, string>>): void;
}

export function kubeletVolume(
  directory: string,
  files: Readonly<Record<string, string>>,
): KubeletVolume {
  mkdirSync(directory, { recursive: true });
  const write = (content: Readonly<Record<string, string>>): void => {
    const data = join(directory, '..data');
    const old = tryReadlink(data);
    const next = mkdtempSync(join(directory, '..2026_01_01_00_00_00.'));
    for (const [name, text] of Object.entries(content)) writeFileSync(join(next, name), text);
    const temporary = join(directory, '..data_tmp');
    symlinkSync(basename(next), temporary);
    renameSync(temporary, data);
    for (const name of Object.keys(content))
      if (tryReadlink(join(directory, name)) === undefined)
        symlinkSync(`..data/${name}`, join(directory, name));
    for (const name of readdirSync(directory))
      if (!name.startsWith('..') && !(name in content)) rmSync(join(directory, name));
    if (old !== undefined) rmSync(join(directory, old), { recursive: true });
  };
  write(files);
  return { directory, path: (name) => join(directory, name), write };
}

function tryReadlink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** A downward API file of labels or annotations. */
export function downwardMap(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}
