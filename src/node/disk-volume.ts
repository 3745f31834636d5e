import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { PodsealError } from '../errors.ts';
import {
  type PendingRequest,
  type PublishedSet,
  type Receipt,
  type Volume,
  type VolumeFile,
} from '../volume/volume.ts';

const nodeFs = {
  chmodSync,
  closeSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
};

/** The file operations used, so that a test can let each of them fail. */
export type FileSystem = typeof nodeFs;

const current = '..data';
const pendingFile = '..pending';
const toldFile = '..told';
const receiptFile = '.receipt.json';
const setName = /^\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.[A-Za-z0-9]{6}$/;
/** A set stays this long after it was replaced, for readers that resolved `..data` before. */
const keepMs = 10_000;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, O_CREAT, O_EXCL } = constants;

/**
 * The volume as the kubelet keeps its own (pkg/volume/util/atomic_writer.go): each set in a
 * timestamped directory, `..data` a link to the current one, each visible file a link through
 * `..data`. One rename changes all files together.
 */
export function diskVolume(
  directory: string,
  fs: FileSystem = nodeFs,
  now: () => Date = () => new Date(),
): Volume {
  const path = (...names: readonly string[]): string => join(directory, ...names);
  const guarded = <T>(what: string, action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw unwritable(directory, what, error);
    }
  };
  let last: { readonly key: string; readonly set: PublishedSet } | undefined;
  return {
    read() {
      // A set is never changed once it is published; removed files show in the directory's time.
      const name = currentSet(path, fs);
      const key = name && `${name} ${String(tryTo(() => fs.lstatSync(path(name)).mtimeMs))}`;
      if (name === undefined || key === undefined) return undefined;
      if (last?.key !== key) last = { key, set: readSet(name, path, fs) };
      return last.set;
    },
    publish: (files, receipt) =>
      guarded('publish to', () => publish({ path, fs, now: now() }, files, receipt)),
    readPending: () => readPending(path(pendingFile), fs),
    writePending: (pending) =>
      guarded('keep the pending request in', () =>
        replaceFile(fs, path(pendingFile), JSON.stringify(pending)),
      ),
    clearPending: () =>
      guarded('remove the pending request from', () =>
        fs.rmSync(path(pendingFile), { recursive: true, force: true }),
      ),
    readTold: () =>
      tryTo(() => readNoFollow(fs, path(toldFile), process.geteuid?.()))?.toString('latin1'),
    writeTold: (id) =>
      guarded('keep in mind what was told in', () => replaceFile(fs, path(toldFile), id)),
  };
}

type PathOf = (...names: readonly string[]) => string;

interface Publisher {
  readonly path: PathOf;
  readonly fs: FileSystem;
  readonly now: Date;
}

function publish(to: Publisher, files: readonly VolumeFile[], receipt: Receipt): void {
  const { path, fs, now } = to;
  const replaced = currentSet(path, fs);
  const set = fs.mkdtempSync(path(`..${timestamp(now)}.`));
  try {
    for (const file of files) writeFile(fs, join(set, file.name), file.content, file.mode);
    writeFile(fs, join(set, receiptFile), JSON.stringify(receipt), 0o444);
    // The application may run under another uid; the files' own modes say what it may read.
    fs.chmodSync(set, 0o755);
    // Links first: on the first publish they dangle, and the swap makes all files appear at once.
    for (const file of files) link(to, file.name, `${current}/${file.name}`);
    link(to, current, nameOf(set));
  } catch (error) {
    if (currentSet(path, fs) !== nameOf(set))
      tryTo(() => fs.rmSync(set, { recursive: true, force: true }));
    throw error;
  }
  // The new set is in place: what follows is tidying, and a failure of it is none of the publish.
  // A set is kept from when it was replaced, not from when it was made.
  if (replaced !== undefined) tryTo(() => fs.utimesSync(path(replaced), now, now));
  tryTo(() => removeStale(to, files));
}

function nameOf(set: string): string {
  return set.slice(set.lastIndexOf('/') + 1);
}

/** `2026_11_24_02_46_01`, the kubelet's format, in UTC. */
function timestamp(now: Date): string {
  return now.toISOString().slice(0, 19).replaceAll(/[-T:]/g, '_');
}

function writeFile(fs: FileSystem, path: string, content: string | Buffer, mode: number): void {
  // O_EXCL and O_NOFOLLOW: a planted file or link is never written through.
  const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    const bytes = Buffer.from(content);
    for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done);
    // Not subject to the umask.
    fs.fchmodSync(fd, mode);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** A file of our own beside the sets: as it was, or as it is to be, and nobody else's. */
function replaceFile(fs: FileSystem, path: string, content: string): void {
  const temporary = `${path}_tmp`;
  fs.rmSync(temporary, { recursive: true, force: true });
  writeFile(fs, temporary, content, 0o600);
  fs.renameSync(temporary, path);
}

/** Makes `name` a link to `target`, replacing whatever file or link stands there, at once. */
function link({ path, fs }: Publisher, name: string, target: string): void {
  const isThere = tryTo(() => fs.readlinkSync(path(name))) === target;
  if (isThere) return;
  const temporary = path('..link_tmp');
  fs.rmSync(temporary, { recursive: true, force: true });
  fs.symlinkSync(target, temporary);
  fs.renameSync(temporary, path(name));
}

function removeStale({ path, fs, now }: Publisher, files: readonly VolumeFile[]): void {
  const keep = currentSet(path, fs);
  for (const name of fs.readdirSync(path())) {
    if (setName.test(name) && name !== keep) {
      const stat = fs.lstatSync(path(name));
      if (now.getTime() - stat.mtimeMs > keepMs)
        fs.rmSync(path(name), { recursive: true, force: true });
    }
    const isOurLink = tryTo(() => fs.readlinkSync(path(name))) === `${current}/${name}`;
    if (isOurLink && !files.some((file) => file.name === name))
      fs.rmSync(path(name), { force: true });
  }
}

/** The name of the current set's directory; undefined when `..data` is not a link that we made. */
function currentSet(path: PathOf, fs: FileSystem): string | undefined {
  const target = tryTo(() => fs.readlinkSync(path(current)));
  if (target === undefined || !setName.test(target)) return undefined;
  return tryTo(() => fs.lstatSync(path(target)))?.isDirectory() ? target : undefined;
}

function readSet(set: string, path: PathOf, fs: FileSystem): PublishedSet {
  const read = (name: string): Buffer | undefined => tryTo(() => readNoFollow(fs, path(set, name)));
  return {
    tlsKey: read('tls.key'),
    tlsCrt: read('tls.crt')?.toString('latin1'),
    caCrt: read('ca.crt')?.toString('latin1'),
    receipt: parseJson(read(receiptFile)) as Receipt | undefined,
    files: (tryTo(() => fs.readdirSync(path(set))) ?? []).filter((name) => name !== receiptFile),
  };
}

function readPending(path: string, fs: FileSystem): PendingRequest | undefined {
  const value = parseJson(tryTo(() => readNoFollow(fs, path, process.geteuid?.()))) as
    Partial<PendingRequest> | undefined;
  const isWhole =
    typeof value?.name === 'string' &&
    typeof value.keyPem === 'string' &&
    typeof value.request === 'string' &&
    isListOfTexts(value.names?.dnsNames) &&
    isListOfTexts(value.names?.ipAddresses) &&
    isListOfTexts(value.names?.uris);
  return isWhole ? (value as PendingRequest) : undefined;
}

function isListOfTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

/** `owner`: whose file it must be; a key that somebody else planted is not taken for ours. */
function readNoFollow(fs: FileSystem, path: string, owner?: number): Buffer {
  // A planted link is not followed, a planted pipe not waited for.
  const fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw new Error('not a file');
    if (owner !== undefined && stat.uid !== owner) throw new Error('not ours');
    return fs.readFileSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function parseJson(bytes: Buffer | undefined): unknown {
  return tryTo(() => (bytes ? (JSON.parse(bytes.toString('utf8')) as unknown) : undefined));
}

function tryTo<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

const seen: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['the directory does not exist', 'Mount an emptyDir there, or set PODSEAL_DIR.'],
  ENOTDIR: ['it is not a directory', 'Mount an emptyDir there, or set PODSEAL_DIR.'],
  EROFS: [
    'it is mounted read-only',
    "Remove readOnly from the volumeMount of Podseal's container.",
  ],
  ENOSPC: ['no space is left', 'Raise sizeLimit of the emptyDir; a set needs about 64 KiB.'],
  EDQUOT: ['no space is left', 'Raise sizeLimit of the emptyDir; a set needs about 64 KiB.'],
  EACCES: ['permission denied', 'Run Podseal with the uid or fsGroup that may write there.'],
  EPERM: ['permission denied', 'Run Podseal with the uid or fsGroup that may write there.'],
};

function unwritable(directory: string, what: string, error: unknown): PodsealError {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const [why, hint] = seen[code] ?? [
    code || message,
    'Look at what stands in the directory: only Podseal should write there.',
  ];
  return new PodsealError(
    'VOLUME_UNWRITABLE',
    `Cannot ${what} volume ${JSON.stringify(directory)}: ${why}`,
    {
      hint,
      cause: error,
    },
  );
}
