import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attachControlPlane, startControlPlane, type Part } from './control-plane.ts';
import { cacheDirectory } from './binaries.ts';
import { importImage, startNode, stopNode } from './node.ts';
import { packPodsealImage } from './podseal-image.ts';

const usage = `Usage: npm run cluster -- COMMAND

  up                        start etcd, kube-apiserver and kube-controller-manager on loopback
  up --node                 start a whole node that runs pods, in namespaces of its own (root)
  down                      end them and remove their files
  env                       print: export KUBECONFIG=...
  restart PART [kill|term]  end a part of the control plane (etcd, kube-apiserver, kube-controller-manager),
                            start it again
`;

const directory = process.env['PODSEAL_CLUSTER_DIR'] ?? join(cacheDirectory(), 'run');
const say = (line: string): void => console.error(`cluster: ${line}`);

async function main(args: readonly string[]): Promise<number> {
  const [command, part = '', how = 'term'] = args;
  switch (command) {
    case 'up':
      if (part === '--node') await upNode();
      else if (part === '') (await startControlPlane({ directory, say })).api.close();
      else return wrong(`unknown option ${part}`);
      say('for kubectl: eval "$(npm run --silent cluster -- env)"');
      return 0;
    case 'down':
      if (!existsSync(join(directory, 'state.json'))) {
        say('not up');
        return 0;
      }
      if (isNode()) await stopNode(directory);
      else await attachControlPlane(directory).down();
      say('down, nothing left behind');
      return 0;
    case 'env': {
      if (!existsSync(join(directory, 'state.json')))
        throw new Error(
          'Cannot name a kubeconfig: no cluster is up; run "npm run cluster -- up" first',
        );
      console.log(`export KUBECONFIG=${join(directory, 'admin.kubeconfig')}`);
      return 0;
    }
    case 'restart': {
      const parts: readonly string[] = ['etcd', 'kube-apiserver', 'kube-controller-manager'];
      if (!parts.includes(part) || (how !== 'kill' && how !== 'term'))
        return wrong('restart what?');
      if (isNode())
        throw new Error('Cannot restart a part of a whole node: take it down and up again');
      const plane = attachControlPlane(directory);
      await plane.faults.stop(part as Part, how);
      await plane.faults.start(part as Part);
      plane.api.close();
      say(`${part} restarted`);
      return 0;
    }
    default:
      return wrong(command === undefined ? '' : `unknown command ${command}`);
  }
}

/** A node with the image of this working tree, for deploy/ and the examples. */
async function upNode(): Promise<void> {
  await startNode(directory, say);
  await importImage(directory, await packPodsealImage(directory));
}

function isNode(): boolean {
  return readFileSync(join(directory, 'state.json'), 'utf8').includes('"kind":"node"');
}

function wrong(why: string): number {
  console.error(`${why === '' ? '' : `error: ${why}\n`}${usage}`);
  return 64;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
