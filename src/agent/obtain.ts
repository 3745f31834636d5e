import { acceptChain } from '../certificates/accept.ts';
import { outcomeOf } from '../certificates/outcome.ts';
import { readGapMs } from '../certificates/read-gap.ts';
import { requestName, type SigningRequest } from '../certificates/signing-request.ts';
import { asPodsealError, errorCodes, PodsealError } from '../errors.ts';
import { allNames, missingNames, type SubjectNames } from '../identity/subject-names.ts';
import { type Certificate } from '../pki/certificate.ts';
import { buildCertificationRequest } from '../pki/certification-request.ts';
import { type Usage } from '../pki/extensions.ts';
import { isRsa, keyPairFromPem, privateKeyPem, type KeyAlgorithm } from '../pki/key-pair.ts';
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
  const pending = await submitted(
    await beginOrResume(attempt, config, world),
    attempt,
    config,
    world,
  );
  const chainPem = await outcome(pending, attempt, world);
  return publishIssued(chainPem, pending, config, world);
}

/** Key encipherment is for RSA key exchange alone (RFC 5246 7.4.2); other keys only sign. */
function usagesFor(keyPem: string): readonly Usage[] {
  const rsa = isRsa(keyPairFromPem(keyPem).privateKey);
  return [
    'digital signature',
    ...(rsa ? (['key encipherment'] as const) : []),
    'server auth',
    'client auth',
  ];
}

async function beginOrResume(
  attempt: Attempt,
  config: AgentConfig,
  world: AgentWorld,
): Promise<PendingRequest> {
  const left = world.volume.readPending();
  if (left && isResumable(left, attempt, config, world)) {
    world.log('info', 'request.resumed', `Going on with signing request ${left.name}`, {
      request: left.name,
    });
    return left;
  }
  const pending = await begin(attempt.names, config, world);
  world.volume.writePending(pending);
  return pending;
}

function isResumable(
  left: PendingRequest,
  attempt: Attempt,
  config: AgentConfig,
  world: AgentWorld,
): boolean {
  if (left.signerName !== config.signerName || !left.name.includes(config.podUid)) return false;
  if (missingNames(left.names, attempt.names).length > 0) return false;
  try {
    const { publicKeyDer } = keyPairFromPem(left.keyPem);
    const current = readCurrent(world.volume.read());
    // Published, and stopped before the pending request was cleared.
    return !(current.kind === 'usable' && current.set.leaf.publicKeyDer.equals(publicKeyDer));
  } catch {
    return false;
  }
}

async function begin(
  names: SubjectNames,
  config: AgentConfig,
  world: AgentWorld,
): Promise<PendingRequest> {
  const keyPair = await world.generateKey(config.keyAlgorithm satisfies KeyAlgorithm);
  const keyPem = privateKeyPem(keyPair);
  const commonName = config.withCommonName
    ? names.dnsNames.find((name) => name.length <= 64)
    : undefined;
  const content = { names, commonName, usages: usagesFor(keyPem) };
  return {
    name: requestName(config.podUid, sha256Hex(keyPair.publicKeyDer)),
    uid: undefined,
    signerName: config.signerName,
    keyPem,
    request: encodePem('CERTIFICATE REQUEST', buildCertificationRequest(content, keyPair)),
    names,
    createdAt: world.clock.now().toISOString(),
  };
}

/** Makes sure that the request is at the API server, and that we know its uid. */
async function submitted(
  pending: PendingRequest,
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
    usages: usagesFor(pending.keyPem),
    expirationSeconds: Math.floor(config.lifetimeMs / 1000),
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
    fingerprint: sha256Hex(keyPairFromPem(pending.keyPem).publicKeyDer),
  });
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
    const gap = readGapMs(ageMs, world.random.fraction());
    await world.clock.sleepUntil(earlier(later(now, gap), attempt.giveUpAt), attempt.stop);
  }
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
  pending: PendingRequest,
  config: AgentConfig,
  world: AgentWorld,
): Certificate {
  const now = world.clock.now();
  try {
    const { bundle } = trustNow(world);
    const chain = acceptChain(chainPem, {
      requestName: pending.name,
      publicKeyDer: keyPairFromPem(pending.keyPem).publicKeyDer,
      names: pending.names,
      usages: usagesFor(pending.keyPem),
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
