import { deepEqual, equal } from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { packNodeImage } from '../cluster/application-image.ts';
import { importImage } from '../cluster/node.ts';
import { nodeObstacle, nodeScene, type NodeScene } from '../support/node-scene.ts';
import { until } from '../support/until.ts';

/**
 * Any application can read its key, whatever user its image and its pod choose, and nobody else can:
 * the table in docs/injection.md, on a kubelet and a container runtime that apply users and groups.
 */

const namespace = 'key-access';
/** Like many images: a user, and no group. */
const imageOf1234 = 'node-of-1234:1';
const root = { image: 'node:24-alpine' };
const user1234 = { image: imageOf1234 };

interface Case {
  readonly pod?: Readonly<Record<string, unknown>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of each container: its image, its securityContext. */
  readonly containers: readonly {
    readonly image: string;
    readonly securityContext?: Readonly<Record<string, unknown>>;
  }[];
  /** Of tls.key: mode, user, group. */
  readonly key: readonly [mode: string, uid: number, gid: number];
}

const as = (runAsUser: number) => ({ ...root, securityContext: { runAsUser } });
const powerless = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };

/** Names of pods; each is what the pod says. */
const cases: Readonly<Record<string, Case>> = {
  // One user for all.
  'user-of-the-pod': { pod: { runAsUser: 1000 }, containers: [root], key: ['400', 1000, 65532] },
  'user-of-the-container': { containers: [as(1000)], key: ['400', 1000, 65532] },
  'user-and-group': {
    pod: { runAsUser: 1000, runAsGroup: 3000 },
    containers: [root, root],
    key: ['400', 1000, 3000],
  },
  'user-and-fs-group': {
    pod: { runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000 },
    containers: [root],
    // The kubelet gives the volume to the group, and its files inherit that.
    key: ['400', 1000, 2000],
  },
  'user-against-image': { containers: [{ ...as(1000), ...user1234 }], key: ['400', 1000, 65532] },

  // Users that nobody but the image knows.
  'image-user': { containers: [user1234], key: ['440', 65532, 65532] },
  'image-user-and-fs-group': {
    pod: { fsGroup: 2000 },
    containers: [user1234],
    key: ['440', 65532, 2000],
  },
  'image-user-and-groups': {
    pod: { supplementalGroups: [3000, 4000] },
    containers: [user1234],
    key: ['440', 65532, 3000],
  },
  'image-user-and-both': {
    pod: { fsGroup: 2000, supplementalGroups: [3000] },
    containers: [user1234],
    key: ['440', 65532, 2000],
  },
  'image-user-and-group': {
    containers: [{ ...user1234, securityContext: { runAsGroup: 3000 } }],
    key: ['440', 65532, 65532],
  },

  // Root, which without capabilities reads no more than others.
  'image-root': { containers: [root], key: ['440', 65532, 65532] },
  'root-without-capabilities': {
    containers: [{ ...root, securityContext: { ...powerless, runAsUser: 0 } }],
    key: ['440', 65532, 65532],
  },
  'root-without-capabilities-fs-group': {
    pod: { fsGroup: 2000 },
    containers: [{ ...root, securityContext: powerless }],
    key: ['440', 65532, 2000],
  },

  // Several users.
  'several-users': {
    containers: [as(1000), as(2000), user1234, { ...root, securityContext: powerless }],
    key: ['440', 65532, 65532],
  },
  'several-users-and-fs-group': {
    pod: { runAsUser: 1000, fsGroup: 2000 },
    containers: [root, as(3000)],
    key: ['440', 65532, 2000],
  },

  // What people ask for.
  'other-files': {
    pod: { runAsUser: 1000 },
    annotations: { 'podseal.dev/formats': 'combined' },
    containers: [root],
    key: ['400', 1000, 65532],
  },
};

/** What a container sees of the files; it fails where it cannot read the key. */
interface Seen {
  readonly key: Case['key'];
  /** Files with a private key that everybody could read. */
  readonly open: readonly string[];
}

const reader = `
const { readdirSync, readFileSync, statSync } = require('node:fs');
const { createPrivateKey } = require('node:crypto');
const directory = '/var/run/podseal/';
const { mode, uid, gid } = statSync(directory + 'tls.key');
createPrivateKey(readFileSync(directory + 'tls.key'));
const open = readdirSync(directory, { recursive: true })
  .filter((name) => statSync(directory + name).isFile() && statSync(directory + name).mode & 0o007)
  .filter((name) => readFileSync(directory + name).includes('PRIVATE KEY'));
console.log(JSON.stringify({ key: [(mode & 0o777).toString(8), uid, gid], open }));
`;

describe('who can read the key, on a real node', { skip: nodeObstacle, timeout: 600_000 }, () => {
  let node: NodeScene;
  const pods = `/api/v1/namespaces/${namespace}/pods`;

  before(
    async () => {
      node = await nodeScene();
      const { directory } = node;
      const { image: name } = user1234;
      await importImage(directory, await packNodeImage(directory));
      await importImage(directory, await packNodeImage(directory, { name, user: '1234' }));
      await node.installPodseal();
      await node.injectInto(namespace);
      await Promise.all(Object.entries(cases).map(([each, what]) => createPod(each, what)));
    },
    { timeout: 240_000 },
  );

  after(() => (node as NodeScene | undefined)?.end());

  function createPod(name: string, { pod, annotations, containers }: Case): Promise<unknown> {
    return node.api.must('POST', pods, {
      metadata: { name, annotations },
      spec: {
        restartPolicy: 'Never',
        securityContext: pod,
        containers: containers.map((container, i) => ({
          name: `c${i}`,
          command: ['node', '-e', reader],
          ...container,
        })),
      },
    });
  }

  async function ended(name: string): Promise<string> {
    return until(
      `pod ${name} to end`,
      async () => {
        const { status } = (await node.api.must('GET', `${pods}/${name}`)) as {
          status: { phase: string };
        };
        return ['Succeeded', 'Failed'].includes(status.phase) && status.phase;
      },
      180,
    );
  }

  for (const [name, { containers, key }] of Object.entries(cases))
    test(name, async () => {
      const phase = await ended(name);
      for (const i of containers.keys()) {
        const log = await node.kubectl('logs', name, '-n', namespace, '-c', `c${i}`);
        equal(phase, 'Succeeded', log);
        deepEqual(JSON.parse(log) as Seen, { key, open: [] });
      }
    });
});
