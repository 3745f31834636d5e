import { clusterView } from '../approver/cluster-view.ts';
import { type Explanation, explain, explanationText } from '../approver/explain.ts';
import { type FactSources, gatherFacts } from '../approver/gather.ts';
import { PodsealError } from '../errors.ts';
import { readSavedObjects, type SavedObjects } from '../kubernetes/saved-objects.ts';
import { readText } from '../node/pod-files.ts';
import { composeExplainer, policyOf } from './compose-controllers.ts';
import { type ApproverSetup } from './controller-config.ts';

/**
 * `podseal approver --explain FILE`: the verdict on each saved request, rule by rule; nothing is
 * changed. Returns what to print, and whether every one of them would be approved.
 */
export async function explainFile(
  path: string,
  setup: ApproverSetup,
  environment: NodeJS.ProcessEnv,
  form: 'text' | 'json',
): Promise<{ readonly text: string; readonly isApproved: boolean }> {
  const text = readText(path);
  if (text === undefined)
    throw new PodsealError('USAGE', `Cannot read ${JSON.stringify(path)}`, {
      hint: 'Save a request with: kubectl get csr NAME -o yaml > FILE',
    });
  const { requests, cluster } = readSavedObjects(text, path);
  const sources = cluster
    ? savedSources(cluster, setup)
    : await composeExplainer(setup, environment);
  const explanations: Explanation[] = [];
  for (const request of requests)
    explanations.push(explain(await gatherFacts(request, sources, 'live')));
  return {
    text:
      form === 'json'
        ? `${JSON.stringify(explanations, undefined, 2)}\n`
        : explanations.map(explanationText).join('\n'),
    isApproved: explanations.every(({ verdict }) => verdict === 'approve'),
  };
}

/** The file is the whole world: nobody is asked. */
function savedSources(
  cluster: NonNullable<SavedObjects['cluster']>,
  setup: ApproverSetup,
): FactSources {
  const policy = policyOf(setup);
  const view = clusterView(
    () => policy.serviceRanges,
    () => undefined,
  );
  view.services.replace(cluster.services);
  view.nodes.replace(cluster.nodes);
  view.serviceRanges.replace(cluster.serviceRanges);
  return {
    settings: setup.config,
    policy: () => policy,
    areServicesFresh: () => true,
    view,
    reads: {
      pod: ({ namespace, name }) =>
        Promise.resolve(
          cluster.pods.find((pod) => pod.namespace === namespace && pod.name === name),
        ),
      services: (namespace) => Promise.resolve(view.servicesOf(namespace)),
      caConstraints: () => Promise.resolve(cluster.caConstraints),
    },
  };
}
