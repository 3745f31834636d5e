import { type ObservedRequest, standingOf } from '../certificates/observed-request.ts';
import { type Controller } from '../controller/controller.ts';
import { eventWriter } from '../controller/event-writer.ts';
import { type Follower } from '../controller/list-watch.ts';
import { replica } from '../controller/replica.ts';
import { turnOf } from '../controller/request-source.ts';
import { runWorkers } from '../controller/run-workers.ts';
import { workList } from '../controller/work-list.ts';
import { caKeeper } from './ca-keeper.ts';
import { handleRequest } from './handle.ts';
import { janitor } from './janitor.ts';
import { type SignerConfig, type SignerWorld } from './world.ts';

/** Issues every approved request of its signer names, keeps CA and bundle, removes what is finished. */
export function signer(config: SignerConfig, world: SignerWorld): Controller {
  const { clock, metrics, log, issuance } = world;
  const copy = replica(config, world);
  const list = workList<ObservedRequest>(
    clock,
    turnOf,
    (request) => standingOf(request) === 'approved',
  );
  const keeper = caKeeper(config, world);
  const cleaner = janitor({
    clock,
    random: world.random,
    log,
    metrics,
    issuance,
    maximumOpenRequests: config.maximumOpenRequests,
    readPod: (pod) => world.readPod(pod),
    onFailure: (error) => copy.failed(error),
  });
  const events = eventWriter({
    clock,
    random: world.random,
    write: (pod, event) => world.writeEvent(pod, event),
    isBusy: () => list.isBusy,
    onFailure: (error) => copy.failed(error),
  });
  for (const { signerName, listing } of world.requests) {
    const belongs = (each: { readonly signerName: string }): boolean =>
      each.signerName === signerName;
    copy.follows(listing, both(list.follower(belongs), cleaner.follower(belongs)));
  }
  copy.follows(world.ca.listing, keeper.follower);

  const handle = (request: ObservedRequest) =>
    handleRequest(request, {
      clock,
      log,
      metrics,
      issuance,
      config,
      randomBytes: (count) => world.randomBytes(count),
      ca: () => keeper.current(),
      recordEvent: (pod, event) => events.record(pod, event),
    });
  const lead = async (while_: AbortSignal): Promise<void> => {
    const firstCa = Promise.withResolvers<undefined>();
    const begin = (): void => firstCa.resolve(undefined);
    const work = (): Promise<void> =>
      runWorkers(
        list,
        handle,
        { clock, random: world.random, onFailure: (error) => copy.failed(error) },
        { count: config.workers, stop: while_ },
      );
    await Promise.all([
      keeper.run(while_, begin).finally(begin),
      cleaner.run(while_),
      // Without a CA each request would be put off, and wait for longer than the CA takes.
      firstCa.promise.then(work),
    ]);
  };
  return {
    reasonsNotReady() {
      const problem = keeper.problem();
      return [
        ...copy.missing().map((what) => `not listed yet: ${what}`),
        ...(problem === undefined ? [] : [`no CA in Secret ${world.ca.where}: ${problem}`]),
      ];
    },
    updateGauges() {
      metrics.set('podseal_queue_depth', list.depth);
      metrics.set('podseal_queue_put_off', list.putOffCount);
    },
    async run(stop) {
      await Promise.all([copy.run(lead, stop), list.run(stop), events.run(stop)]);
    },
  };
}

function both<T>(first: Follower<T>, second: Follower<T>): Follower<T> {
  return {
    put(item) {
      first.put(item);
      second.put(item);
    },
    remove(item) {
      first.remove(item);
      second.remove(item);
    },
    replace(items) {
      first.replace(items);
      second.replace(items);
    },
  };
}
