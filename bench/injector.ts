import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane } from '../test/cluster/control-plane.ts';
import { injectorScene, type InjectorScene } from '../test/support/injector-scene.ts';
import { until } from '../test/support/until.ts';
import { median } from './agent.ts';
import { cpuOf, cpuSince } from './measured-parts.ts';

/** One line of `npm run bench -- injector`. Times are those of the API call that creates a pod. */
export interface InjectorResult {
  readonly podsPerSecondWanted: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly emptyP50Ms: number;
  readonly emptyP99Ms: number;
  readonly p99RatioToEmpty: number;
  /** Calls made while certificate and CA were replaced, and those that were answered without injection. */
  readonly rotationCalls: number;
  readonly rotationErrors: number;
  readonly rotations: number;
  /** Of the injector, for each pod of the measured rounds. */
  readonly injectorCpuMsPerPod: number;
}

const wantedPerSecond = 100;
const podsOfRound = 500;
const rounds = 5;
const callersWhileRotating = 16;
const rotationCalls = Number(process.env['BENCH_ROTATION_CALLS'] ?? 10_000);

/** Pods created at the wanted rate, whatever becomes of those before. */
interface Round {
  /** How long each call took, milliseconds, in ascending order. */
  readonly times: readonly number[];
  readonly seconds: number;
  readonly cpuMsPerPod: number;
}

export async function benchInjector(
  plane: ControlPlane,
  say: (line: string) => void,
): Promise<InjectorResult> {
  const scene = await injectorScene(plane);
  const empty = fork(join(import.meta.dirname, 'empty-webhook.ts'), [scene.certificateDirectory]);
  try {
    const [port] = (await once(empty, 'message')) as [number];
    const namespace = await scene.namespace();
    await plane.api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
    });
    const { pid: injectorPid = 0 } = scene.injector.child;
    const round = async (url: string): Promise<Round> => {
      await switchTo(url, plane, namespace, scene);
      // Connections are opened, code is warm.
      await constantRate(plane, namespace, 100);
      const before = cpuOf({ injector: injectorPid });
      const { times, seconds } = await constantRate(plane, namespace, podsOfRound);
      const { injector: cpuMs = 0 } = cpuSince(before, { injector: injectorPid });
      await removePods(plane, namespace);
      return { times, seconds, cpuMsPerPod: cpuMs / podsOfRound };
    };
    const ours: Round[] = [];
    const theirs: Round[] = [];
    for (let i = 1; i <= rounds; i++) {
      const own = await round(scene.url);
      const other = await round(`https://127.0.0.1:${port}/inject`);
      ours.push(own);
      theirs.push(other);
      say(
        `round ${i} of ${rounds}: p99 ${rounded(quantile(own, 0.99))} ms, of an empty webhook ${rounded(quantile(other, 0.99))} ms`,
      );
    }
    await switchTo(scene.url, plane, namespace, scene);
    const rotation = await rotate(plane, namespace, scene);
    const over = (all: readonly Round[], fraction: number): number =>
      rounded(median(all.map((each) => quantile(each, fraction))));
    return {
      podsPerSecondWanted: wantedPerSecond,
      perSecond: rounded(median(ours.map(({ seconds }) => podsOfRound / seconds))),
      p50Ms: over(ours, 0.5),
      p99Ms: over(ours, 0.99),
      emptyP50Ms: over(theirs, 0.5),
      emptyP99Ms: over(theirs, 0.99),
      p99RatioToEmpty: rounded(
        median(ours.map((each, i) => quantile(each, 0.99) / quantile(theirs[i] ?? each, 0.99))),
      ),
      injectorCpuMsPerPod: rounded(median(ours.map(({ cpuMsPerPod }) => cpuMsPerPod))),
      ...rotation,
    };
  } finally {
    empty.kill();
    await scene.close();
  }
}

let made = 0;

/** Creates a pod; resolves to whether it was injected. */
async function create(plane: ControlPlane, namespace: string, query = ''): Promise<boolean> {
  const path = `/api/v1/namespaces/${namespace}/pods${query}`;
  const body = await plane.api.must('POST', path, {
    metadata: { name: `web-${made++}`, labels: { app: 'web' } },
    spec: { containers: [{ name: 'web', image: 'app' }] },
  });
  const { metadata } = body as { metadata: { labels: Readonly<Record<string, string>> } };
  return metadata.labels['podseal.dev/agent'] === 'injected';
}

/** The API server takes up another address after a moment. */
async function switchTo(
  url: string,
  plane: ControlPlane,
  namespace: string,
  scene: InjectorScene,
): Promise<void> {
  await scene.callInstead(url);
  await until('the API server to call there', async () => {
    const wasInjected = await create(plane, namespace, '?dryRun=All');
    return wasInjected === (url === scene.url);
  });
}

async function constantRate(
  plane: ControlPlane,
  namespace: string,
  count: number,
): Promise<Pick<Round, 'times' | 'seconds'>> {
  const startedAt = performance.now();
  const calls: Promise<number>[] = [];
  const timed = async (): Promise<number> => {
    const at = performance.now();
    await create(plane, namespace);
    return performance.now() - at;
  };
  for (let i = 0; i < count; i++) {
    const waitMs = startedAt + (i * 1000) / wantedPerSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    calls.push(timed());
  }
  const times = await Promise.all(calls);
  return {
    times: times.toSorted((a, b) => a - b),
    seconds: (performance.now() - startedAt) / 1000,
  };
}

async function removePods({ api }: ControlPlane, namespace: string): Promise<void> {
  await api.must('DELETE', `/api/v1/namespaces/${namespace}/pods?gracePeriodSeconds=0`);
}

/** Calls from many at once, while a new certificate comes every second, every third from a new CA. */
async function rotate(
  plane: ControlPlane,
  namespace: string,
  scene: InjectorScene,
): Promise<Pick<InjectorResult, 'rotationCalls' | 'rotationErrors' | 'rotations'>> {
  let calls = 0;
  let errors = 0;
  let rotations = 0;
  const callers = Array.from({ length: callersWhileRotating }, async () => {
    while (calls < rotationCalls) {
      calls++;
      // A call that failed lets the pod through: failurePolicy Ignore.
      if (!(await create(plane, namespace, '?dryRun=All'))) errors++;
    }
  });
  const rotating = async (): Promise<void> => {
    while (calls < rotationCalls) {
      if (rotations % 3 === 2) await scene.replaceCa();
      else scene.renew();
      rotations++;
      await sleep(1_000);
    }
  };
  await Promise.all([...callers, rotating()]);
  return { rotationCalls: calls, rotationErrors: errors, rotations };
}

function quantile({ times }: Round, fraction: number): number {
  return times[Math.min(times.length - 1, Math.floor(times.length * fraction))] ?? NaN;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
