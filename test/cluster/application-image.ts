import { execFile } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './binaries.ts';
import { layFolders, layNode, layProgram, packImage } from './image.ts';

/**
 * Stand-ins for the public images that the examples name, under these very names: a node of the tests
 * has no registry. They are made of this machine's Node and of Debian's packages.
 */

const run = promisify(execFile);

/** As the examples name them. */
const nodeImage = 'node:24-alpine';
const nginxImage = 'nginxinc/nginx-unprivileged:1.30-alpine';

/** Packs Node into an image; returns the path of the archive. The user is root unless the image says another. */
export async function packNodeImage(
  directory: string,
  { name = nodeImage, user = '' }: { readonly name?: string; readonly user?: string } = {},
): Promise<string> {
  const rootfs = join(directory, `node-${user}`);
  await layNode(rootfs);
  return packImage(rootfs, `library/${name}`, {
    ...(user === '' ? {} : { User: user }),
    Env: ['PATH=/usr/local/bin:/usr/bin:/bin'],
    Cmd: ['node'],
  });
}

/**
 * Packs nginx into an image, laid out as nginxinc/nginx-unprivileged is: user 101, everything that it
 * writes in /tmp, sites in /etc/nginx/conf.d. Returns the path of the archive. Throws an Error that says
 * how to get nginx when it is neither installed nor to be had from Debian.
 */
export async function packNginxImage(directory: string): Promise<string> {
  const rootfs = join(directory, 'nginx');
  const files = await findNginx();
  await layProgram(rootfs, join(files, 'usr/sbin/nginx'), '/usr/sbin/nginx');
  layFolders(rootfs);
  for (const folder of ['etc/nginx/conf.d', 'var/log/nginx', 'var/lib/nginx'])
    mkdirSync(join(rootfs, folder), { recursive: true });
  copyFileSync(join(files, 'etc/nginx/mime.types'), join(rootfs, 'etc/nginx/mime.types'));
  writeFileSync(join(rootfs, 'etc/nginx/nginx.conf'), nginxConfiguration);
  symlinkSync('/dev/stdout', join(rootfs, 'var/log/nginx/access.log'));
  symlinkSync('/dev/stderr', join(rootfs, 'var/log/nginx/error.log'));
  return packImage(rootfs, nginxImage, {
    User: '101',
    Env: ['PATH=/usr/sbin:/usr/bin:/bin'],
    Cmd: ['nginx', '-g', 'daemon off;'],
    StopSignal: 'SIGQUIT',
  });
}

const nginxConfiguration = `worker_processes auto;
error_log /var/log/nginx/error.log notice;
pid /tmp/nginx.pid;
events { worker_connections 1024; }
http {
  proxy_temp_path /tmp/proxy_temp;
  client_body_temp_path /tmp/client_temp;
  fastcgi_temp_path /tmp/fastcgi_temp;
  uwsgi_temp_path /tmp/uwsgi_temp;
  scgi_temp_path /tmp/scgi_temp;
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /var/log/nginx/access.log;
  include /etc/nginx/conf.d/*.conf;
}
`;

/** Where nginx and its files are, as in a root file system: this machine's, or Debian's packages unpacked. */
async function findNginx(): Promise<string> {
  if (existsSync('/usr/sbin/nginx') && existsSync('/etc/nginx/mime.types')) return '/';
  const unpacked = join(cacheDirectory(), 'nginx');
  if (existsSync(unpacked)) return unpacked;
  mkdirSync(dirname(unpacked), { recursive: true });
  const temporary = mkdtempSync(`${unpacked}.`);
  try {
    await run('apt-get', ['download', 'nginx', 'nginx-common'], { cwd: temporary });
    const files = join(temporary, 'files');
    for (const name of readdirSync(temporary).filter((each) => each.endsWith('.deb')))
      await run('dpkg-deb', ['--extract', join(temporary, name), files]);
    renameSync(files, unpacked);
    return unpacked;
  } catch (error) {
    // Somebody else may have unpacked it in the meantime.
    if (existsSync(unpacked)) return unpacked;
    const why = error instanceof Error ? error.message.trim() : String(error);
    throw new Error(
      `Cannot make an image of nginx: it is not installed, and Debian's package cannot be had: ${why}. ` +
        'Install it: apt-get update && apt-get install --no-install-recommends nginx',
      { cause: error },
    );
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
