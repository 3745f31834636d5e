import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { planIssuance, type Plan, type Situation } from '../../src/agent/plan.ts';
import { type Certificate, type Validity } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { renewalFraction } from '../../src/renewal/schedule.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { type CurrentReading } from '../../src/volume/current.ts';
import { type Receipt } from '../../src/volume/volume.ts';
import {
  atNoonPlus,
  dayMs,
  dnsNames,
  hourMs,
  newCa,
  newKey,
  newLeaf,
  noon,
} from '../support/certificate-builders.ts';

const ca = newCa();
const keyPair = newKey();
const names = dnsNames('web.shop.svc');
const leafOf = (validity: Validity): Certificate => newLeaf(ca, { keyPair, names, validity });

/** Received at noon, valid for a day from then. */
const leaf = leafOf({ notBefore: noon, notAfter: atNoonPlus(dayMs) });
const fraction = renewalFraction(leaf.fingerprint);
const renewalMs = Math.floor(dayMs * (1 / 2 + fraction / 6));

const reading = (
  of: Certificate,
  receipt: Partial<Omit<Receipt, 'renewAnnotation'>> & {
    renewAnnotation?: string | undefined;
  } = {},
): CurrentReading => ({
  kind: 'usable',
  set: {
    leaf: of,
    intermediates: [],
    bundle: bundleOf([ca.certificate]),
    keyPem: privateKeyPem(keyPair),
    receipt: {
      requestName: 'podseal-1',
      receivedAt: noon.toISOString(),
      renewAnnotation: undefined,
      ...receipt,
    },
  },
});

const situation: Situation = {
  current: reading(leaf),
  names,
  renewAnnotation: undefined,
  since: { namesMissing: undefined, untrusted: undefined },
  now: atNoonPlus(hourMs),
};

const plan = (more: Partial<Situation> = {}): Plan => planIssuance({ ...situation, ...more });
const wait = (ms: number): Plan => ({ kind: 'wait', until: atNoonPlus(ms) });
const issue = (reason: string) => ({ kind: 'issue', reason });

const more = dnsNames('web.shop.svc', 'api.shop.svc');
const missingSince = (ms: number) => ({ namesMissing: atNoonPlus(ms), untrusted: undefined });
const untrustedSince = (ms: number) => ({ namesMissing: undefined, untrusted: atNoonPlus(ms) });

const unusable: CurrentReading = { kind: 'unusable', why: 'there is none yet' };
const spreadMs = Math.floor(10_000 * fraction);
const trustSpreadMs = Math.floor(300_000 * fraction);
const renewed = reading(leaf, { renewAnnotation: 'now' });

const table: readonly (readonly [string, Partial<Situation>, unknown])[] = [
  ['issues the first certificate at once', { current: unusable }, issue('first')],
  ['waits until renewal while all is well', {}, wait(renewalMs)],
  ['waits one millisecond before renewal', { now: atNoonPlus(renewalMs - 1) }, wait(renewalMs)],
  ['renews when it is due', { now: atNoonPlus(renewalMs) }, issue('renewal')],
  ['says "expired" from the end on', { now: atNoonPlus(dayMs) }, issue('expired')],
  [
    'says "expired" before everything else that is due',
    { now: atNoonPlus(2 * dayMs), names: more, since: missingSince(0), renewAnnotation: 'now' },
    issue('expired'),
  ],
  [
    'waits for the spread when names came',
    { names: more, since: missingSince(hourMs) },
    wait(hourMs + spreadMs),
  ],
  [
    'asks for the names that came after the spread',
    { names: more, since: missingSince(hourMs), now: atNoonPlus(hourMs + spreadMs) },
    issue('names'),
  ],
  [
    'keeps the gap after a certificate that has just come',
    { names: more, since: missingSince(5_000), now: atNoonPlus(20_000) },
    wait(30_000),
  ],
  [
    'keeps at most one gap when the clock was stepped back behind the receipt',
    {
      current: reading(leaf, { receivedAt: atNoonPlus(20 * hourMs).toISOString() }),
      names: more,
      since: missingSince(hourMs),
    },
    wait(hourMs + 30_000),
  ],
  [
    'does not issue for names that went away',
    { names: dnsNames(), since: missingSince(0) },
    wait(renewalMs),
  ],
  [
    'does not issue for names that came and went again',
    { names, since: missingSince(0) },
    wait(renewalMs),
  ],
  ['issues at once when the annotation asks for it', { renewAnnotation: 'now' }, issue('asked')],
  [
    'does not issue again for an annotation that was answered',
    { current: renewed, renewAnnotation: 'now' },
    wait(renewalMs),
  ],
  [
    'issues again when the annotation changed',
    { current: renewed, renewAnnotation: 'again' },
    issue('asked'),
  ],
  ['does not issue when the annotation went away', { current: renewed }, wait(renewalMs)],
  [
    'waits for the spread when the chain lost its trust',
    { since: untrustedSince(hourMs), now: atNoonPlus(hourMs) },
    wait(hourMs + trustSpreadMs),
  ],
  [
    'issues anew after the spread when the chain lost its trust',
    { since: untrustedSince(hourMs), now: atNoonPlus(hourMs + trustSpreadMs) },
    issue('trust'),
  ],
  [
    'takes the earliest of all that is coming',
    {
      names: more,
      since: { namesMissing: atNoonPlus(hourMs), untrusted: atNoonPlus(2 * hourMs) },
    },
    wait(hourMs + spreadMs),
  ],
];

describe('planIssuance()', () => {
  for (const [what, change, expected] of table)
    test(what, () => {
      assert.deepEqual(plan(change), expected);
    });

  test('plans 90 days as it plans one', () => {
    const long = leafOf({ notBefore: noon, notAfter: atNoonPlus(90 * dayMs) });
    const planned = plan({ current: reading(long) });
    assert.equal(planned.kind, 'wait');
    const days = (planned.until.getTime() - noon.getTime()) / dayMs;
    assert.ok(days >= 45 && days <= 60, `${days} days`);
    assert.deepEqual(plan({ current: reading(long), now: planned.until }), issue('renewal'));
  });

  test('does not renew a back-dated short certificate the moment it came', () => {
    const short = leafOf({ notBefore: atNoonPlus(-hourMs), notAfter: atNoonPlus(600_000) });
    const planned = plan({ current: reading(short), now: noon });
    assert.equal(planned.kind, 'wait');
    assert.ok(planned.until >= atNoonPlus(300_000));
  });

  test('gives the same answer after every restart', () => {
    assert.deepEqual(plan(), plan({ now: atNoonPlus(2 * hourMs) }));
  });

  for (const receivedAt of ['', 'yesterday', atNoonPlus(400 * dayMs).toISOString()])
    test(`counts from notBefore when the receipt says ${JSON.stringify(receivedAt)}`, () => {
      assert.deepEqual(plan({ current: reading(leaf, { receivedAt }) }), wait(renewalMs));
    });
});
