import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect as connectPlain, isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { cacheDirectory } from '../cluster/binaries.ts';
import { lineProgram, type LineProgram } from './line-program.ts';
import { openssl } from './openssl.ts';

/** A certificate as it is handed out, and what its readers are to trust; all PEM. */
export interface Issued {
  readonly root: string;
  readonly chain: string;
  readonly key: string;
}

/** "ok", or "refused: WHY". */
export type Verdict = string;

/** What judges whether a server may act under a name or an address. */
export interface Verifier {
  verify(issued: Issued, host: string): Promise<Verdict>;
  close(): void;
}

const tests = join(import.meta.dirname, '..');

function newDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'podseal-verifier-'));
}

/** `openssl verify`, as strict as it can be. */
export function opensslVerifier(): Verifier {
  const directory = newDirectory();
  return {
    async verify({ root, chain }, host) {
      const file = (name: string, content: string): string => {
        const path = join(directory, name);
        writeFileSync(path, content);
        return path;
      };
      const chainFile = file('chain.pem', chain);
      const { ok, text } = await openssl([
        ...['verify', '-x509_strict', '-purpose', 'sslserver', '-no-CApath', '-no-CAstore'],
        ...['-CAfile', file('root.pem', root), '-untrusted', chainFile],
        ...[isIP(host) ? '-verify_ip' : '-verify_hostname', host, chainFile],
      ]);
      return ok ? 'ok' : `refused: ${text}`;
    },
    close: () => rmSync(directory, { recursive: true }),
  };
}

/** Go's crypto/x509. Undefined, where there is no Go to build it with. */
export async function goVerifier(): Promise<
  (Verifier & { verifyClient(issued: Issued): Promise<Verdict> }) | undefined
> {
  const program = await builtGo();
  if (program === undefined) return undefined;
  const go = lineProgram(program, []);
  return {
    verify: ({ root, chain }, host) => go.ask(JSON.stringify({ root, chain, host })),
    verifyClient: ({ root, chain }) => go.ask(JSON.stringify({ root, chain, purpose: 'client' })),
    close: () => go.close(),
  };
}

/** Built once and cached by content. */
async function builtGo(): Promise<string | undefined> {
  const source = join(tests, 'interop-go');
  const hash = createHash('sha256');
  for (const file of ['main.go', 'go.mod']) hash.update(readFileSync(join(source, file)));
  const directory = join(cacheDirectory(), 'interop-go');
  const program = join(directory, hash.digest('hex').slice(0, 16));
  if (existsSync(program)) return program;
  mkdirSync(directory, { recursive: true });
  const temporary = `${program}.${process.pid}`;
  try {
    // Nothing is fetched: the standard library suffices.
    const env = { ...process.env, GOTOOLCHAIN: 'local', GOPROXY: 'off', GOWORK: 'off' };
    await promisify(execFile)('go', ['build', '-o', temporary, '.'], { cwd: source, env });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error('Cannot build test/interop-go', { cause: error });
  }
  renameSync(temporary, program);
  return program;
}

/** A server of Node with the certificate, which asks its clients for theirs. */
async function served(
  issued: Issued,
): Promise<{ server: Server; port: number; clients: Verdict[] }> {
  const { key, chain, root } = issued;
  const clients: Verdict[] = [];
  const options = { key, cert: chain, ca: root, requestCert: true, rejectUnauthorized: false };
  const server = createServer(options, (socket) => {
    socket.on('error', () => undefined);
    // The published types say Error; it is a text.
    const error = socket.authorizationError as unknown as string | null;
    clients.push(error === null ? 'ok' : `refused: ${error}`);
    socket.end();
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port, clients };
}

/** A handshake by Java, with its default trust manager and HTTPS's rules for names. */
export function javaVerifier(): Verifier {
  const directory = newDirectory();
  const java: LineProgram = lineProgram('java', [join(tests, 'interop-java/Handshake.java')]);
  let count = 0;
  return {
    async verify(issued, host) {
      const { server, port } = await served(issued);
      const file = join(directory, `root-${count++}.pem`);
      writeFileSync(file, issued.root);
      try {
        return await java.ask(`${file} ${port} ${host}`);
      } finally {
        server.close();
      }
    },
    close() {
      java.close();
      rmSync(directory, { recursive: true });
    },
  };
}

/** A handshake by Node with Node, both with this certificate: what the client says of the server. */
export function nodeVerifier(): Verifier & {
  /** What the server says of the client. */
  verifyClient(issued: Issued, host: string): Promise<Verdict>;
} {
  const shakeHands = async (issued: Issued, host: string) => {
    const { server, port, clients } = await served(issued);
    const { root: ca, chain: cert, key } = issued;
    const plain = connectPlain(port, '127.0.0.1');
    const name = isIP(host) ? {} : { servername: host };
    const client: TLSSocket = connect({ socket: plain, host, ca, cert, key, ...name });
    try {
      const server = await new Promise<Verdict>((resolve) => {
        client.once('secureConnect', () => resolve('ok'));
        client.once('error', (error: Error) => resolve(`refused: ${error.message}`));
      });
      if (server === 'ok') await once(client.resume(), 'close');
      return { server, client: clients[0] ?? 'refused: no handshake' };
    } finally {
      client.destroy();
      server.close();
    }
  };
  return {
    verify: async (issued, host) => (await shakeHands(issued, host)).server,
    verifyClient: async (issued, host) => (await shakeHands(issued, host)).client,
    close: () => undefined,
  };
}
