import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { boundPodOf, type Requester } from '../../src/identity/requester.ts';
import { aPod, aUser, theTokenOf } from '../support/approval-builders.ts';

describe('boundPodOf()', () => {
  test('is the pod that the token is bound to', () => {
    assert.deepEqual(boundPodOf(theTokenOf(aPod({ name: 'web-0.x' }))), {
      kind: 'pod',
      pod: {
        namespace: 'shop',
        serviceAccount: 'web',
        name: 'web-0.x',
        uid: 'uid-of-web-0',
        nodeName: 'node-a',
      },
    });
  });

  /** What goes into a path of the API must not lead elsewhere. */
  const strange = ['../x', '..', '.', 'a/b', 'a?b', 'a#b', '%2e', 'A', 'a b', 'a\n', '-a', 'a..b'];
  const asking: Readonly<Record<string, (text: string) => Requester>> = {
    pod: (text) => theTokenOf(aPod({ name: text })),
    'service account': (text) => theTokenOf(aPod({ serviceAccount: text })),
    namespace: (text) => theTokenOf(aPod({ namespace: text })),
  };
  for (const [what, make] of Object.entries(asking))
    test(`is none where the ${what} has a name that nothing can have`, () => {
      for (const text of [...strange, 'a'.repeat(254)])
        assert.equal(boundPodOf(make(text)).kind, 'other', JSON.stringify(text));
    });

  test('is none in a namespace with a dot', () => {
    assert.equal(boundPodOf(theTokenOf(aPod({ namespace: 'a.b' }))).kind, 'other');
  });

  test('is none without claims, and says so', () => {
    assert.deepEqual(boundPodOf(aUser('system:serviceaccount:shop:web')), {
      kind: 'other',
      why: 'its token is not bound to a pod',
    });
  });
});
