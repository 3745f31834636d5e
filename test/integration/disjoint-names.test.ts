import { deepEqual, equal, ok } from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { violationsOf } from '../../src/approver/verdict.ts';
import { isDnsLabel } from '../../src/identity/dns-name.ts';
import { type LivePod } from '../../src/identity/live-pod.ts';
import { type LiveService } from '../../src/identity/live-service.ts';
import { selects } from '../../src/identity/service.ts';
import { dashedAddress, subjectNamesOf, wantedNames } from '../../src/identity/wanted-names.ts';
import { livePodOf, liveServiceOf } from '../../src/kubernetes/cluster-objects.ts';
import { createPod, prepareNamespace, type TestPod } from '../cluster/pod.ts';
import { factsOf, theTokenOf } from '../support/approval-builders.ts';
import { conditionOf, readRequest, requestFor, sendRequest } from '../support/asking.ts';
import { sharedControlPlane } from '../support/control-plane.ts';
import {
  controllerSystem,
  removeNamespace,
  type ControllerSystem,
} from '../support/controllers.ts';
import { requester } from '../support/requester.ts';
import { until } from '../support/until.ts';

/**
 * Whatever people call their namespaces, Services and hosts: no two pods of different namespaces can get
 * the same DNS name. The objects are made at random from hostile words, as far as the real API server
 * lets them be; the names are all that these words can be put together to.
 */

const plane = sharedControlPlane();
const { api } = plane;
const signerName = `test.podseal.dev/disjoint-${randomInt(1e9)}`;
/** Namespaces and Services are both called so. */
const words = ['svc', 'com', 'local', 'cluster', 'pod', 'google', 'payments'] as const;
const seed = Number(process.env['DISJOINT_SEED'] ?? randomInt(1e9));

/** A small generator of our own, so that a failure can be seen again. */
function dice(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    // Numerical Recipes' constants for a linear congruential generator modulo 2^32.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface Placed {
  readonly token: TestPod;
  readonly pod: LivePod;
  readonly services: readonly LiveService[];
}

describe(`DNS names of different namespaces (DISJOINT_SEED=${seed})`, () => {
  const placed: Placed[] = [];
  let system: ControllerSystem;
  const users = requester(plane.serverUrl, plane.caPem, '');

  before(async () => {
    system = await controllerSystem(plane, { signerNames: [signerName] });
    const roll = dice(seed);
    const word = (): string => words[roll(words.length)] ?? 'svc';
    const group = (): string => (roll(2) === 0 ? 'a' : 'b');
    for (const namespace of words) {
      await prepareNamespace(api, namespace);
      const pods: TestPod[] = [];
      for (let i = 0; i < 2; i++)
        pods.push(
          await createPod(api, {
            namespace,
            name: `p${i}`,
            labels: { app: group() },
            hostname: word(),
            subdomain: word(),
            podIPs: [`10.97.${words.indexOf(namespace)}.${10 + i}`],
          }),
        );
      const services: LiveService[] = [];
      for (const name of words) {
        if (roll(4) === 0) continue;
        const made = await api.must('POST', `/api/v1/namespaces/${namespace}/services`, {
          metadata: { name },
          spec: {
            selector: { app: group() },
            ports: [{ port: 443 }],
            ...(roll(2) === 0 ? { clusterIP: 'None' } : {}),
          },
        });
        services.push(liveServiceOf(made as Parameters<typeof liveServiceOf>[0]));
      }
      for (const token of pods) {
        const path = `/api/v1/namespaces/${namespace}/pods/${token.name}`;
        const found = await api.must('GET', path);
        const pod = livePodOf(found as Parameters<typeof livePodOf>[0]);
        placed.push({ token, pod, services });
      }
    }
    await (await system.start('approver')).ready();
    await (await system.start('signer')).ready();
    await system.bundle();
  });
  after(async () => {
    users.close();
    await (system as ControllerSystem | undefined)?.close();
    for (const namespace of words) await removeNamespace(api, namespace);
    api.close();
  });

  /** Everything that the words, and the addresses of the pods, can be put together to. */
  function everyName(): readonly string[] {
    const dashed = placed.flatMap(({ pod }) => pod.ipAddresses.map(dashedAddress));
    const ends = ['', '.svc', '.svc.cluster.local', '.pod.cluster.local', '.cluster.local', '.com'];
    const stems = [
      ...words,
      ...words.flatMap((a) => words.map((b) => `${a}.${b}`)),
      ...words.flatMap((a) => words.flatMap((b) => words.map((c) => `${a}.${b}.${c}`))),
      ...dashed.flatMap((a) => words.map((b) => `${a}.${b}`)),
    ];
    return [...new Set(stems.flatMap((stem) => ends.map((end) => stem + end)))].filter((name) =>
      name.split('.').every(isDnsLabel),
    );
  }

  /** Those of the names that the rules would give to the pod, asked 200 at a time. */
  function namesGiven({ pod, services }: Placed, names: readonly string[]): ReadonlySet<string> {
    const given = new Set<string>();
    for (let i = 0; i < names.length; i += 200) {
      const asked = names.slice(i, i + 200);
      const facts = factsOf({
        pod,
        services,
        asks: { names: { dnsNames: asked }, by: theTokenOf(pod) },
      });
      const refused = new Set(violationsOf(facts).map(({ value }) => value));
      // A request that is wrong as a whole would say nothing of its names.
      for (const value of refused) ok(asked.includes(value ?? ''), String(value));
      for (const name of asked) if (!refused.has(name)) given.add(name);
    }
    return given;
  }

  test('no name is given to pods of two namespaces', () => {
    const names = everyName();
    ok(names.length > 2_000);
    const holders = new Map<string, string>();
    for (const each of placed)
      for (const name of namesGiven(each, names)) {
        const { namespace } = each.pod;
        equal(holders.get(name) ?? namespace, namespace, name);
        holders.set(name, namespace);
      }
    // Else the test would say nothing.
    ok(holders.size > 20, String(holders.size));
  });

  test('each pod gets what its agent asks for, and nothing of another namespace', async () => {
    const own = placed.map((each) => ({ ...each, names: agentNames(each) }));
    const foreign = own.map(({ pod }, i) => {
      const others = own.filter((each) => each.pod.namespace !== pod.namespace);
      const all = others.flatMap(({ names }) => names.dnsNames);
      return all[(i * 7) % all.length] ?? '';
    });
    ok(foreign.every((name) => name !== ''));
    const verdictOn = async (each: Placed, names: { readonly dnsNames: readonly string[] }) => {
      const request = requestFor({ dnsNames: [...names.dnsNames] });
      const name = await sendRequest(
        users,
        { token: each.token.token },
        { signerName },
        { request },
      );
      return until('a verdict', async () => {
        const stored = await readRequest(api, name);
        if (conditionOf(stored, 'Denied') !== undefined) return 'denied' as const;
        return stored?.status.certificate === undefined ? undefined : ('issued' as const);
      });
    };
    const outcomes = await Promise.all(
      own.map(async (each, i) => {
        const wants = each.names.dnsNames.length > 0 ? [await verdictOn(each, each.names)] : [];
        return [...wants, await verdictOn(each, { dnsNames: [foreign[i] ?? ''] })];
      }),
    );
    deepEqual(
      outcomes,
      own.map(({ names }) => (names.dnsNames.length > 0 ? ['issued', 'denied'] : ['denied'])),
    );
  });
});

function agentNames({ pod, services }: Placed) {
  const own = services.filter((service) => selects(service, pod.labels));
  return subjectNamesOf(
    wantedNames({ ...pod, hostname: pod.hostname, subdomain: pod.subdomain }, own, {
      clusterDomain: 'cluster.local',
      trustDomain: 'cluster.local',
      forms: [],
      extraDnsNames: [],
      extraIpAddresses: [],
    }),
  );
}
