import { acceptChain } from '../certificates/accept.ts';
import { outcomeOf } from '../certificates/outcome.ts';
import { readGapMs } from '../certificates/read-gap.ts';
import { requestName, type SigningRequest } from '../certificates/signing-request.ts';
import { asPodsealError, errorCodes, PodsealError } from '../errors.ts';
import { allNames, missingNames, type SubjectNames } from '../identity/subject-names.ts';
import { type Certificate } from '../pki/certificate.ts';
import { buildCertificationRequest } from '../pki/certification-request.ts';
import { type Usage } from '../pki/extensions.ts';
import { isRsa, keyPairFromPem, privateKeyPem, type KeyPair } from '../pki/key-pair.ts';
import { encodePem } from '../pki/pem.ts';
import { sha256Hex } from '../pki/signature.ts';
import { earlier, later } from '../runtime/clock.ts';
import { formatDuration } from '../runtime/duration.ts';
import { payload } from '../volume/payload.ts';
import { readCurrent } from '../volume/current.ts';
import { type PendingRequest } from '../volume/volume.ts';
import { trustNow } from './look.ts';
import { type AgentConfig, type AgentWorld } from './world.ts';

/** One attempt. */
export interface Attempt {
  readonly names: SubjectNames;
  /** The attempt fails with SIGNING_REQUEST_PENDING then; the request itself is resumed later. */
  readonly giveUpAt: Date;
  /** Ends the attempt early: the process stops, or the names changed. */
  readonly stop: AbortSignal;
}

/**
 * One certificate: a key, a signing request (or the one that an earlier process left behind), its
 * outcome, every check, one publish. The key is on disk before the request is sent, so that a kill
 * at any moment leaves a request that the next process goes on with. Throws PodsealErrors; the set
 * on the volume is then what it was.
 */
export async function obtain(
  attempt: Attempt,
  config: AgentConfig,
  world: AgentWorld,
): Promise<Certificate> {
  const started = await beginOrResume(attempt, config, world);
  const pending = await submitted(started, attempt, config, world);
  const chainPem = await outcome(pending, attempt, world);
  return publishIssued(chainPem, { pending, keyPair: started.keyPair }, config, world);
}

/** A pending request and its key, read. */
interface Started {
  readonly pending: PendingRequest;
  readonly keyPair: KeyPair;
}

/** Key encipherment is for RSA key exchange alone (RFC 5246 7.4.2); other keys only sign. */
function usagesFor(keyPair: KeyPair): readonly Usage[] {
  const encipherment = isRsa(keyPair.privateKey) ? (['key encipherment'] as const) : [];
  return ['digital signature', ...encipherment, 'server auth', 'client auth'];
}

async function beginOrResume(
  attempt: Attempt,
  config: AgentConfig,
  world: AgentWorld,
): Promise<Started> {
  const left = resumable(attempt, config, world);
  if (left) {
    const { name } = left.pending;
    world.log('info', 'request.resumed', `Going on with signing request ${name}`, {
      request: name,
    });
    return left;
  }
  const started = await begin(attempt.names, config, world);
  world.volume.writePending(started.pending);
  return started;
}

/** What an earlier process or attempt left behind, when it fits what is wanted now. */
function resumable(attempt: Attempt, config: AgentConfig, world: AgentWorld): Started | undefined {
  const pending = world.volume.readPending();
  if (pending?.signerName !== config.signerName) return undefined;
  if (!pending.name.includes(config.podUid)) return undefined;
  if (missingNames(pending.names, attempt.names).length > 0) return undefined;
  try {
    const keyPair = keyPairFromPem(pending.keyPem);
    const current = readCurrent(world.volume.read());
    // Published, and stopped before the pending request was cleared.
    const isSpent =
      current.kind === 'usable' && current.set.leaf.publicKeyDer.equals(keyPair.publicKeyDer);
    return isSpent ? undefined : { pending, keyPair };
  } catch {
    return undefined;
  }
}

async function begin(
  names: SubjectNames,
  config: AgentConfig,
  world: AgentWorld,
): Promise<Started> {
  const keyPair = await world.generateKey(config.keyAlgorithm);
  const commonName = config.withCommonName
    ? names.dnsNames.find((name) => name.length <= 64)
    : undefined;
  const content = { names, commonName, usages: usagesFor(keyPair) };
  const pending: PendingRequest = {
    name: requestName(config.podUid, sha256Hex(keyPair.publicKeyDer)),
    uid: undefined,
    signerName: config.signerName,
    keyPem: privateKeyPem(keyPair),
    request: encodePem('CERTIFICATE REQUEST', buildCertificationRequest(content, keyPair)),
    names,
    createdAt: world.clock.now().toISOString(),
  };
  return { pending, keyPair };
}

/** Makes sure that the request is at the API server, and that we know its uid. */
async function submitted(
  { pending, keyPair }: Started,
  attempt: Attempt,
  config: AgentConfig,
  world: AgentWorld,
): Promise<PendingRequest> {
  if (pending.uid !== undefined) return pending;
  const { name } = pending;
  const request = {
    name,
    request: pending.request,
    signerName: pending.signerName,
    usages: usagesFor(keyPair),
    expirationSeconds: Math.floor(config.lifetimeMs / 1000),
    isRenewal: readCurrent(world.volume.read()).kind === 'usable',
  };
  const created = await world.retry(
    async () =>
      (await createOrFind(() => world.requests.create(request), name, world)) ?? missing(name),
    attempt,
  );
  const known = { ...pending, uid: created.uid };
  // Somebody else may hold the name; what became of it is judged below like any other outcome.
  world.volume.writePending(known);
  world.log('info', 'request.created', `Signing request ${name} awaits approval`, {
    request: name,
    signer: pending.signerName,
    names: allNames(pending.names),
    fingerprint: sha256Hex(keyPair.publicKeyDer),
  });
  await pause(known, attempt, world);
  return known;
}

/** An answer that was lost leaves the request there: then it is found under its name. */
async function createOrFind(
  create: () => Promise<SigningRequest>,
  name: string,
  world: AgentWorld,
): Promise<SigningRequest | undefined> {
  try {
    return await create();
  } catch (error) {
    if (asPodsealError(error).code !== 'API_CONFLICT') throw error;
    return world.requests.get(name);
  }
}

function missing(name: string): never {
  throw new PodsealError(
    'API_UNREACHABLE',
    `Cannot create signing request ${JSON.stringify(name)}: it was there and is gone again`,
    { hint: 'It is tried again.' },
  );
}

/** Waits for the issued chain, PEM. */
async function outcome(
  pending: PendingRequest,
  attempt: Attempt,
  world: AgentWorld,
): Promise<string> {
  const { name } = pending;
  const startedAt = world.clock.now();
  let sayAt = later(startedAt, 5_000);
  for (;;) {
    const read = await world.retry(() => world.requests.get(name), attempt);
    const seen = outcomeOf(read, pending);
    if (seen.kind === 'issued') return seen.chainPem;
    if (seen.kind === 'over') {
      world.volume.clearPending();
      throw seen.error;
    }
    const now = world.clock.now();
    if (now >= attempt.giveUpAt || attempt.stop.aborted)
      throw stillPending(name, seen.lastSeen, now.getTime() - startedAt.getTime());
    const ageMs = Math.max(0, now.getTime() - Date.parse(pending.createdAt));
    if (now >= sayAt) {
      sayAt = later(now, 60_000);
      world.log('info', 'request.waiting', `Signing request ${name}: ${seen.lastSeen}`, {
        request: name,
        waited: formatDuration(ageMs),
        command: `kubectl describe csr ${name}`,
      });
    }
    await pause(pending, attempt, world);
  }
}

/** The gap before the next read, by the age of the request. */
async function pause(pending: PendingRequest, attempt: Attempt, world: AgentWorld): Promise<void> {
  const now = world.clock.now();
  const ageMs = Math.max(0, now.getTime() - Date.parse(pending.createdAt));
  const gapMs = readGapMs(ageMs, world.random.fraction());
  await world.clock.sleepUntil(earlier(later(now, gapMs), attempt.giveUpAt), attempt.stop);
}

function stillPending(name: string, lastSeen: string, waitedMs: number): PodsealError {
  return new PodsealError(
    'SIGNING_REQUEST_PENDING',
    `Cannot get a certificate within ${formatDuration(waitedMs)}: signing request ${JSON.stringify(name)} is pending, ${lastSeen}`,
    {
      hint: `Is an approver running for its signer name? By hand: kubectl certificate approve ${name}. The same request is resumed.`,
    },
  );
}

function publishIssued(
  chainPem: string,
  { pending, keyPair }: Started,
  config: AgentConfig,
  world: AgentWorld,
): Certificate {
  const now = world.clock.now();
  try {
    const { bundle } = trustNow(world);
    const chain = acceptChain(chainPem, {
      requestName: pending.name,
      publicKeyDer: keyPair.publicKeyDer,
      names: pending.names,
      usages: usagesFor(keyPair),
      bundle,
      now,
    });
    world.volume.publish(payload(pending.keyPem, chain, bundle, config.payload), {
      requestName: pending.name,
      receivedAt: now.toISOString(),
      renewAnnotation: world.sources.renewAnnotation(),
    });
    world.volume.clearPending();
    const [leaf] = chain;
    if (!leaf) throw new PodsealError('INVARIANT', 'Cannot publish an empty chain');
    return leaf;
  } catch (error) {
    // What another signer's answer cannot heal needs a new request; the rest is looked at again.
    const failed = asPodsealError(error);
    if (errorCodes[failed.code].again === 'slowly') world.volume.clearPending();
    throw failed;
  }
}
