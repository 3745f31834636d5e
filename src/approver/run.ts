import { type ObservedRequest, standingOf } from '../certificates/observed-request.ts';
import { type Controller } from '../controller/controller.ts';
import { eventWriter } from '../controller/event-writer.ts';
import { replica } from '../controller/replica.ts';
import { turnOf } from '../controller/request-source.ts';
import { type Outcome, runWorkers } from '../controller/run-workers.ts';
import { workList } from '../controller/work-list.ts';
import { clusterView } from './cluster-view.ts';
import { handleRequest } from './handle.ts';
import { type ApproverConfig, type ApproverWorld } from './world.ts';

/** Over what a watch needs to be begun anew, and how often is looked whether it was. */
const graceMs = 30_000;

/** Approves, denies or puts off every request of its signer names. */
export function approver(config: ApproverConfig, world: ApproverWorld): Controller {
  const { clock, metrics, log } = world;
  const copy = replica(config, world);
  const list = workList<ObservedRequest>(
    clock,
    turnOf,
    (request) => standingOf(request) === 'pending' && !request.hasCertificate,
  );
  const view = clusterView(
    () => world.policy().serviceRanges,
    (namespace) => list.nudge(namespace),
  );
  const events = eventWriter({
    clock,
    random: world.random,
    write: (pod, event) => world.writeEvent(pod, event),
    isBusy: () => list.isBusy,
    onFailure: (error) => copy.failed(error),
  });
  for (const { signerName, listing } of world.requests)
    copy.follows(
      listing,
      list.follower((each) => each.signerName === signerName),
    );
  copy.follows(world.services, view.services);
  copy.follows(world.nodes, view.nodes);
  copy.follows(world.serviceRanges, view.serviceRanges);

  /** A watch that works says something within `idleMs`, or is begun anew. */
  const isStale = (listing: { readonly what: string }): boolean =>
    copy.silentMs(listing) > config.follow.idleMs + graceMs;
  const handle = (request: ObservedRequest): Promise<Outcome> => {
    // Whose an address is, is not known any more.
    if (isStale(world.nodes)) return Promise.resolve({ kind: 'again', afterMs: graceMs });
    return handleRequest(request, list.ageMs(request), {
      clock,
      log,
      metrics,
      decisions: world.decisions,
      sources: {
        settings: config,
        reads: world.reads,
        view,
        policy: () => world.policy(),
        areServicesFresh: () => !isStale(world.services),
      },
      recordEvent: (pod, event) => events.record(pod, event),
    });
  };
  const lead = (while_: AbortSignal): Promise<void> =>
    runWorkers(
      list,
      handle,
      { clock, random: world.random, onFailure: (error) => copy.failed(error) },
      { count: config.workers, stop: while_ },
    );
  return {
    reasonsNotReady: () => [
      ...copy.missing().map((what) => `not listed yet: ${what}`),
      ...[world.services, world.nodes]
        .filter((listing) => !copy.missing().includes(listing.what) && isStale(listing))
        .map(({ what }) => `nothing heard for minutes: ${what}`),
    ],
    updateGauges() {
      metrics.set('podseal_queue_depth', list.depth);
      metrics.set('podseal_queue_put_off', list.putOffCount);
    },
    async run(stop) {
      await Promise.all([copy.run(lead, stop), list.run(stop), events.run(stop)]);
    },
  };
}
