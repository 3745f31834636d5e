import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type NetworkFacts } from '../../src/identity/network.ts';
import { clusterView } from '../../src/approver/cluster-view.ts';

const node = (name: string, ...addresses: readonly string[]) => ({
  name,
  addresses,
  podRanges: [],
});

function view() {
  return clusterView(
    () => [],
    () => undefined,
  );
}

describe('clusterView()', () => {
  test('keeps the address of a node when another takes its claim to it back', () => {
    const { nodes, ...rest } = view();
    const network = (): NetworkFacts => rest.network();
    nodes.put(node('good', '192.0.2.1'));
    nodes.put(node('bad', '192.0.2.9', '192.0.2.1'));
    deepEqual([...(network().nodeAddresses.get('192.0.2.1') ?? [])].sort(), ['bad', 'good']);
    nodes.put(node('bad', '192.0.2.9'));
    deepEqual([...(network().nodeAddresses.get('192.0.2.1') ?? [])], ['good']);
    nodes.remove(node('good'));
    equal(network().nodeAddresses.get('192.0.2.1'), undefined);
  });

  test('forgets what a new list does not have', () => {
    const { nodes, ...rest } = view();
    const network = (): NetworkFacts => rest.network();
    nodes.put(node('old', '192.0.2.1'));
    nodes.replace([node('new', '192.0.2.2')]);
    deepEqual([...network().nodeAddresses.keys()], ['192.0.2.2']);
  });
});
