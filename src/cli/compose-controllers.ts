import { defaultPolicy, type Policy } from '../approver/policy.ts';
import { parsePolicy } from '../approver/policy-file.ts';
import { clusterView } from '../approver/cluster-view.ts';
import { type FactSources } from '../approver/gather.ts';
import { type ApproverReads, type ApproverWorld } from '../approver/world.ts';
import { joined } from '../controller/joined.ts';
import { listWhole } from '../controller/list-watch.ts';
import { type ReplicaWorld } from '../controller/replica.ts';
import { type InjectorWorld } from '../injector/world.ts';
import { mayCreateSigningRequests } from '../kubernetes/access-reviews.ts';
import { readApiFeatures } from '../kubernetes/api-features.ts';
import { type ApiCalls, apiCalls } from '../kubernetes/api-calls.ts';
import { caSecret } from '../kubernetes/ca-secret.ts';
import {
  nodeListing,
  readPod,
  serviceListing,
  serviceRangeListing,
} from '../kubernetes/cluster-objects.ts';
import { apiEvents } from '../kubernetes/events.ts';
import { apiLeases } from '../kubernetes/leases.ts';
import {
  apiDecisions,
  apiIssuance,
  type Caller,
  requestListing,
} from '../kubernetes/observed-requests.ts';
import { publishedConstraints, trustPublisher } from '../kubernetes/trust-publication.ts';
import { namespaceListing } from '../kubernetes/namespaces.ts';
import { podLists } from '../kubernetes/pod-lists.ts';
import { publishedConfigMaps, trustListing } from '../kubernetes/published-config-maps.ts';
import { webhookConfigurations } from '../kubernetes/webhook-configuration.ts';
import { entropy } from '../node/entropy.ts';
import { jsonLog } from '../node/json-log.ts';
import { generateKey } from '../node/key-generator.ts';
import { promMetrics } from '../node/prom-metrics.ts';
import { validatedFile } from '../node/validated-file.ts';
import { systemClock } from '../node/system-clock.ts';
import { systemRandom } from '../node/system-random.ts';
import { type SignerWorld } from '../signer/world.ts';
import { apiEndpoint } from './api-server.ts';
import { agentSettingProblems } from './agent-config.ts';
import {
  type ApproverSetup,
  type InjectorSetup,
  type SignerSetup,
  type Surroundings,
} from './controller-config.ts';
import { writeErrorSoon } from './report.ts';

/** Introduces the adapters to approver, signer and injector. */

interface Basics extends ReplicaWorld {
  readonly metrics: ReturnType<typeof promMetrics>;
  readonly calls: ApiCalls;
}

async function basics(
  setup: Surroundings & { readonly config: { readonly workers: number } },
  environment: NodeJS.ProcessEnv,
  by: Caller,
): Promise<Basics> {
  const metrics = promMetrics();
  const endpoint = await apiEndpoint(setup, environment);
  const calls = apiCalls(endpoint, {
    // Lease and Events must not wait behind the workers.
    maximumConnections: setup.config.workers + 8,
    observe: (method, status) =>
      metrics.add('podseal_controller_api_requests_total', { method, status: String(status) }),
  });
  const lease = {
    namespace: setup.namespace,
    name: `podseal-${by}`,
    rbacFile: `examples/rbac/${by}.yaml`,
  };
  return {
    clock: systemClock,
    random: systemRandom,
    log: jsonLog(writeErrorSoon, setup.logLevel),
    metrics,
    leases: apiLeases(calls, lease, () => systemClock.now()),
    calls,
  };
}

/** How the setup reads the text of a policy file. */
function policyParser(setup: ApproverSetup): { readonly base: Policy; parse: Parse } {
  const defaults = { ...defaultPolicy.defaults, maximumLifetimeMs: setup.maximumLifetimeMs };
  const base = { ...defaultPolicy, defaults };
  const { clusterDomain } = setup.config;
  return { base, parse: (text) => parsePolicy(text, { clusterDomain, base }) };
}

type Parse = (text: string) => ReturnType<typeof parsePolicy>;

/** The policy as it stands in the file now, or the default one. Throws CONFIG_INVALID. */
export function policyOf(setup: ApproverSetup): Policy {
  const { base, parse } = policyParser(setup);
  if (setup.policyFile === undefined) return base;
  const stop = AbortSignal.abort();
  return validatedFile(setup.policyFile, parse, silent, stop)();
}

const silent = {
  onChange: () => undefined,
  onRefused: () => undefined,
  onUnwatched: () => undefined,
};

/** The policy of the file, followed until `stop`: one that is wrong is refused as a whole, and the last good one stays. */
function followedPolicy(
  setup: ApproverSetup,
  { log, metrics }: Basics,
  stop: AbortSignal,
): () => Policy {
  const { base, parse } = policyParser(setup);
  const path = setup.policyFile;
  metrics.set('podseal_approver_policy_valid', 1);
  if (path === undefined) return () => base;
  return validatedFile(
    path,
    parse,
    {
      onChange() {
        metrics.set('podseal_approver_policy_valid', 1);
        log(
          'info',
          'policy.changed',
          `The policy in ${JSON.stringify(path)} has changed and is in force`,
        );
      },
      onRefused(problems) {
        metrics.set('podseal_approver_policy_valid', 0);
        log('error', 'policy.refused', `Cannot use the policy in ${JSON.stringify(path)}`, {
          problems,
          hint: 'The policy that was read before stays in force. docs/policy.md explains every key.',
        });
      },
      onUnwatched: (why) =>
        log(
          'warn',
          'files.unwatched',
          `Cannot watch files by notification: ${why}; they are polled`,
        ),
    },
    stop,
  );
}

export async function composeApprover(
  setup: ApproverSetup,
  environment: NodeJS.ProcessEnv,
  stop: AbortSignal,
): Promise<ApproverWorld & Basics> {
  const shared = await basics(setup, environment, 'approver');
  const { calls } = shared;
  return {
    ...shared,
    requests: setup.config.signerNames.map((signerName) => ({
      signerName,
      listing: requestListing(calls, signerName, 'approver'),
    })),
    services: serviceListing(calls),
    nodes: nodeListing(calls),
    serviceRanges: serviceRangeListing(calls),
    reads: apiReads(calls, setup.namespace),
    decisions: apiDecisions(calls),
    policy: followedPolicy(setup, shared, stop),
    writeEvent: apiEvents(calls, 'approver'),
  };
}

function apiReads(calls: ApiCalls, namespace: string): ApproverReads {
  return {
    pod: (pod) => readPod(calls, pod, 'examples/rbac/approver.yaml'),
    // A namespace with many waiting requests must not list its Services for each of them.
    services: joined((of) => listWhole(serviceListing(calls, of))),
    caConstraints: publishedConstraints(calls, namespace, {
      now: () => systemClock.now(),
      keepMs: 5_000,
    }),
  };
}

/** For `--explain`: everything as the API has it now. */
export async function composeExplainer(
  setup: ApproverSetup,
  environment: NodeJS.ProcessEnv,
): Promise<FactSources> {
  const { calls } = await basics(setup, environment, 'approver');
  const policy = policyOf(setup);
  const view = clusterView(
    () => policy.serviceRanges,
    () => undefined,
  );
  // Whose a Service's address is follows from the Services of all namespaces.
  view.services.replace(await listWhole(serviceListing(calls)));
  view.nodes.replace(await listWhole(nodeListing(calls)));
  view.serviceRanges.replace(await listWhole(serviceRangeListing(calls)));
  return {
    settings: setup.config,
    policy: () => policy,
    areServicesFresh: () => true,
    view,
    reads: apiReads(calls, setup.namespace),
  };
}

export async function composeSigner(
  setup: SignerSetup,
  environment: NodeJS.ProcessEnv,
): Promise<SignerWorld & Basics> {
  const shared = await basics(setup, environment, 'signer');
  const { calls } = shared;
  const { namespace, config } = setup;
  return {
    ...shared,
    randomBytes: entropy,
    generateKey,
    requests: config.signerNames.map((signerName) => ({
      signerName,
      listing: requestListing(calls, signerName, 'signer'),
    })),
    ca: caSecret(calls, { namespace, name: setup.caSecret }),
    trust: trustPublisher(calls, namespace, config.signerNames, {
      clusterRole: setup.clusterRole,
      onUnowned: ({ message, code, hint }) =>
        shared.log(
          'warn',
          'trust.unowned',
          `What is published has no owner, and would outlive Podseal: ${message}`,
          { code, hint },
        ),
    }),
    issuance: apiIssuance(calls),
    readPod: (pod) => readPod(calls, pod, 'examples/rbac/signer.yaml'),
    writeEvent: apiEvents(calls, 'signer'),
  };
}

export async function composeInjector(
  setup: InjectorSetup,
  environment: NodeJS.ProcessEnv,
): Promise<InjectorWorld & Basics> {
  const shared = await basics(setup, environment, 'injector');
  const { calls } = shared;
  const { agent, wrongAnnotations } = setup;
  const rbacFile = 'examples/rbac/injector.yaml';
  return {
    ...shared,
    async injectionSettings() {
      const features = await readApiFeatures(calls);
      const { nativeSidecars = features.nativeSidecars } = setup;
      const { clusterTrustBundle = features.clusterTrustBundles } = setup;
      return {
        ...agent,
        wrongAnnotations,
        check: agentSettingProblems,
        nativeSidecars,
        clusterTrustBundle,
      };
    },
    mayAsk: mayCreateSigningRequests(calls),
    namespaces: namespaceListing(calls),
    services: serviceListing(calls, undefined, rbacFile),
    servicesOf: (namespace) => listWhole(serviceListing(calls, namespace, rbacFile)),
    configMaps: publishedConfigMaps(calls, setup.webhookConfiguration),
    trust: trustListing(calls, setup.namespace),
    webhooks: webhookConfigurations(calls, setup.webhookConfiguration),
    pods: podLists(calls),
    writeEvent: apiEvents(calls, 'injector'),
  };
}
