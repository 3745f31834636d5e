import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { outcomeOf, type Submitted } from '../../src/certificates/outcome.ts';
import { readGapMs } from '../../src/certificates/read-gap.ts';
import {
  requestName,
  type Condition,
  type SigningRequest,
} from '../../src/certificates/signing-request.ts';
import { type ErrorCode } from '../../src/errors.ts';

const submitted: Submitted = { name: 'podseal-1', uid: 'uid-1', request: 'PEM of ours\n' };
const chainPem = 'PEM of the chain';

const condition = (type: string): Condition => ({
  type,
  reason: `${type}Reason`,
  message: `because of ${type}`,
});

const request = (more: Partial<SigningRequest> = {}): SigningRequest => ({
  name: 'podseal-1',
  uid: 'uid-1',
  request: 'PEM of ours\n',
  signerName: 'podseal.dev/serving',
  conditions: [],
  certificate: undefined,
  ...more,
});

const approved = [condition('Approved')];

describe('outcomeOf()', () => {
  for (const [what, read, lastSeen] of [
    ['without conditions', request(), /no approver has acted/],
    ['with a certificate, but not approved', request({ certificate: chainPem }), /no approver/],
    [
      'with a certificate and a foreign condition alone',
      request({ certificate: chainPem, conditions: [condition('Reviewed')] }),
      /no approver/,
    ],
    ['approved, not yet issued', request({ conditions: approved }), /no signer has issued it yet/],
  ] as const)
    test(`goes on waiting for a request ${what}`, () => {
      const outcome = outcomeOf(read, submitted);
      assert.equal(outcome.kind, 'pending');
      assert.match(outcome.lastSeen, lastSeen);
    });

  for (const [what, read, ours] of [
    ['approved and issued', request({ conditions: approved, certificate: chainPem }), submitted],
    [
      'whose uid we never learnt',
      request({ conditions: approved, certificate: chainPem, uid: 'any' }),
      { ...submitted, uid: undefined },
    ],
    [
      'that came back without its last line feed',
      request({ conditions: approved, certificate: chainPem, request: 'PEM of ours' }),
      submitted,
    ],
  ] as const)
    test(`takes the chain of a request ${what}`, () => {
      assert.deepEqual(outcomeOf(read, ours), { kind: 'issued', chainPem });
    });

  const refusals: readonly (readonly [string, SigningRequest | undefined, ErrorCode, RegExp])[] = [
    ['that is gone', undefined, 'SIGNING_REQUEST_DELETED', /deleted before it was issued/],
    [
      'of another uid',
      request({ uid: 'uid-2', conditions: approved, certificate: chainPem }),
      'SIGNING_REQUEST_REPLACED',
      /uid uid-2, ours was uid-1/,
    ],
    [
      'that holds another certification request',
      request({ request: 'PEM of another', conditions: approved, certificate: chainPem }),
      'SIGNING_REQUEST_REPLACED',
      /holds another certification request/,
    ],
    [
      'that was denied',
      request({ conditions: [condition('Denied')] }),
      'SIGNING_REQUEST_DENIED',
      /denied \(DeniedReason\): because of Denied/,
    ],
    [
      'that was denied, whatever else it has',
      request({ conditions: [...approved, condition('Denied')], certificate: chainPem }),
      'SIGNING_REQUEST_DENIED',
      /denied/,
    ],
    [
      'that failed after it was approved',
      request({ conditions: [...approved, condition('Failed')] }),
      'SIGNING_REQUEST_FAILED',
      /failed \(FailedReason\): because of Failed/,
    ],
    [
      'that failed and has a certificate',
      request({ conditions: [...approved, condition('Failed')], certificate: chainPem }),
      'SIGNING_REQUEST_FAILED',
      /failed/,
    ],
  ];
  for (const [what, read, code, message] of refusals)
    test(`is over with ${code} for a request ${what}`, () => {
      const outcome = outcomeOf(read, submitted);
      assert.equal(outcome.kind, 'over');
      assert.equal(outcome.error.code, code);
      assert.match(outcome.error.message, message);
      assert.match(outcome.error.message, /"podseal-1"/);
      assert.ok(outcome.error.hint);
    });
});

describe('readGapMs()', () => {
  test('is milliseconds at first, and seconds when it takes a person', () => {
    assert.equal(readGapMs(0, 0.5), 50);
    assert.equal(readGapMs(4_000, 0.5), 1_000);
    assert.equal(readGapMs(3_600_000, 0.5), 30_000);
  });

  test('is jittered by a quarter up or down', () => {
    assert.equal(readGapMs(40_000, 0), 7_500);
    assert.equal(readGapMs(40_000, 0.999_999), 12_500);
  });
});

describe('requestName()', () => {
  test('holds the uid of the pod and 128 bits of the key, and is a name that Kubernetes takes', () => {
    const name = requestName('5e0c6f0e-0b3a-4f0e-9a52-4b8e1f0f3a11', '0123456789abcdef'.repeat(4));
    assert.equal(
      name,
      'podseal-5e0c6f0e-0b3a-4f0e-9a52-4b8e1f0f3a11-0123456789abcdef0123456789abcdef',
    );
    assert.match(name, /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/);
  });
});
