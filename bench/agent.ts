import { spawn } from 'node:child_process';
import { readFileSync, rmSync, statSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlPlane } from '../test/cluster/control-plane.ts';
import { podScene, webService } from '../test/support/pod-scene.ts';
import { until } from '../test/support/until.ts';
import { serveAll } from './quick-administrator.ts';

const dist = join(import.meta.dirname, '../dist');

/** One run of a command: own CPU time (user + system) and wall time, milliseconds. */
interface Timing {
  readonly cpuMs: number;
  readonly wallMs: number;
}

/** bash's own `time` reads wait4's figures: nothing is loaded into what is measured. */
function timed(command: readonly string[], environment: NodeJS.ProcessEnv): Promise<Timing> {
  const script = 'TIMEFORMAT="%U %S %R"; exec 3>&2; { time "$@" >/dev/null 2>/dev/null; } 2>&3';
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', script, 'bench', ...command], {
      env: environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('close', (code) => {
      const [user = NaN, system = NaN, real = NaN] = text.trim().split(' ').map(Number);
      if (code !== 0 || Number.isNaN(real))
        reject(
          new Error(
            `Cannot time ${command.join(' ')}: it ended with ${code ?? 'a signal'}: ${text}`,
          ),
        );
      else resolve({ cpuMs: (user + system) * 1000, wallMs: real * 1000 });
    });
  });
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** Anonymous memory of the process, MB: what no other process shares. */
function privateMB(pid: number): number {
  const [, kilobytes] =
    /^Anonymous:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? [];
  return Number(kilobytes) / 1024;
}

/** The budgets of the agent: bytes, start, memory. */
export async function benchAgent(
  plane: ControlPlane,
  say: (line: string) => void,
): Promise<object> {
  const rounds = Number(process.env['BENCH_ROUNDS'] ?? 21);
  const renewals = Number(process.env['BENCH_RENEWALS'] ?? 1000);
  const services = Array.from({ length: 2000 }, (_, index) => ({
    ...webService,
    name: `service-${index}`,
    selector: { app: `app-${index}`, tier: 'backend' },
  }));
  const scene = await podScene(plane, { services: [webService, ...services] });
  const stop = new AbortController();
  const serving = serveAll(plane.api, scene.administrator.signerName, scene.ca, stop.signal);
  try {
    const environment = { PATH: process.env['PATH'], ...scene.environment };
    const bare: Timing[] = [];
    const oneShot: Timing[] = [];
    for (let i = 0; i < rounds; i++) {
      bare.push(await timed([process.execPath, '-e', '0'], environment));
      rmSync(scene.directory, { recursive: true });
      mkdirSync(scene.directory);
      oneShot.push(await timed([process.execPath, join(dist, 'podseal.cjs'), 'init'], environment));
      say(
        `one shot ${i + 1} of ${rounds}: ${round(oneShot.at(-1)?.cpuMs ?? 0)} ms CPU, bare Node ${round(bare.at(-1)?.cpuMs ?? 0)} ms`,
      );
    }
    const resident: number[] = [];
    for (let i = 0; i < 3; i++) {
      const watch = scene.run('watch');
      await watch.logged('probes.listening');
      // Files are watched and the first look is over once a second look changed nothing.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      resident.push(privateMB(watch.child.pid ?? 0));
      watch.child.kill('SIGTERM');
      await watch.exit;
    }
    say(`resident: ${resident.map((each) => round(each)).join(', ')} MB private`);
    const watch = scene.run('watch');
    await watch.logged('probes.listening');
    const count = (): number =>
      watch.lines().filter((line) => line.event === 'certificate.published').length;
    const startedAt = Date.now();
    for (let i = 1; i <= renewals; i++) {
      scene.setAnnotations({ 'podseal.dev/renew': String(i) });
      await until(`renewal ${i}`, () => count() >= i, 60);
      if (i % 100 === 0)
        say(
          `${i} renewals in ${round((Date.now() - startedAt) / 1000)} s: ${round(privateMB(watch.child.pid ?? 0))} MB private`,
        );
    }
    const after = privateMB(watch.child.pid ?? 0);
    watch.child.kill('SIGTERM');
    await watch.exit;
    const [bareCpu, shotCpu] = [
      median(bare.map((each) => each.cpuMs)),
      median(oneShot.map((each) => each.cpuMs)),
    ];
    return {
      bundleBytes: ['podseal.cjs', 'agent.cjs', 'watch-files.cjs']
        .map((file) => statSync(join(dist, file)).size)
        .reduce((sum, size) => sum + size, 0),
      bareNodeCpuMs: round(bareCpu),
      oneShotCpuMs: round(shotCpu),
      oneShotCpuRatio: round(shotCpu / bareCpu, 2),
      oneShotWallMs: round(median(oneShot.map((each) => each.wallMs))),
      residentPrivateMB: round(median(resident)),
      renewals1000PrivateMB: round(after),
    };
  } finally {
    stop.abort();
    await serving;
    await scene.close();
  }
}
