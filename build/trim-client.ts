import { readFile } from 'node:fs/promises';
import { type Plugin } from 'esbuild';

/**
 * Makes the generated Kubernetes client small enough for a sidecar (docs/adr/0005): 16 MB of source
 * become some 60 KB. Public API of the client only; an unknown model is passed through as plain JSON
 * by the client itself, so leaving models out is safe.
 */

/** Models that the agent's two calls and the API server's errors use. */
const keptModels =
  /^(V1CertificateSigningRequest\w*|V1ObjectMeta|V1OwnerReference|V1ManagedFieldsEntry|V1ListMeta|V1Status\w*)$/;

/** Packages that the client imports and that the agent never reaches: other transports and logins. */
const stubbed = [
  'undici',
  'openid-client',
  'socks',
  'socks-proxy-agent',
  'hpagent',
  'ws',
  'isomorphic-ws',
  'jsonpath-plus',
  'tar-fs',
  'stream-buffers',
  'form-data',
];

const isClient = /@kubernetes[\\/]client-node/;

/** The package does not say that its files have no side effects; they have none. */
export const clientWithoutSideEffects: Plugin = {
  name: 'client-without-side-effects',
  setup(build) {
    build.onResolve({ filter: /.*/ }, async (args) => {
      if (args.pluginData === 'resolving') return undefined;
      const { resolveDir, kind, importer } = args;
      const resolved = await build.resolve(args.path, {
        resolveDir,
        kind,
        importer,
        pluginData: 'resolving',
      });
      if (resolved.errors.length > 0 || !isClient.test(resolved.path)) return undefined;
      return { ...resolved, sideEffects: false };
    });
  },
};

/** Leaves all but the kept models out of the client's table of models. */
export const trimmedModels: Plugin = {
  name: 'trimmed-models',
  setup(build) {
    build.onLoad({ filter: /gen[\\/]models[\\/]ObjectSerializer\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const lines = [
        /^export \* from '\.\.\/models\/(\w+)\.js';$/gm,
        /^import \{ (\w+) \} from '\.\.\/models\/\w+\.js';$/gm,
        /^ {4}"(\w+)": \w+,?$/gm,
      ];
      const contents = lines.reduce((text, line) => {
        let dropped = 0;
        const trimmed = text.replace(line, (whole, name: string) => {
          // Lower case: entries of the primitive types' tables.
          if (keptModels.test(name) || !/^[A-Z]/.test(name)) return whole;
          dropped++;
          return '';
        });
        if (dropped === 0)
          throw new Error(
            `Cannot trim ${path}: nothing matches ${String(line)}; the client's layout has changed`,
          );
        return trimmed;
      }, source);
      return { contents, loader: 'js' };
    });
  },
};

/** The two calls that a workload may make, among the forty of the API group. */
const keptCalls = /^(create|read)CertificateSigningRequest(WithHttpInfo)?$/;

/** Leaves all other calls of the certificates API out of the generated classes. */
export const trimmedCalls: Plugin = {
  name: 'trimmed-calls',
  setup(build) {
    const files =
      /gen[\\/](apis[\\/]CertificatesV1Api|types[\\/](ObservableAPI|ObjectParamAPI))\.js$/;
    const call =
      /^ {4}(?:async )?(\w+(?:CertificateSigningRequest|ClusterTrustBundle|PodCertificateRequest)\w*)\(.*\{\n(?:(?! {4}\}\n).*\n)* {4}\}\n/gm;
    build.onLoad({ filter: files }, async ({ path }) => {
      let dropped = 0;
      const contents = (await readFile(path, 'utf8')).replace(call, (whole, name: string) => {
        if (keptCalls.test(name)) return whole;
        dropped++;
        return '';
      });
      if (dropped === 0)
        throw new Error(`Cannot trim ${path}: no call matches; the client's layout has changed`);
      return { contents, loader: 'js' };
    });
  },
};

/** An empty class for whatever is imported from packages that are not reached. */
export function stubs(except: readonly string[] = []): Plugin {
  const names = stubbed.filter((name) => !except.includes(name));
  return {
    name: 'stubs',
    setup(build) {
      build.onResolve({ filter: new RegExp(`^(${names.join('|')})$`) }, ({ path }) => ({
        path,
        namespace: 'stub',
      }));
      build.onLoad({ filter: /.*/, namespace: 'stub' }, () => ({
        contents:
          'module.exports = new Proxy(function () {}, { get: (_, key) => (key === "__esModule" ? false : class {}) });',
        loader: 'js',
      }));
    },
  };
}
