import { deepEqual, equal, match } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { createServer, type Server as TlsServer } from 'node:tls';
import { type StatusReport } from '../../src/agent/status-report.ts';
import { testAuthority } from '../support/administrator.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import { type PodScene } from '../support/pod-scene.ts';
import { type Program } from '../support/program.ts';
import { approveAll, sceneFor } from '../support/shared-scene.ts';
import { signalled } from '../support/signalled.ts';
import { until } from '../support/until.ts';

const plane = sharedControlPlane();
after(() => plane.api.close());

async function page(watch: Program, path: string): Promise<string> {
  const { port } = await watch.logged('probes.listening');
  return (await fetch(`http://127.0.0.1:${String(port)}${path}`)).text();
}

async function report(watch: Program): Promise<StatusReport> {
  return JSON.parse(await page(watch, '/status')) as StatusReport;
}

async function listening(context: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** The set on the volume, as an application reads it. */
function files(scene: PodScene): { readonly key: string; readonly cert: string } {
  const read = (name: string): string => readFileSync(join(scene.directory, name), 'utf8');
  return { key: read('tls.key'), cert: read('tls.crt') };
}

let renewals = 0;
async function renew(scene: PodScene): Promise<void> {
  const before = files(scene).cert;
  scene.setAnnotations({ 'podseal.dev/renew': String(++renewals) });
  await until('the renewal', () => files(scene).cert !== before);
}

const outcomeOf = async (watch: Program): Promise<string | undefined> =>
  (await report(watch)).hooks[0]?.outcome;

describe('podseal watch tells the application', { timeout: 180_000, concurrency: 4 }, () => {
  test('by signal, of each new set; what is not there for the first set is not looked for', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const name = `app${randomBytes(4).toString('hex')}`;
    const watch = scene.run('watch', { PODSEAL_HOOK_SIGNAL: `${name}:HUP` });
    await watch.logged('hook.skipped');
    const [first] = (await report(watch)).hooks;
    deepEqual([first?.hook, first?.outcome], ['signal', 'none']);
    // Started by the kubelet once the certificate is there.
    const application = await signalled(context, { argv0: name, hasWorker: true });
    await renew(scene);
    await until('the signal', () => application.told().length === 1);
    await until('the report', async () => (await outcomeOf(watch)) === 'ok');
    const next = await testAuthority('the next root');
    scene.trust.write({ 'ca.crt': scene.ca.rootPem + next.rootPem });
    await until('the signal for the new bundle', () => application.told().length === 2);
    deepEqual(application.told(), ['master HUP', 'master HUP']);
    const metrics = await page(watch, '/metrics');
    match(metrics, /podseal_hook_runs_total\{hook="signal",outcome="none"\} 1/);
    match(metrics, /podseal_hook_runs_total\{hook="signal",outcome="ok"\} 2/);
    equal((await report(watch)).ready, true);
  });

  test('by HTTP, again after failures; nothing else waits for it', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    const answers = [500, 503, 200];
    const calls: string[] = [];
    const port = await listening(
      context,
      createHttpServer((request, reply) => {
        calls.push(`${request.method ?? ''} ${request.url ?? ''}`);
        reply.writeHead(answers[calls.length - 1] ?? 200).end();
      }),
    );
    const url = `http://127.0.0.1:${port}/-/reload`;
    const watch = scene.run('watch', { PODSEAL_HOOK_HTTP: url });
    await until('a failure', async () => (await outcomeOf(watch)) === 'failed');
    const { hooks, ready } = await report(watch);
    match(
      hooks[0]?.why ?? '',
      /Cannot have the application reload by POST http.*: it answered 500/,
    );
    equal(ready, true);
    await until('the success', async () => (await outcomeOf(watch)) === 'ok');
    deepEqual(calls, ['POST /-/reload', 'POST /-/reload', 'POST /-/reload']);
  });

  test('of the newest set alone, when that comes while another is told', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    /** The certificate on the volume at each call. */
    const seen: string[] = [];
    let hangs = true;
    const server = createHttpServer((_, reply) => {
      seen.push(files(scene).cert);
      if (!hangs) reply.writeHead(204).end();
    });
    context.after(() => server.closeAllConnections());
    const port = await listening(context, server);
    const watch = scene.run('watch', { PODSEAL_HOOK_HTTP: `PUT http://localhost:${port}/` });
    await until('the first call', () => seen.length === 1);
    hangs = false;
    await renew(scene);
    await until('the success', async () => (await outcomeOf(watch)) === 'ok');
    deepEqual([seen.length, seen.at(-1)], [2, files(scene).cert]);
    match(
      await page(watch, '/metrics'),
      /^podseal_hook_runs_total\{hook="http",outcome="ok"\} 1$/m,
    );
  });

  test('after a restart only of what was not told before', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    let status = 200;
    let calls = 0;
    const port = await listening(
      context,
      createHttpServer((_, reply) => {
        calls += 1;
        reply.writeHead(status).end();
      }),
    );
    const settings = { PODSEAL_HOOK_HTTP: `http://127.0.0.1:${port}/reload` };
    const kill = async (watch: Program): Promise<void> => {
      watch.child.kill('SIGKILL');
      await watch.exit;
    };
    const first = scene.run('watch', settings);
    await until('the first set is told', async () => (await outcomeOf(first)) === 'ok');
    status = 500;
    await renew(scene);
    await until('the second is not', async () => (await outcomeOf(first)) === 'failed');
    await kill(first);
    status = 200;
    calls = 0;
    const second = scene.run('watch', settings);
    await until('the second set is told', async () => (await outcomeOf(second)) === 'ok');
    await kill(second);
    equal(calls, 1);
    const third = scene.run('watch', settings);
    await third.logged('probes.listening');
    await renew(scene);
    await until('the third set is told', async () => (await outcomeOf(third)) === 'ok');
    equal(calls, 2, 'the second set was not told again');
  });

  test('init tells nobody, and what it published needs no telling', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    let calls = 0;
    const port = await listening(
      context,
      createHttpServer((_, reply) => {
        calls += 1;
        reply.writeHead(200).end();
      }),
    );
    const settings = { PODSEAL_HOOK_HTTP: `http://127.0.0.1:${port}/reload` };
    equal(await scene.run('init', settings).exit, 0);
    const watch = scene.run('watch', settings);
    await renew(scene);
    await until('the renewed set is told', async () => (await outcomeOf(watch)) === 'ok');
    equal(calls, 1);
  });
});

describe('podseal watch looks at the application', { timeout: 180_000, concurrency: 4 }, () => {
  const servesCurrent = async (watch: Program): Promise<string | undefined> =>
    /^podseal_application_serves_current (\d)$/m.exec(await page(watch, '/metrics'))?.[1];

  interface Application {
    readonly port: number;
    /** Handshakes that ended badly. */
    readonly refused: readonly Error[];
    readonly reload: () => void;
    readonly stop: () => void;
  }

  /** Serves what was on the volume when it was told to load, and demands certificates of clients. */
  async function application(context: TestContext, scene: PodScene): Promise<Application> {
    const load = () => ({ ...files(scene), ca: scene.ca.rootPem });
    const server: TlsServer = createServer({
      ...load(),
      requestCert: true,
      rejectUnauthorized: true,
    });
    const refused: Error[] = [];
    server.on('tlsClientError', (error) => refused.push(error));
    const port = await listening(context, server);
    return {
      port,
      refused,
      reload: () => server.setSecureContext(load()),
      stop: () => server.close(),
    };
  }

  test('and sees whether it serves the certificate on the volume', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    equal(await scene.run('init').exit, 0);
    const { port, refused, reload, stop } = await application(context, scene);
    const watch = scene.run('watch', { PODSEAL_PROBE: `127.0.0.1:${port}` });
    const applicationIs = (what: string) =>
      until(`the application is ${what}`, async () => (await report(watch)).application === what);
    await applicationIs('current');
    equal(await servesCurrent(watch), '1');
    await renew(scene);
    await applicationIs('other');
    equal(await servesCurrent(watch), '0');
    match(await page(watch, '/readyz'), /^ok/);
    reload();
    await applicationIs('current');
    equal(await servesCurrent(watch), '1');
    deepEqual(refused, []);
    stop();
    await renew(scene);
    await applicationIs('unreachable');
    match(await page(watch, '/metrics'), /^podseal_application_reachable 0$/m);
    match(await page(watch, '/readyz'), /^ok/);
  });

  test('together: a renewed certificate is served because the hook told of it', async (context) => {
    const scene = await sceneFor(context, plane);
    approveAll(context, scene);
    equal(await scene.run('init').exit, 0);
    const { port, refused, reload } = await application(context, scene);
    const hook = await listening(
      context,
      createHttpServer((_, reply) => {
        reload();
        reply.writeHead(204).end();
      }),
    );
    const watch = scene.run('watch', {
      PODSEAL_HOOK_HTTP: `http://127.0.0.1:${hook}/reload`,
      PODSEAL_PROBE: `127.0.0.1:${port}`,
    });
    await watch.logged('application.current');
    await renew(scene);
    await until('the new one is seen', async () => {
      const { certificate, application, hooks } = await report(watch);
      const isNew = certificate?.serial !== undefined && hooks[0]?.outcome === 'ok';
      return isNew && application === 'current';
    });
    deepEqual(refused, []);
  });
});
