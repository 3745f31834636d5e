import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * `node build/image.ts DIRECTORY` lays out what the image adds to its base: the program in /opt/podseal,
 * and /usr/local/bin/podseal. The base has neither a shell nor env, so the first line of the program
 * names its Node. The Dockerfile and the tests both call it.
 */
const [directory = ''] = process.argv.slice(2);
if (directory === '')
  throw new Error('Cannot lay out the image: say where, as in "node build/image.ts /image"');

/** Where the base image (distroless) has it. */
const node = '/nodejs/bin/node';

const program = join(directory, 'opt/podseal');
const bin = join(directory, 'usr/local/bin');
await mkdir(bin, { recursive: true });
await cp(join(import.meta.dirname, '../dist'), program, { recursive: true });
const main = join(program, 'podseal.cjs');
const text = await readFile(main, 'utf8');
if (!text.startsWith('#!')) throw new Error(`Cannot lay out the image: ${main} has no first line`);
await writeFile(main, text.replace(/^#!.*/, `#!${node}`));
await symlink('/opt/podseal/podseal.cjs', join(bin, 'podseal'));
