import { execFile } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly version: string;
};

/** As deploy/ and the examples call it. */
export const podsealImage = `podseal:${version}`;

/** As the OCI image specification has them, of "config". */
interface ImageConfig {
  User?: string;
  Entrypoint?: readonly string[];
  Cmd?: readonly string[];
}

/**
 * Packs dist/ into an image by the last stage of the Dockerfile, which is read and carried out here, so
 * that the tests run what users build. Only the base is another: this machine's Node with the libraries
 * that it needs, and busybox. Returns the path of the archive.
 */
export async function packPodsealImage(directory: string): Promise<string> {
  if (!existsSync(join(root, 'dist/podseal.cjs')))
    throw new Error('Cannot pack the image podseal: there is no dist/; run "npm run build" first');
  const rootfs = join(directory, 'podseal-rootfs');
  const archive = join(directory, 'podseal.tar');
  await layBase(rootfs);
  const config = await carryOut(lastStage(), rootfs);
  const script = join(import.meta.dirname, 'node/image.sh');
  await run(script, [rootfs, `docker.io/library/${podsealImage}`, archive, JSON.stringify(config)]);
  rmSync(rootfs, { recursive: true });
  return archive;
}

async function layBase(rootfs: string): Promise<void> {
  const put = (source: string, target = source): void => {
    mkdirSync(join(rootfs, dirname(target)), { recursive: true });
    copyFileSync(source, join(rootfs, target));
  };
  const { stdout: libraries } = await run('ldd', [process.execPath]);
  for (const [library] of libraries.matchAll(/\/\S+/g)) put(library);
  put(process.execPath, '/usr/local/bin/node');
  const { stdout: busybox } = await run('sh', ['-c', 'command -v busybox']);
  put(busybox.trim(), '/bin/busybox');
  for (const applet of ['sh', 'ln', 'env']) symlinkSync('busybox', join(rootfs, 'bin', applet));
  mkdirSync(join(rootfs, 'usr/bin'));
  symlinkSync('/bin/busybox', join(rootfs, 'usr/bin/env'));
  for (const folder of ['tmp', 'proc', 'sys', 'dev', 'etc']) mkdirSync(join(rootfs, folder));
}

/** The instructions below the last FROM. */
function lastStage(): readonly string[] {
  const lines = readFileSync(join(root, 'Dockerfile'), 'utf8')
    .split('\n')
    .filter((line) => !/^(#|\s*$)/.test(line));
  return lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')) + 1);
}

async function carryOut(instructions: readonly string[], rootfs: string): Promise<ImageConfig> {
  const config: ImageConfig = {};
  for (const instruction of instructions) {
    const [name = '', ...words] = instruction.split(' ');
    const rest = words.join(' ');
    const [, source, target] = /^--from=build \/src\/(\S+) (\S+)$/.exec(rest) ?? [];
    if (name === 'COPY' && source !== undefined && target !== undefined)
      cpSync(join(root, source), join(rootfs, target), { recursive: true });
    else if (name === 'RUN') await run('chroot', [rootfs, '/bin/sh', '-c', rest]);
    else if (name === 'USER') config.User = rest;
    else if (name === 'ENTRYPOINT') config.Entrypoint = JSON.parse(rest) as string[];
    else if (name === 'CMD') config.Cmd = JSON.parse(rest) as string[];
    else throw new Error(`Cannot pack the image podseal: what does "${instruction}" mean here?`);
  }
  return config;
}
