import { deepEqual, match, ok } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { apiClient } from '../cluster/api-client.ts';
import { requireNode, startNode, stopNode } from '../cluster/node.ts';
import { isAlive, type Started } from '../cluster/processes.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);

/** Why a node cannot be started here, if so: printed as the reason of the skipped test. */
const obstacle = await requireNode().then(
  () => undefined,
  (error: unknown) => String(error),
);

test(
  'a whole node runs a pod with cluster DNS, and leaves nothing behind',
  { skip: obstacle ?? false, timeout: 240_000 },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'podseal-node-'));
    rmSync(directory, { recursive: true });
    const config = await startNode(directory, () => undefined);
    const { processes } = JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8')) as {
      processes: Readonly<Record<string, Started>>;
    };
    try {
      const api = apiClient(config);
      const pods = '/api/v1/namespaces/default/pods';
      const script =
        'until nslookup kubernetes.default.svc.cluster.local; do sleep 1; done; sleep 600';
      await api.must('POST', pods, {
        metadata: { name: 'probe' },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'probe',
              image: 'podseal.test/busybox:1',
              imagePullPolicy: 'Never',
              args: ['-c', script],
            },
          ],
        },
      });
      const log = await until(
        'the pod to resolve a name',
        async () => {
          const { status, body } = await api.request('GET', `${pods}/probe/log`);
          return status === 200 && String(body).includes('10.96.0.1') ? String(body) : undefined;
        },
        120,
      );
      match(log, /kubernetes\.default\.svc\.cluster\.local/);
      api.close();
    } finally {
      await stopNode(directory);
    }
    deepEqual(Object.values(processes).filter(isAlive), []);
    ok(!existsSync(directory));
    const links = await run('ip', ['-brief', 'link']);
    ok(!links.stdout.includes('podseal0'));
    const mounts = readFileSync('/proc/mounts', 'utf8');
    ok(!mounts.includes('podseal-run'));
  },
);
