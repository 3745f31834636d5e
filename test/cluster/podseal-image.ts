import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { layFolders, layProgram, packImage, type ImageConfig } from './image.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly version: string;
};

/** As deploy/ and the examples call it. */
export const podsealImage = `podseal:${version}`;

/**
 * Packs dist/ into an image by the last stage of the Dockerfile, which is read and carried out here, so
 * that the tests run what users build. Only the base is another: this machine's Node with the libraries
 * that it needs, where the real base has it. There is no shell in either. Returns the path of the archive.
 */
export async function packPodsealImage(directory: string): Promise<string> {
  if (!existsSync(join(root, 'dist/podseal.cjs')))
    throw new Error('Cannot pack the image podseal: there is no dist/; run "npm run build" first');
  const rootfs = join(directory, 'podseal');
  await layProgram(rootfs, process.execPath, '/nodejs/bin/node');
  layFolders(rootfs);
  // For the tests' own clients, which take the image for one with Node.
  mkdirSync(join(rootfs, 'usr/local/bin'), { recursive: true });
  symlinkSync('/nodejs/bin/node', join(rootfs, 'usr/local/bin/node'));
  return packImage(rootfs, `library/${podsealImage}`, await carryOut(lastStage(), rootfs));
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
    if (instruction === 'COPY --from=build /image /')
      await run(process.execPath, [join(root, 'build/image.ts'), rootfs]);
    else if (name === 'USER') config.User = rest;
    else if (name === 'ENTRYPOINT') config.Entrypoint = JSON.parse(rest) as string[];
    else if (name === 'CMD') config.Cmd = JSON.parse(rest) as string[];
    else throw new Error(`Cannot pack the image podseal: what does "${instruction}" mean here?`);
  }
  return config;
}
