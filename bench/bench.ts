import {
  existingCluster,
  startControlPlane,
  type ControlPlane,
} from '../test/cluster/control-plane.ts';
import { benchAgent } from './agent.ts';
import { benchBurst } from './burst.ts';
import { benchInjector } from './injector.ts';
import { benchReads } from './reads.ts';
import { benchSigner } from './signer.ts';

const usage = `Usage: npm run bench -- NAME [--json]

  agent   bundle, start and memory of the agent, beside bare Node in the same run (some 5 minutes)
  reads   time and reads per certificate with 1, 100 and 1,000 agents at once
  burst   approver and signer when BENCH_PODS=200,1000,5000 pods ask at once, beside
          kube-controller-manager's signer and the API server's own bound (4 minutes to 1,000)
  injector  100 pods a second through the injector, beside a webhook that does nothing, and 10,000 calls
          while its certificate and CA are replaced (3 minutes)
  signer  requests parsed, verified and issued, and verdicts, per second and core; without an API server

Against the test control plane, or with USE_EXISTING_CLUSTER=true that of KUBECONFIG. --json prints
one line of JSON per result on standard output; progress goes to standard error.
`;

const [name = ''] = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const asJson = process.argv.includes('--json');
const say = (line: string): void => console.error(`bench: ${line}`);

/** Every control plane that is up or on its way; none is left behind. */
const planes: Promise<ControlPlane>[] = [];
const start = (): Promise<ControlPlane> => {
  const isExisting = process.env['USE_EXISTING_CLUSTER'] === 'true';
  const plane = isExisting ? Promise.resolve(existingCluster()) : startControlPlane({ say });
  planes.push(plane);
  return plane;
};
const cleanUps: (() => Promise<void>)[] = [];
const atEnd = (cleanUp: () => Promise<void>): void => void cleanUps.push(cleanUp);
const allDown = async (): Promise<void> => {
  await Promise.allSettled(cleanUps.map((cleanUp) => cleanUp()));
  for (const plane of await Promise.allSettled(planes)) {
    if (plane.status === 'rejected') continue;
    await plane.value.down();
    plane.value.api.close();
  }
};
const benches = {
  agent: async () => benchAgent(await start(), say),
  reads: async () => benchReads(await start(), say),
  burst: () => benchBurst({ start, atEnd }, say),
  injector: async () => benchInjector(await start(), say),
  signer: () => benchSigner(say),
} as const;

if (!Object.hasOwn(benches, name)) {
  console.error(usage);
  process.exit(64);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void allDown().finally(() => process.exit(130)));
try {
  const result = await benches[name as keyof typeof benches]();
  for (const row of [result].flat()) {
    if (asJson) console.log(JSON.stringify(row));
    else console.table(row);
  }
} finally {
  await allDown();
}
