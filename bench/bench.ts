import { startControlPlane } from '../test/cluster/control-plane.ts';
import { existingCluster } from '../test/cluster/control-plane.ts';
import { benchAgent } from './agent.ts';
import { benchReads } from './reads.ts';

const usage = `Usage: npm run bench -- NAME [--json]

  agent   bundle, start and memory of the agent, beside bare Node in the same run (some 5 minutes)
  reads   time and reads per certificate with 1, 100 and 1,000 agents at once

Against the test control plane, or with USE_EXISTING_CLUSTER=true that of KUBECONFIG. --json prints
one line of JSON per result on standard output; progress goes to standard error.
`;

const benches = { agent: benchAgent, reads: benchReads } as const;
const [name = ''] = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const asJson = process.argv.includes('--json');
const say = (line: string): void => console.error(`bench: ${line}`);

if (!Object.hasOwn(benches, name)) {
  console.error(usage);
  process.exit(64);
}
const plane =
  process.env['USE_EXISTING_CLUSTER'] === 'true'
    ? existingCluster()
    : await startControlPlane({ say });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void plane.down().finally(() => process.exit(130)));
try {
  const result = await benches[name as keyof typeof benches](plane, say);
  for (const row of [result].flat()) {
    if (asJson) console.log(JSON.stringify(row));
    else console.table(row);
  }
} finally {
  await plane.down();
  plane.api.close();
}
