import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';
import { chmod, readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { clientWithoutSideEffects, stubs, trimmedCalls, trimmedModels } from './trim-client.ts';

/**
 * Builds the program: dist/podseal.cjs starts it, dist/agent.cjs is the agent, and what only some
 * calls need stands in files of its own, loaded when used.
 */

/** Parts that other parts load at run time, by source file. */
const parts: Readonly<Record<string, string>> = {
  'commands.ts': './agent.cjs',
  'compose-telling.ts': './telling.cjs',
  'controllers.ts': './controllers.cjs',
  'help.ts': './help.cjs',
  'inspect.ts': './inspect.cjs',
  'kubeconfig.ts': './kubeconfig.cjs',
  'status.ts': './status.cjs',
  'watch-files.ts': './watch-files.cjs',
};

/** Of all that `podseal watch` loads in a pod: the agent stands in every pod. A test holds it too. */
const agentBudgetBytes = 200 * 1024;
const unwanted = /node_modules\/(undici|openid-client|ws|socks|js-yaml|form-data|tar-fs)\//;

const root = join(import.meta.dirname, '..');
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
  version: string;
};

const separateParts: Plugin = {
  name: 'separate-parts',
  setup(builder) {
    builder.onResolve({ filter: /\.ts$/ }, ({ path, kind }) => {
      const part = parts[basename(path)];
      return kind === 'dynamic-import' && part ? { path: part, external: true } : undefined;
    });
  },
};

async function bundle(source: string, target: string, plugins: Plugin[]): Promise<Metafile> {
  const options: BuildOptions = {
    absWorkingDir: root,
    entryPoints: [source],
    outfile: join('dist', target),
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    minify: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'error',
    // Dynamic imports become require(): no second module loader to start.
    supported: { 'dynamic-import': false },
    define: { PODSEAL_VERSION: JSON.stringify(version) },
    plugins: [separateParts, ...plugins],
  };
  const { metafile } = await build(options);
  if (!metafile) throw new Error(`Cannot check ${target}: esbuild gave no metafile`);
  return metafile;
}

await rm(join(root, 'dist'), { recursive: true, force: true });
await bundle('src/main.ts', 'podseal.cjs', []);
await bundle('src/cli/help.ts', 'help.cjs', []);
await bundle('src/agent/inspect.ts', 'inspect.cjs', []);
const agent = await bundle('src/cli/commands.ts', 'agent.cjs', [
  trimmedModels,
  trimmedCalls,
  stubs(),
  // KubeConfig reads YAML; the agent's part never does.
  clientWithoutSideEffects,
]);
await bundle('src/kubernetes/kubeconfig.ts', 'kubeconfig.cjs', [
  trimmedModels,
  stubs(),
  clientWithoutSideEffects,
]);
await bundle('src/cli/controllers.ts', 'controllers.cjs', []);
await bundle('src/cli/status.ts', 'status.cjs', []);
await bundle('src/cli/compose-telling.ts', 'telling.cjs', []);
const watching = await bundle('src/node/watch-files.ts', 'watch-files.cjs', []);
await chmod(join(root, 'dist/podseal.cjs'), 0o755);

if (process.argv.includes('--sizes')) {
  const by: Record<string, number> = {};
  for (const { outputs } of [agent, watching])
    for (const [input, { bytesInOutput }] of Object.entries(
      Object.values(outputs)[0]?.inputs ?? {},
    )) {
      const owner = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? 'podseal';
      by[owner] = (by[owner] ?? 0) + bytesInOutput;
    }
  console.table(by);
}
const found = Object.entries(Object.values(agent.outputs)[0]?.inputs ?? {})
  .filter(([input, { bytesInOutput }]) => unwanted.test(input) && bytesInOutput > 0)
  .map(([input]) => input);
if (found.length > 0)
  throw new Error(`Cannot ship dist/agent.cjs: it contains ${found.join(', ')}`);
const sizes = await Promise.all(
  ['podseal.cjs', 'agent.cjs', 'watch-files.cjs'].map(
    async (file) => (await stat(join(root, 'dist', file))).size,
  ),
);
const total = sizes.reduce((sum, size) => sum + size, 0);
if (total > agentBudgetBytes)
  throw new Error(`Cannot ship the agent: ${total} bytes, the budget is ${agentBudgetBytes}`);
console.error(`build: the agent has ${total} bytes of at most ${agentBudgetBytes}`);
