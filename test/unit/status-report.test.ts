import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Look } from '../../src/agent/look.ts';
import { statusOf } from '../../src/agent/status.ts';
import { statusReport, type AgentState } from '../../src/agent/status-report.ts';
import { PodsealError } from '../../src/errors.ts';
import { subjectNamesIn } from '../../src/pki/certificate.ts';
import { privateKeyPem } from '../../src/pki/key-pair.ts';
import { bundleOf } from '../../src/trust/bundle.ts';
import { type PendingRequest } from '../../src/volume/volume.ts';
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
const leaf = newLeaf(ca, {
  keyPair,
  names: dnsNames('web.shop.svc'),
  validity: { notBefore: noon, notAfter: atNoonPlus(dayMs) },
});
const trust = { bundle: bundleOf([ca.certificate]), unusable: [] };
const keyPem = privateKeyPem(keyPair);
const receipt = {
  requestName: 'podseal-u-1',
  receivedAt: noon.toISOString(),
  renewAnnotation: undefined,
};

const served: Look = {
  current: {
    kind: 'usable',
    set: { leaf, intermediates: [], bundle: trust.bundle, keyPem, receipt },
  },
  names: { kind: 'unknown', why: 'a file is missing', unconfigured: false },
  trust,
  renewAnnotation: undefined,
};
const waiting: Look = { ...served, current: { kind: 'unusable', why: 'there is none yet' } };

const state = (seen: Look, more: Partial<AgentState> = {}): AgentState => {
  const now = atNoonPlus(hourMs);
  const status = statusOf(seen.current, undefined, trust.bundle, now);
  return { seen, status, pending: undefined, failure: undefined, now, ...more };
};

const respondent = {
  // What the settings know beside is not for everybody.
  pod: { namespace: 'shop', name: 'web-0', uid: 'u', serviceAccount: 'web' },
  signerName: 'podseal.dev/serving',
  version: '0.1.0',
};
const silent = { hooks: [], application: 'unknown' } as const;

describe('statusReport()', () => {
  test('tells pod, certificate and when it is renewed; never the key', () => {
    const report = statusReport(respondent, state(served), silent);
    const { certificate, ...rest } = report;
    deepEqual(rest, {
      pod: { namespace: 'shop', name: 'web-0', uid: 'u' },
      ready: true,
      reasons: [],
      expired: false,
      pending: null,
      lastError: null,
      signerName: 'podseal.dev/serving',
      hooks: [],
      application: 'unknown',
      version: '0.1.0',
    });
    ok(certificate);
    const { renewalAt, ...fixed } = certificate;
    deepEqual(fixed, {
      names: subjectNamesIn(leaf).dnsNames,
      issuer: leaf.x509.issuer,
      serial: leaf.serial,
      fingerprint: leaf.fingerprint,
      notBefore: noon.toISOString(),
      notAfter: atNoonPlus(dayMs).toISOString(),
    });
    ok(new Date(renewalAt) >= atNoonPlus(dayMs / 2) && new Date(renewalAt) < atNoonPlus(dayMs));
    ok(!JSON.stringify(report).includes('PRIVATE'));
  });

  test('tells the request that is waited for, and nothing of its key', () => {
    const pending: PendingRequest = {
      name: 'podseal-u-2',
      uid: 'x',
      signerName: 'podseal.dev/serving',
      keyPem,
      request: 'a request',
      names: dnsNames('web.shop.svc'),
      createdAt: noon.toISOString(),
    };
    const report = statusReport(respondent, state(waiting, { pending }), silent);
    deepEqual(report.pending, { request: 'podseal-u-2', since: noon.toISOString() });
    equal(report.certificate, null);
    ok(!JSON.stringify(report).includes('PRIVATE'));
  });

  test('tells the newest failure, its mend and when it is tried again', () => {
    const error = new PodsealError('API_FORBIDDEN', 'Cannot create it', { hint: 'Apply a role.' });
    const failure = { error, at: noon, again: atNoonPlus(hourMs) };
    deepEqual(statusReport(respondent, state(served, { failure }), silent).lastError, {
      code: 'API_FORBIDDEN',
      message: 'Cannot create it',
      hint: 'Apply a role.',
      at: noon.toISOString(),
      again: atNoonPlus(hourMs).toISOString(),
    });
  });

  test('names that are unknown are the error, until there is a certificate to go on with', () => {
    const { lastError } = statusReport(respondent, state(waiting), silent);
    equal(lastError?.code, 'NAMES_UNKNOWN');
    match(lastError.message, /a file is missing/);
    equal(statusReport(respondent, state(served), silent).lastError, null);
  });
});
