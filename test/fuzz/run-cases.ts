import { type Verdict, verdictOn } from '../../src/approver/verdict.ts';
import { type Answer, type Oracle } from '../oracle/oracle.ts';
import { check, checkLate } from './check.ts';
import { type Dice, dice } from './dice.ts';
import { makeNames } from './make-names.ts';
import { type Made, makeRequest } from './make-request.ts';
import { makeWorld } from './make-world.ts';
import { factsOfWorld, type World } from './world.ts';

export interface Range {
  readonly seed: number;
  /** Index of the first case. */
  readonly from: number;
  /** Index after the last. */
  readonly to: number;
  /** Between one and the next. */
  readonly step: number;
}

/** How often what was seen; a run that approves nothing, or all, proves nothing. */
export interface Tally {
  cases: number;
  approved: number;
  denied: number;
  waiting: number;
  /** The API server would take it, and it is not approved. */
  takenAndRefused: number;
  late: number;
  slowestMs: number;
}

export interface Failure {
  readonly index: number;
  readonly why: string;
  readonly request: string;
  readonly world: string;
}

/** Asked at once, so that neither side waits for the other. */
const batch = 200;

/** Makes, judges and compares; throws only when a part of the test itself fails. */
export async function runCases(
  { seed, from, to, step }: Range,
  oracle: Oracle,
  onFailure: (failure: Failure) => void,
): Promise<Tally> {
  const tally = {
    cases: 0,
    approved: 0,
    denied: 0,
    waiting: 0,
    takenAndRefused: 0,
    late: 0,
    slowestMs: 0,
  };
  for (let index = from; index < to;) {
    const cases: Promise<void>[] = [];
    for (; cases.length < batch && index < to; index += step)
      cases.push(runCase({ dice: dice(seed, index), index, tally }, oracle, onFailure));
    await Promise.all(cases);
  }
  return tally;
}

interface Running {
  readonly dice: Dice;
  readonly index: number;
  readonly tally: Tally;
}

async function runCase(
  { dice, index, tally }: Running,
  oracle: Oracle,
  onFailure: (failure: Failure) => void,
): Promise<void> {
  const world = makeWorld(dice);
  const made = makeRequest(dice, makeNames(dice, world), world);
  const answer = oracle.ask({
    ...world,
    request: Buffer.from(made.text, 'latin1').toString('base64'),
  });
  let error: unknown;
  try {
    const startedAt = performance.now();
    const facts = factsOfWorld(world, made.text);
    const verdict = verdictOn(facts, 0);
    tally.slowestMs = Math.max(tally.slowestMs, performance.now() - startedAt);
    count(verdict, await answer, tally);
    check(facts, verdict, await answer, made);
    if (verdict.kind === 'approve' && dice.chance(30)) {
      checkLate(factsOfWorld(withoutLateFacts(dice, world), made.text));
      tally.late++;
    }
  } catch (thrown) {
    error = thrown;
  }
  await answer;
  if (error !== undefined) onFailure(failureOf(index, error, { made, world }));
}

function count(verdict: Verdict, { taken }: Answer, tally: Tally): void {
  tally.cases++;
  if (verdict.kind === 'approve') tally.approved++;
  if (verdict.kind === 'deny') tally.denied++;
  if (verdict.kind === 'wait') tally.waiting++;
  if (verdict.kind !== 'approve' && taken) tally.takenAndRefused++;
}

function failureOf(
  index: number,
  error: unknown,
  { made, world }: { made: Made; world: World },
): Failure {
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { index, why, request: made.text, world: JSON.stringify(world) };
}

/** The same world a moment before: what Services and pods of the namespace bring about is not there yet. */
function withoutLateFacts(dice: Dice, world: World): World {
  const { pod } = world;
  if (!pod) return world;
  const knowsServiceAddresses = world.serviceCIDRs.length > 0;
  const services = world.services.flatMap((service) => {
    const late = { ...service };
    if (dice.chance(20)) late.selector = dice.pick([{}, { app: 'none' }]);
    if (dice.chance(20)) late.deleting = true;
    if (dice.chance(20)) late.externalName = true;
    if (dice.chance(20)) late.headless = false;
    const isThere = !knowsServiceAddresses || dice.chance(70);
    return isThere ? [late] : [];
  });
  return {
    ...world,
    services,
    clusterIPs: knowsServiceAddresses ? {} : world.clusterIPs,
    pod: {
      ...pod,
      ips: dice.chance(30) ? [] : pod.ips,
      labels: dice.chance(30) ? {} : pod.labels,
      phase: dice.chance(10) ? 'Unknown' : pod.phase,
      nodeName: dice.chance(10) && !pod.hostNetwork ? '' : pod.nodeName,
    },
  };
}
