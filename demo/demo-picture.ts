import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { terminalPicture } from './terminal-picture.ts';

/** `npm run picture` writes images/demo.svg: what the demo prints from its third act on, of a run made for it. */

const { stdout } = await promisify(execFile)(process.execPath, [
  join(import.meta.dirname, 'demo.ts'),
]);
const thirdAct = stdout.indexOf('\n3  ');
if (thirdAct < 0) throw new Error('Cannot draw the demo: it printed no third act');
const picture = terminalPicture(
  'npm run demo: forged requests denied, renewals, a new name, killed replicas, another CA, and no failed request',
  `$ npm run demo\n...\n${stdout.slice(thirdAct)}`,
);
writeFileSync(join(import.meta.dirname, '../images/demo.svg'), picture);
