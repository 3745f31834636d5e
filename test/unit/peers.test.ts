import { equal, match, ok } from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { type ObservedRequest } from '../../src/certificates/observed-request.ts';
import { noNames, type SubjectNames } from '../../src/identity/subject-names.ts';
import { certificateFromDer, extensionsOf, subjectNamesIn } from '../../src/pki/certificate.ts';
import { buildCertificationRequest } from '../../src/pki/certification-request.ts';
import { extensionOids } from '../../src/pki/extensions.ts';
import { keyPairOf, privateKeyPem, type KeyPair } from '../../src/pki/key-pair.ts';
import { encodePem } from '../../src/pki/pem.ts';
import { answerTo } from '../../src/signer/handle.ts';
import { finishedReason, keptRequest } from '../../src/signer/removals.ts';
import { readSigningCa, type SigningCa } from '../../src/signer/signing-ca.ts';
import { standingOf } from '../../src/certificates/observed-request.ts';
import { atNoonPlus, dayMs, hourMs, newCa, newKey, noon } from '../support/certificate-builders.ts';

/**
 * What others hold their signers, approvers and cleaners to: every row of their tables is kept, adapted
 * to our contract, or left out with the reason. Sources: kubernetes/kubernetes
 * pkg/controller/certificates/{signer,authority,approver,cleaner}, pkg/apis/certificates/validation,
 * test/integration/certificates; cert-manager's conformance suite for CertificateSigningRequests.
 */
interface Row {
  readonly peer: 'k8s signer' | 'k8s authority' | 'k8s approver' | 'k8s cleaner' | 'cert-manager';
  readonly row: string;
  /** How ours differs from theirs; undefined: it does not. */
  readonly adapted?: string;
  readonly check: () => void;
}

interface LeftOut {
  readonly peer: string;
  readonly row: string;
  readonly why: string;
}

const minuteMs = 60_000;
const serving = ['digital signature', 'server auth'];
const both = ['digital signature', 'server auth', 'client auth'];

function ca(
  validity = { notBefore: atNoonPlus(-dayMs), notAfter: atNoonPlus(3650 * dayMs) },
): SigningCa {
  const made = newCa({ validity });
  return readSigningCa(
    { certificate: made.pem, key: privateKeyPem(made.keyPair), root: made.pem },
    noon,
  );
}

interface Asking {
  readonly names?: Partial<SubjectNames>;
  readonly commonName?: string;
  readonly usages?: readonly string[];
  readonly keyPair?: KeyPair;
  readonly expirationSeconds?: number;
  readonly conditions?: readonly string[];
  readonly hasCertificate?: boolean;
}

function request(asking: Asking = {}): ObservedRequest {
  const { usages = both, keyPair = newKey(), conditions = ['Approved'] } = asking;
  const names = { ...noNames, ...(asking.names ?? { dnsNames: ['web.shop.svc'] }) };
  const known = usages.filter((usage): usage is 'server auth' => usage.endsWith('auth'));
  const bytes = buildCertificationRequest(
    { names, commonName: asking.commonName, usages: known },
    keyPair,
  );
  return {
    name: 'podseal-peer',
    uid: 'uid-1',
    resourceVersion: '1',
    createdAt: noon,
    request: encodePem('CERTIFICATE REQUEST', bytes),
    signerName: 'podseal.dev/serving',
    usages,
    expirationSeconds: asking.expirationSeconds,
    requester: { username: 'system:serviceaccount:shop:web', extra: {} },
    conditions: conditions.map((type) => ({
      type,
      reason: 'x',
      message: '',
      updatedAt: noon,
      asRead: {},
    })),
    hasCertificate: asking.hasCertificate ?? false,
    isRenewal: false,
  };
}

const limits = {
  defaultLifetimeMs: hourMs,
  maximumLifetimeMs: hourMs,
  backDateMs: 5 * minuteMs,
};

function answer(asking: Asking, by = ca(), within = limits) {
  return answerTo(request(asking), by, within, { now: noon, serial: randomBytes(16) });
}

function leafFor(asking: Asking, by = ca(), within = limits) {
  const answered = answer(asking, by, within);
  if (answered.kind === 'fail')
    throw new Error(answered.violations.map(({ rule, why }) => `${rule}: ${why}`).join('; '));
  return certificateFromDer(answered.leaf);
}

const issued = (asking: Asking): void => ok(leafFor(asking));
const refusedBy = (asking: Asking, rule: string): void => {
  const answered = answer(asking);
  ok(answered.kind === 'fail' && answered.violations.some((each) => each.rule === rule));
};
const minutesLeft = (asking: Asking, by = ca(), within = limits): number =>
  (leafFor(asking, by, within).validity.notAfter.getTime() - noon.getTime()) / minuteMs;
const standing = (conditions: readonly string[], hasCertificate = false): string =>
  standingOf(request({ conditions, hasCertificate }));
const rsa = (bits: number): KeyPair =>
  keyPairOf(generateKeyPairSync('rsa', { modulusLength: bits }).privateKey);
const ed25519 = (): KeyPair => keyPairOf(generateKeyPairSync('ed25519').privateKey);

/** Whether the janitor takes it, after so many minutes in this standing. */
const removedAfter = (minutes: number, conditions: readonly string[], hasCertificate = false) => {
  const kept = keptRequest(request({ conditions, hasCertificate }), undefined, 0);
  return finishedReason(kept, minutes * minuteMs) !== undefined;
};

const days = { ...limits, defaultLifetimeMs: dayMs, maximumLifetimeMs: 90 * dayMs };
const twoDays = { ...limits, maximumLifetimeMs: 400 * dayMs };

const rows: readonly Row[] = [
  // k8s signer_test.go
  {
    peer: 'k8s signer',
    row: 'TestSigner: profile, usages, basicConstraints, back-date, SHA-256',
    adapted:
      'an ECDSA CA; more than the maximum lifetime is refused, not cut (the approver denies it)',
    check() {
      const leaf = leafFor({ expirationSeconds: 3600 });
      equal(leaf.validity.notBefore.getTime(), atNoonPlus(-5 * minuteMs).getTime());
      equal(leaf.validity.notAfter.getTime(), atNoonPlus(hourMs).getTime());
      equal(leaf.x509.ca, false);
      const oids = extensionsOf(leaf).map(({ oid }) => oid);
      for (const oid of [
        extensionOids.keyUsage,
        extensionOids.extendedKeyUsage,
        extensionOids.basicConstraints,
      ])
        ok(oids.includes(oid));
    },
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: the wanted usages, with and without key encipherment',
    adapted: 'key encipherment with RSA keys alone',
    check() {
      issued({ usages: both });
      issued({ usages: [...both, 'key encipherment'], keyPair: rsa(2048) });
      refusedBy({ usages: [...both, 'key encipherment'] }, 'usages');
    },
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: a usage that is not allowed -> Failed',
    check: () => refusedBy({ usages: [...both, 'code signing'] }, 'usages'),
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: kubelet-serving with a DNS name',
    check: () => issued({ usages: serving }),
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: already Failed -> nothing',
    check: () => equal(standing(['Approved', 'Failed']), 'failed'),
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: not approved -> nothing',
    check: () => equal(standing([]), 'pending'),
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: denied -> nothing',
    check: () => equal(standing(['Denied']), 'denied'),
  },
  {
    peer: 'k8s signer',
    row: 'TestHandle: already issued -> nothing',
    check: () => equal(standing(['Approved'], true), 'issued'),
  },
  {
    peer: 'k8s signer',
    row: 'duration: 30 min -> 30 min',
    check: () => equal(minutesLeft({ expirationSeconds: 1800 }), 30),
  },
  {
    peer: 'k8s signer',
    row: 'duration: 1 h -> 1 h',
    check: () => equal(minutesLeft({ expirationSeconds: 3600 }), 60),
  },
  {
    peer: 'k8s signer',
    row: 'duration: 10 min -> 10 min',
    check: () => equal(minutesLeft({ expirationSeconds: 600 }), 10),
  },
  {
    peer: 'k8s signer',
    row: 'duration: unset -> the default',
    check: () => equal(minutesLeft({}), 60),
  },
  {
    peer: 'k8s signer',
    row: 'duration: 3 h with a maximum of 1 h',
    adapted:
      'refused with the reason: whoever asks is told, instead of a certificate that ends early',
    check: () => refusedBy({ expirationSeconds: 3 * 3600 }, 'lifetime'),
  },
  // k8s authority_test.go
  {
    peer: 'k8s authority',
    row: 'issuer and authorityKeyId come from the CA',
    check() {
      const by = ca();
      const leaf = leafFor({}, by);
      equal(leaf.x509.checkIssued(by.authority.certificate.x509), true);
      equal(leaf.x509.verify(by.authority.certificate.x509.publicKey), true);
    },
  },
  {
    peer: 'k8s authority',
    row: 'URI names are kept',
    check: () =>
      equal(
        subjectNamesIn(
          leafFor({
            names: { dnsNames: ['web.shop.svc'], uris: ['spiffe://cluster.local/ns/shop/sa/web'] },
          }),
        ).uris[0],
        'spiffe://cluster.local/ns/shop/sa/web',
      ),
  },
  {
    peer: 'k8s authority',
    row: '48 h on a CA with 24 h left -> cut to the CA',
    check() {
      const short = ca({ notBefore: atNoonPlus(-dayMs), notAfter: atNoonPlus(dayMs) });
      equal(minutesLeft({ expirationSeconds: 172_800 }, short, twoDays), 24 * 60);
    },
  },
  {
    peer: 'k8s authority',
    row: 'an expired CA signs nothing',
    adapted: 'refused when the Secret is read, so that nothing is signed in vain',
    check() {
      let why = '';
      try {
        ca({ notBefore: atNoonPlus(-2 * dayMs), notAfter: atNoonPlus(-dayMs) });
      } catch (error) {
        why = error instanceof Error ? error.message : '';
      }
      match(why, /expired/);
    },
  },
  {
    peer: 'k8s authority',
    row: 'back-date, short and long lifetimes',
    adapted: 'notAfter is always now + lifetime; theirs shortens long ones by the back-date',
    check() {
      equal(minutesLeft({ expirationSeconds: 600 }), 10);
      equal(minutesLeft({ expirationSeconds: 86_400 }, ca(), days), 1440);
    },
  },
  {
    peer: 'k8s authority',
    row: 'duplicate usages collapse',
    adapted: 'the API server refuses them at create',
    check: () => issued({ usages: both }),
  },
  {
    peer: 'k8s authority',
    row: 'unknown usage -> error',
    check: () => refusedBy({ usages: ['server auth', 'no such usage'] }, 'usages'),
  },
  // k8s cleaner_test.go
  {
    peer: 'k8s cleaner',
    row: 'approved and issued, 50 min: kept',
    adapted: 'removed after 10 min: the agent reads its answer within seconds',
    check: () => equal(removedAfter(50, ['Approved'], true), true),
  },
  {
    peer: 'k8s cleaner',
    row: 'approved and issued, 2 h: removed',
    check: () => equal(removedAfter(120, ['Approved'], true), true),
  },
  {
    peer: 'k8s cleaner',
    row: 'issued a minute ago: kept',
    check: () => equal(removedAfter(1, ['Approved'], true), false),
  },
  {
    peer: 'k8s cleaner',
    row: 'approved and unissued, 50 min: kept',
    check: () => equal(removedAfter(50, ['Approved']), false),
  },
  {
    peer: 'k8s cleaner',
    row: 'approved and unissued, 5 h: kept',
    check: () => equal(removedAfter(300, ['Approved']), false),
  },
  {
    peer: 'k8s cleaner',
    row: 'denied, 50 min: kept',
    check: () => equal(removedAfter(50, ['Denied']), false),
  },
  {
    peer: 'k8s cleaner',
    row: 'denied, 2 h: removed',
    check: () => equal(removedAfter(120, ['Denied']), true),
  },
  {
    peer: 'k8s cleaner',
    row: 'failed, 50 min: kept',
    check: () => equal(removedAfter(50, ['Approved', 'Failed']), false),
  },
  {
    peer: 'k8s cleaner',
    row: 'failed, 2 h: removed',
    check: () => equal(removedAfter(120, ['Approved', 'Failed']), true),
  },
  {
    peer: 'k8s cleaner',
    row: 'pending, 5 h: kept',
    adapted: 'as long as its pod lives',
    check: () => equal(removedAfter(300, []), false),
  },
  {
    peer: 'k8s cleaner',
    row: 'a foreign condition alone: never finished',
    check: () => equal(removedAfter(300, ['Foreign']), false),
  },
  // cert-manager conformance
  {
    peer: 'cert-manager',
    row: 'RSA key, one DNS name',
    check: () => issued({ keyPair: rsa(2048) }),
  },
  { peer: 'cert-manager', row: 'ECDSA key, one DNS name', check: () => issued({}) },
  {
    peer: 'cert-manager',
    row: 'Ed25519 key, one DNS name',
    check: () => issued({ keyPair: ed25519() }),
  },
  {
    peer: 'cert-manager',
    row: 'an IP address alone',
    check: () => issued({ names: { ipAddresses: ['10.0.0.1'] } }),
  },
  {
    peer: 'cert-manager',
    row: 'DNS name and IP address',
    check: () => issued({ names: { dnsNames: ['web.shop.svc'], ipAddresses: ['10.0.0.1'] } }),
  },
  {
    peer: 'cert-manager',
    row: 'a URI alone',
    check: () => issued({ names: { uris: ['spiffe://cluster.local/ns/shop/sa/web'] } }),
  },
  {
    peer: 'cert-manager',
    row: 'two DNS names, one of them the common name',
    check: () =>
      issued({ commonName: 'web.shop.svc', names: { dnsNames: ['web.shop.svc', 'api.shop.svc'] } }),
  },
  {
    peer: 'cert-manager',
    row: 'distinct DNS names and common name',
    adapted: 'refused: a common name that is no DNS name would be a second identity',
    check: () =>
      refusedBy({ commonName: 'somebody', names: { dnsNames: ['web.shop.svc'] } }, 'subject'),
  },
  {
    peer: 'cert-manager',
    row: 'expirationSeconds 3333: the lifetime within 30 s of it',
    adapted: 'from now on; notBefore lies 5 min back, because clocks of nodes differ',
    check: () =>
      equal(
        leafFor({ expirationSeconds: 3333 }).validity.notAfter.getTime(),
        noon.getTime() + 3_333_000,
      ),
  },
  {
    peer: 'cert-manager',
    row: 'a wildcard, and a wildcard with its apex',
    adapted: 'well formed here; the approver asks policy',
    check: () => issued({ names: { dnsNames: ['*.shop.svc', 'shop.svc'] } }),
  },
  {
    peer: 'cert-manager',
    row: 'a label of 63 characters',
    check: () => issued({ names: { dnsNames: [`${'a'.repeat(63)}.shop.svc`] } }),
  },
  {
    peer: 'cert-manager',
    row: 'arbitrary usages (data encipherment)',
    adapted: 'refused: at most four usages',
    check: () => refusedBy({ usages: [...both, 'data encipherment'] }, 'usages'),
  },
  {
    peer: 'cert-manager',
    row: 'default checks: names equal, key equal, CA false, digital signature',
    check() {
      const keyPair = newKey();
      const leaf = leafFor({ keyPair });
      equal(subjectNamesIn(leaf).dnsNames.join(), 'web.shop.svc');
      ok(leaf.publicKeyDer.equals(keyPair.publicKeyDer));
      equal(leaf.x509.ca, false);
    },
  },
  {
    peer: 'cert-manager',
    row: 'sync: Failed, Denied, unapproved, already issued -> nothing',
    check: () =>
      equal(
        [['Failed'], ['Denied'], []].map((each) => standing(each)).join(),
        'failed,denied,pending',
      ),
  },
];

const leftOut: readonly LeftOut[] = [
  {
    peer: 'k8s signer',
    row: 'TestHandle: the built-in signer names and their subjects',
    why: 'we serve no kubernetes.io signer name; PODSEAL_SIGNER_NAMES refuses them',
  },
  {
    peer: 'k8s signer',
    row: 'duration: -1 min, 9m59s -> 10 min',
    why: 'the API server refuses less than 600 s at create (test/contract holds it)',
  },
  { peer: 'k8s signer', row: 'an ML-DSA CA', why: 'no such key in Kubernetes 1.37' },
  {
    peer: 'k8s authority',
    row: 'back-date longer than the lifetime',
    why: 'the lifetime counts from now, so nothing is born expired',
  },
  {
    peer: 'k8s approver',
    row: 'SubjectAccessReview rows',
    why: 'we do not ask who may be a node: rules prove pods, and each has its own attack in verdict.test.ts',
  },
  {
    peer: 'k8s approver',
    row: 'node recognisers (CN prefix, organisation)',
    why: 'a subject other than a common name is refused; no node gets a certificate from us',
  },
  {
    peer: 'k8s approver',
    row: 'already approved, denied or issued -> nothing',
    why: 'kept in verdict.test.ts, with the reasons to ignore',
  },
  {
    peer: 'k8s cleaner',
    row: 'pending, 25 h; approved and unissued, 25 h: removed',
    why: "left to Kubernetes' own cleaner; ours removes what has lost its pod (removals.test.ts)",
  },
  {
    peer: 'k8s cleaner',
    row: 'issued and expired, at 50 min; issued garbage at 2 h',
    why: 'issued requests go after 10 min whatever is in them',
  },
  {
    peer: 'k8s validation',
    row: 'create, update, status and approval tables',
    why: "the API server's own; test/contract holds them against the real one",
  },
  {
    peer: 'k8s integration',
    row: 'admission plugins for approve and sign',
    why: 'held in test/contract/access.ts; our RBAC in controller-rbac.test.ts',
  },
  {
    peer: 'k8s integration',
    row: 'PodCertificateRequest tables',
    why: 'a later step: the same policy will answer them',
  },
  {
    peer: 'cert-manager',
    row: 'a common name without any other name (RSA, ECDSA, Ed25519); with IP; with URI',
    why: 'clients do not look at common names; ours must be one of the DNS names, else Failed',
  },
  {
    peer: 'cert-manager',
    row: 'e-mail names',
    why: 'DNS, IP and URI only; others are refused by the parser',
  },
  { peer: 'cert-manager', row: 'CA certificates by annotation', why: 'no pod may be a CA' },
  { peer: 'cert-manager', row: 'duration by annotation', why: 'expirationSeconds is in the API' },
  {
    peer: 'cert-manager',
    row: 'issuer kinds, references, SubjectAccessReview on reference',
    why: 'there are no issuer objects',
  },
  {
    peer: 'cert-manager',
    row: 'missing or broken CA Secret: wait, not Failed',
    why: 'kept in ca-keeper.test.ts and signer.test.ts',
  },
];

describe("peers' tables", () => {
  for (const { peer, row, adapted, check } of rows)
    test(`${peer}: ${row}${adapted === undefined ? '' : ` (adapted: ${adapted})`}`, check);

  test('what is left out has a reason', (context) => {
    for (const { peer, row, why } of leftOut) {
      ok(why.length > 10);
      context.diagnostic(`left out: ${peer}: ${row}: ${why}`);
    }
  });
});
