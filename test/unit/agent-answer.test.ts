import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { statusReport } from '../../src/agent/status-report.ts';
import { PodsealError } from '../../src/errors.ts';
import { readAnswer } from '../../src/kubernetes/agent-answer.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { type AgentReading } from '../../src/status/agent-report.ts';
import { noon, atNoonPlus, hourMs } from '../support/certificate-builders.ts';

const pod = { namespace: 'shop', name: 'web-0', uid: 'u' };

function answered(body: unknown, status = 200): AgentReading {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return readAnswer({ status, headers: {}, body: Buffer.from(text) }, pod);
}

function why(reading: AgentReading): string {
  return reading.kind === 'unread' ? reading.why : reading.kind;
}

const told = {
  pod,
  ready: true,
  reasons: ['a'],
  expired: false,
  certificate: {
    names: ['web.shop.svc'],
    issuer: 'CN=CA',
    serial: '0a',
    fingerprint: 'ab',
    notBefore: noon.toISOString(),
    notAfter: atNoonPlus(hourMs).toISOString(),
    renewalAt: noon.toISOString(),
  },
  pending: { request: 'podseal-u-1', since: noon.toISOString() },
  lastError: {
    code: 'API_UNREACHABLE',
    message: 'Cannot reach it',
    hint: 'Wait.',
    at: noon.toISOString(),
    again: noon.toISOString(),
  },
  signerName: 'podseal.dev/serving',
  hooks: [{ hook: 'http', outcome: 'ok', at: noon.toISOString(), why: '' }],
  application: 'current',
  version: '0.1.0',
};

describe('readAnswer()', () => {
  test('reads what an agent tells', () => {
    const reading = answered(told);
    ok(reading.kind === 'read');
    const { certificate, pending, lastError, ...rest } = reading.report;
    deepEqual(rest, {
      ready: true,
      reasons: ['a'],
      expired: false,
      signerName: 'podseal.dev/serving',
      hooks: [{ hook: 'http', outcome: 'ok', why: '' }],
      application: 'current',
      version: '0.1.0',
    });
    deepEqual(certificate?.notAfter, atNoonPlus(hourMs));
    deepEqual(pending, { request: 'podseal-u-1', since: noon });
    deepEqual(lastError?.again, noon);
  });

  test('reads what the agent of this version writes', () => {
    const error = new PodsealError('API_FORBIDDEN', 'Cannot create it', { hint: 'Apply a role.' });
    const report = statusReport(
      { pod, signerName: 'podseal.dev/serving', version: '0.1.0' },
      {
        seen: {
          current: { kind: 'unusable', why: 'there is none' },
          names: { kind: 'unknown', why: 'a file is missing', unconfigured: false },
          trust: { bundle: bundleOf([]), unusable: [] },
          renewAnnotation: undefined,
        },
        status: {
          ready: false,
          reasons: ['no usable certificate: there is none'],
          expired: false,
          untrusted: undefined,
          missing: [],
        },
        pending: undefined,
        failure: { error, at: noon, again: noon },
        now: noon,
      },
      { hooks: [], application: 'unknown' },
    );
    const reading = answered(report);
    ok(reading.kind === 'read');
    equal(reading.report.lastError?.code, 'NAMES_UNKNOWN');
    deepEqual(reading.report.reasons, ['no usable certificate: there is none']);
    equal(reading.report.certificate, undefined);
  });

  test('what is not there, and what has another form, reads as nothing', () => {
    const reading = answered({
      pod,
      ready: false,
      reasons: 'no',
      certificate: { names: 'x', notAfter: 'tomorrow' },
      pending: [],
      lastError: 7,
      hooks: { a: 1 },
      version: 3,
    });
    ok(reading.kind === 'read');
    deepEqual(reading.report, {
      ready: false,
      reasons: [],
      expired: false,
      certificate: undefined,
      pending: undefined,
      lastError: undefined,
      signerName: '',
      hooks: [],
      application: '',
      version: '',
    });
  });

  test('long texts and long lists are cut', () => {
    const long = 'x'.repeat(100_000);
    const many = Array.from({ length: 10_000 }, () => long.slice(0, 1_000));
    const reading = answered({
      ...told,
      reasons: many,
      certificate: { ...told.certificate, names: many, issuer: long },
      lastError: { ...told.lastError, message: long },
      hooks: many.map((each) => ({ hook: each, outcome: each, why: each })),
      version: long,
    });
    ok(reading.kind === 'read');
    ok(JSON.stringify(reading.report).length < 500_000);
    equal(reading.report.reasons.length, 250);
  });

  test('the word of another pod is not taken', () => {
    match(
      why(answered({ ...told, pod: { namespace: 'db', name: 'pg-0', uid: 'other' } })),
      /^another pod answers on that port: "db\/pg-0"$/,
    );
    match(why(answered({ ...told, pod: undefined })), /another pod/);
  });

  test('what is no status of an agent', () => {
    const strange = /does not tell a status of Podseal/;
    for (const body of ['', '<html>', '[]', 'null', '7', '{}', '{"ready":"yes"}'])
      match(why(answered(body)), strange, body);
  });

  test('an API server or a pod that refuses', () => {
    const forbidden = { kind: 'Status', reason: 'Forbidden', message: 'pods "x" is forbidden' };
    match(why(answered(forbidden, 403)), /may not get pods\/proxy: .*status\.yaml/);
    match(why(answered('no such page', 404)), /no page \/status.*older/);
    const refused = { kind: 'Status', message: 'error trying to reach service: refused' };
    equal(why(answered(refused, 503)), 'error trying to reach service: refused');
    equal(why(answered('busy', 503)), 'the answer was 503');
    equal(why(answered('', 302)), 'the answer was 302');
  });

  test('never throws', () => {
    const someAnswer = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc
        .record({ ...Object.fromEntries(Object.keys(told).map((key) => [key, fc.jsonValue()])) })
        .map((each) => JSON.stringify(each)),
    );
    fc.assert(
      fc.property(
        someAnswer,
        fc.constantFrom(200, 201, 301, 403, 404, 500, 503),
        (body, status) => {
          const { kind } = answered(body, status);
          ok(kind === 'read' || kind === 'unread');
        },
      ),
    );
  });
});
