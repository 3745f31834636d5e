import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** As the OCI image specification has them, of "config". */
export interface ImageConfig {
  User?: string;
  Env?: readonly string[];
  Entrypoint?: readonly string[];
  Cmd?: readonly string[];
  StopSignal?: string;
}

/** Copies a program of this machine into a root file system, with the libraries that it needs. */
export async function layProgram(rootfs: string, source: string, target: string): Promise<void> {
  const put = (from: string, to: string): void => {
    mkdirSync(join(rootfs, dirname(to)), { recursive: true });
    copyFileSync(from, join(rootfs, to));
  };
  const { stdout: libraries } = await run('ldd', [source]);
  const [missing] = /\S+ => not found/.exec(libraries) ?? [];
  if (missing !== undefined) throw new Error(`Cannot pack ${source}: ${missing} on this machine`);
  // With blanks around: ldd also prints an address in parentheses.
  for (const [, library = ''] of libraries.matchAll(/\s(\/\S+)/g)) put(library, library);
  put(source, target);
}

/** Node as `/usr/local/bin/node`, a shell, and the folders that every container has. */
export async function layNode(rootfs: string): Promise<void> {
  await layProgram(rootfs, process.execPath, '/usr/local/bin/node');
  const { stdout: busybox } = await run('sh', ['-c', 'command -v busybox']);
  // Debian's package busybox-static, which needs no libraries: ldd fails on it.
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  copyFileSync(busybox.trim(), join(rootfs, 'bin/busybox'));
  for (const applet of ['sh', 'ln', 'env']) symlinkSync('busybox', join(rootfs, 'bin', applet));
  mkdirSync(join(rootfs, 'usr/bin'), { recursive: true });
  symlinkSync('/bin/busybox', join(rootfs, 'usr/bin/env'));
  layFolders(rootfs);
}

export function layFolders(rootfs: string): void {
  for (const folder of ['tmp', 'proc', 'sys', 'dev', 'etc'])
    mkdirSync(join(rootfs, folder), { recursive: true });
}

/** Packs a root file system, which is gone afterwards; returns the path of the archive beside it. */
export async function packImage(
  rootfs: string,
  name: string,
  config: ImageConfig,
): Promise<string> {
  const archive = `${rootfs}.tar`;
  const script = join(import.meta.dirname, 'node/image.sh');
  await run(script, [rootfs, `docker.io/${name}`, archive, JSON.stringify(config)]);
  rmSync(rootfs, { recursive: true });
  return archive;
}
