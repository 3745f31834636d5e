import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { dnsNameProblem, isDnsLabel } from '../../src/identity/dns-name.ts';

const long = 'a'.repeat(63);

describe('dnsNameProblem()', () => {
  for (const name of [
    'web',
    'web.shop.svc.cluster.local',
    '*.shop.example.com',
    '0.a',
    '10.0.0.7.nip.io',
    long,
    `${long}.${long}.${long}.${'a'.repeat(61)}`,
  ])
    test(`finds nothing wrong with ${JSON.stringify(name.slice(0, 40))}`, () => {
      assert.equal(dnsNameProblem(name), undefined);
    });

  for (const [name, problem] of [
    ['', /it is empty/],
    ['web.', /ends with a dot/],
    ['.web', /empty label/],
    ['web..svc', /empty label/],
    ['10.0.0.7', /is an address/],
    ['fd00::7', /is an address/],
    [`${long}a.svc`, /longer than 63/],
    [`${long}.${long}.${long}.${'a'.repeat(62)}`, /has 254 characters, 253 is the limit/],
    ['Web.shop', /label "Web"/],
    ['-web', /label "-web"/],
    ['web-.shop', /label "web-"/],
    ['web_1', /label "web_1"/],
    ['web shop', /label "web shop"/],
    ['web\n', /label "web\\n"/],
    ['münchen.example', /label "münchen"/],
    ['a.*.example', /label "\*"/],
    ['*', /label "\*"/],
  ] as const)
    test(`refuses ${JSON.stringify(name.slice(0, 40))} and says why`, () => {
      assert.match(dnsNameProblem(name) ?? 'no problem', problem);
    });
});

describe('isDnsLabel()', () => {
  for (const [text, expected] of [
    ['a', true],
    ['0', true],
    ['a-b', true],
    [long, true],
    [`${long}a`, false],
    ['', false],
    ['a.b', false],
    ['A', false],
    ['a\n', false],
    ['-a', false],
  ] as const)
    test(`says ${expected} for ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.equal(isDnsLabel(text), expected);
    });
});
