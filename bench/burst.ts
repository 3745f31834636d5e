import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane } from '../test/cluster/control-plane.ts';
import { median } from './agent.ts';
import { type ReadyPod, type Rival } from './burst-pods.ts';
import { burstScene, type BurstScene } from './burst-scene.ts';
import { apiCallCounts, callsSince, quiet } from './measured-parts.ts';

/** For each kind of call that the requesters and the plain client make. */
const connections = Number(process.env['BENCH_CONNECTIONS'] ?? 32);
/** Its own defaults, after those of the harness on its command line: the last one counts. */
const managerDefaults = ['--kube-api-qps=20', '--kube-api-burst=30'];
/** Of both programs and kube-controller-manager, before anything is measured. */
const warmUpPods = 20;
/**
 * The API server remembers a token for ten seconds once it has verified it: the same pods, asking again sooner,
 * would cost the second and third rival less than the first.
 */
const tokenMemoryMs = 11_000;
/** Events of a burst begin after at most so long. */
const eventsFollowMs = 2_000;

type Say = (line: string) => void;

export interface ControlPlanes {
  start(): Promise<ControlPlane>;
  /** What must be done before the control plane goes, even when the bench is interrupted. */
  atEnd(cleanUp: () => Promise<void>): void;
}

/**
 * How fast a burst of pods gets its certificates: approver and signer, against kube-controller-manager's
 * signer in the same run (which only signs: a plain client approves), and against what the API server
 * gives when a plain client writes approval and certificate with nothing in between; the pods create and
 * read in the same way each time. The rivals take turns, on one control plane per size.
 */
export async function benchBurst(planes: ControlPlanes, say: Say): Promise<object[]> {
  const sizes = (process.env['BENCH_PODS'] ?? '200,1000,5000').split(',').map(Number);
  const results: object[] = [];
  for (const count of sizes) {
    // The API server's memory grows with each burst: every size begins with a new one.
    const plane = await planes.start();
    const scene = await burstScene(plane, connections, (close) => planes.atEnd(close));
    results.push(await benchSize(scene, count, say));
    say(JSON.stringify(results.at(-1)));
    await scene.close();
    await plane.down();
  }
  return results;
}

interface Round {
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly callsPerCertificate: number;
}

async function benchSize(scene: BurstScene, count: number, say: Say): Promise<object> {
  const { podseal, kubeControllerManager, apiBound } = scene.rivals;
  const isSmall = count <= 1000;
  const burst = (what: string, pods: readonly ReadyPod[], rival: Rival): Promise<Round> =>
    measured(scene, pods, rival, (line) => say(`${what}, ${line}`));
  const few = await scene.pods(warmUpPods);
  for (const rival of Object.values(scene.rivals)) await burst('warming up', few, rival);

  const own: Round[] = [];
  const raised: Round[] = [];
  const bound: Round[] = [];
  const rounds = Number(process.env['BENCH_ROUNDS'] ?? (isSmall ? 3 : 1));
  let pods: readonly ReadyPod[] = [];
  for (let round = 1; round <= rounds; round++) {
    // New pods each time: an Event is written again after a minute, perhaps in a rival's burst.
    pods = await scene.pods(count);
    const what = `round ${round} of ${rounds}`;
    own.push(await burst(what, pods, podseal));
    raised.push(await burst(what, pods, kubeControllerManager));
    bound.push(await burst(what, pods, apiBound));
  }
  let limited: Round | undefined;
  if (isSmall) {
    await scene.plane.faults.stop('kube-controller-manager', 'term');
    await scene.plane.faults.start('kube-controller-manager', managerDefaults);
    await burst('default limits warm up', few, kubeControllerManager);
    limited = await burst('default limits', pods, kubeControllerManager);
  }
  const seconds = median(own.map((each) => each.seconds));
  const ratioTo = (others: readonly Round[]): number =>
    median(own.map((each, index) => (others[index]?.seconds ?? NaN) / each.seconds));
  return {
    n: count,
    seconds: rounded(seconds, 2),
    certificatesPerSecond: rounded(count / seconds, 0),
    p50Ms: rounded(median(own.map((each) => each.p50Ms)), 0),
    p99Ms: rounded(median(own.map((each) => each.p99Ms)), 0),
    apiCallsPerCertificate: rounded(median(own.map((each) => each.callsPerCertificate)), 2),
    ratioToKcmRaised: rounded(ratioTo(raised), 2),
    ratioToKcmDefault: limited ? rounded(limited.seconds / seconds, 2) : null,
    ratioToApiBound: rounded(ratioTo(bound), 2),
  };
}

/** One burst, with everything quiet before and after it, and nothing left of it. */
async function measured(
  scene: BurstScene,
  pods: readonly ReadyPod[],
  rival: Rival,
  say: Say,
): Promise<Round> {
  const { api } = scene.plane;
  await sleep(tokenMemoryMs);
  await quiet(scene.parts());
  const callsBefore = await apiCallCounts(api);
  const { times, cpuMs, refusedWith429 } = await scene.run(pods, rival);
  // The Events that follow when there is time for them belong to it too.
  await quiet(scene.parts(), rival === scene.rivals.podseal ? eventsFollowMs : undefined);
  const calls = callsSince(callsBefore, await apiCallCounts(api));
  await scene.clear();

  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? NaN;
  const perCertificate = (figures: Iterable<readonly [string, number]>): string =>
    [...figures]
      .map(([what, figure]) => [what, figure / pods.length] as const)
      .filter(([, figure]) => figure >= 0.05)
      .map(([what, figure]) => `${what} ${figure.toFixed(2)}`)
      .join(', ');
  const seconds = at(1) / 1000;
  const total = [...calls.values()].reduce((sum, count) => sum + count, 0);
  say(
    `${rival.name}: ${pods.length} in ${seconds.toFixed(2)} s, ${(pods.length / seconds).toFixed(0)}/s, ` +
      `half in ${at(0.5).toFixed(0)} ms, ${refusedWith429} answers of 429`,
  );
  say(`  CPU ms per certificate: ${perCertificate(Object.entries(cpuMs))}`);
  say(`  calls per certificate: ${perCertificate(calls)}`);
  return { seconds, p50Ms: at(0.5), p99Ms: at(0.99), callsPerCertificate: total / pods.length };
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
