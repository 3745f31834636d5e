import { X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { faultOfCertificationRequest } from './certification-request.ts';
import { findPemBlocks } from './pem.ts';
import {
  type Condition,
  type Metadata,
  type SigningRequestObject,
  type Spec,
} from './signing-request-object.ts';
import { cause, type Cause } from './status.ts';

export type Subresource = '' | 'approval' | 'status';

const knownUsages: ReadonlySet<string> = new Set([
  'any',
  'cert sign',
  'client auth',
  'code signing',
  'content commitment',
  'crl sign',
  'data encipherment',
  'decipher only',
  'digital signature',
  'email protection',
  'encipher only',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'key agreement',
  'key encipherment',
  'microsoft sgc',
  'netscape sgc',
  'ocsp signing',
  's/mime',
  'server auth',
  'signing',
  'timestamping',
]);

const finalTypes = ['Approved', 'Denied', 'Failed'];
const conditionsField = 'status.conditions';

/** The rules of a new object (Kubernetes `pkg/apis/certificates/validation`), in their order. */
export function faultsOfNew({ metadata, spec, status }: SigningRequestObject): readonly Cause[] {
  return [
    ...faultsOfMetadata(metadata),
    ...faultsOfSpec(spec),
    ...faultsOfConditions(status.conditions),
    ...faultsOfCertificate(status.certificate),
  ];
}

/** The rules of a changed object: those of a new one, and what may change where. */
export function faultsOfUpdate(
  changed: SigningRequestObject,
  stored: SigningRequestObject,
  subresource: Subresource,
): readonly Cause[] {
  const before = (type: string): readonly Condition[] => ofType(stored.status.conditions, type);
  const after = (type: string): readonly Condition[] => ofType(changed.status.conditions, type);
  const removed = finalTypes
    .filter((type) => after(type).length < before(type).length)
    .map((type) =>
      cause.forbidden(conditionsField, `updates may not remove a condition of type "${type}"`),
    );
  const meddled = (subresource === 'approval' ? [] : ['Approved', 'Denied'])
    .filter((type) => after(type).length >= before(type).length)
    .filter((type) => !isDeepStrictEqual(after(type), before(type)))
    .map((type) => {
      const verb = after(type).length > before(type).length ? 'add' : 'modify';
      return cause.forbidden(
        conditionsField,
        `updates may not ${verb} a condition of type "${type}"`,
      );
    });
  return [
    ...faultsOfNew(changed),
    ...removed,
    ...meddled,
    ...faultsOfNewCertificate(changed, stored),
  ];
}

function faultsOfNewCertificate(
  changed: SigningRequestObject,
  stored: SigningRequestObject,
): readonly Cause[] {
  const isSetAlready = stored.status.certificate !== '';
  if (!isSetAlready || changed.status.certificate === stored.status.certificate) return [];
  return [
    cause.forbidden('status.certificate', 'updates may not modify existing certificate content'),
  ];
}

/** A name becomes a part of a path; labels and annotations have a syntax of their own. */
function faultsOfMetadata(metadata: Metadata): readonly Cause[] {
  const { name, generateName, labels, annotations } = metadata;
  const isSegment = (text: string): boolean => text !== '.' && text !== '..' && !/[/%]/.test(text);
  const wrong = (field: string, value: string): Cause =>
    cause.invalid(`metadata.${field}`, value, 'has a character that may not be there');
  const isValue = (value: string): boolean => value === '' || labelName.test(value);
  return [
    ...(isSegment(generateName) ? [] : [wrong('generateName', generateName)]),
    ...(name === '' ? [cause.required('metadata.name', 'name or generateName is required')] : []),
    ...(isSegment(name) ? [] : [wrong('name', name)]),
    ...Object.entries(labels).flatMap(([key, value]) => [
      ...(isQualified(key) ? [] : [wrong('labels', key)]),
      ...(isValue(value) ? [] : [wrong('labels', value)]),
    ]),
    ...Object.keys(annotations).flatMap((key) =>
      isQualified(key.toLowerCase()) ? [] : [wrong('annotations', key)],
    ),
  ];
}

const labelName = /^[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/;

/** A name, or a DNS name, a slash and a name. */
function isQualified(key: string): boolean {
  const [name = '', prefix, ...more] = key.split('/').reverse();
  const isPrefix = (text: string): boolean =>
    text.length <= 253 && text.split('.').every((each) => label.test(each));
  return labelName.test(name) && more.length === 0 && (prefix === undefined || isPrefix(prefix));
}

function faultsOfSpec(spec: Spec): readonly Cause[] {
  const fault = faultOfCertificationRequest(Buffer.from(spec.request, 'base64'));
  const { usages, expirationSeconds } = spec;
  const field = (index: number): string => `spec.usages[${index}]`;
  return [
    ...(fault === undefined ? [] : [cause.invalid('spec.request', spec.request, fault)]),
    ...(usages.length === 0 ? [cause.required('spec.usages')] : []),
    ...usages.flatMap((usage, index) =>
      knownUsages.has(usage) ? [] : [cause.notSupported(field(index), usage, knownUsages)],
    ),
    ...usages.flatMap((usage, index) =>
      usages.indexOf(usage) === index ? [] : [cause.duplicate(field(index), usage)],
    ),
    ...faultsOfSignerName(spec.signerName),
    ...(expirationSeconds === undefined || expirationSeconds >= 600
      ? []
      : [
          cause.invalid(
            'spec.expirationSeconds',
            expirationSeconds,
            'may not specify a duration less than 600 seconds (10 minutes)',
          ),
        ]),
  ];
}

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** One slash, before it a domain of two labels at least, behind it names joined by dots. */
function faultsOfSignerName(signerName: string): readonly Cause[] {
  const at = 'spec.signerName';
  if (signerName === '') return [cause.required(at)];
  if (signerName === 'kubernetes.io/legacy-unknown')
    return [
      cause.invalid(at, signerName, 'the legacy signerName is not allowed via this API version'),
    ];
  const [domain = '', path = '', ...more] = signerName.split('/');
  if (!signerName.includes('/') || more.length > 0) {
    const form = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    return [cause.invalid(at, signerName, form)];
  }
  const labels = domain.split('.');
  const isLabel = (each: string): boolean => each.length <= 63 && label.test(each);
  const isSubdomain = (each: string): boolean => each.length <= 253 && label.test(each);
  return [
    ...(domain.length > 253 ? [cause.tooLong(at, 253)] : []),
    ...(labels.every(isLabel) ? [] : [cause.invalid(at, domain, 'validating label')]),
    ...(labels.length < 2
      ? [
          cause.invalid(
            at,
            domain,
            'should be a domain with at least two segments separated by dots',
          ),
        ]
      : []),
    ...(path.split('.').every(isSubdomain) ? [] : [cause.invalid(at, path, 'validating label')]),
    ...(signerName.length > 571 ? [cause.tooLong(at, 571)] : []),
  ];
}

function faultsOfConditions(conditions: readonly Condition[]): readonly Cause[] {
  return conditions.flatMap((condition, index) => {
    const at = `${conditionsField}[${index}]`;
    const earlier = conditions.slice(0, index).map((each) => each.type);
    const rival = { Approved: 'Denied', Denied: 'Approved' }[condition.type];
    return [
      ...(condition.type === '' ? [cause.required(`${at}.type`)] : []),
      ...faultsOfConditionStatus(condition, `${at}.status`),
      ...(rival !== undefined && earlier.includes(rival)
        ? [
            cause.invalid(
              conditionsField,
              condition.type,
              'Approved and Denied conditions are mutually exclusive',
            ),
          ]
        : []),
      ...(earlier.includes(condition.type) ? [cause.duplicate(`${at}.type`, condition.type)] : []),
    ];
  });
}

function faultsOfConditionStatus({ type, status }: Condition, at: string): readonly Cause[] {
  const allowed = finalTypes.includes(type) ? ['True'] : ['False', 'True', 'Unknown'];
  if (status === '') return [cause.required(at)];
  return allowed.includes(status) ? [] : [cause.notSupported(at, status, allowed)];
}

/** Every block a certificate without headers, at least one; text between them is fine. */
function faultsOfCertificate(certificate: string): readonly Cause[] {
  if (certificate === '') return [];
  const fault = faultOfChain(Buffer.from(certificate, 'base64'));
  return fault === undefined
    ? []
    : [cause.invalid('status.certificate', '<certificate data>', fault)];
}

function faultOfChain(pem: Buffer): string | undefined {
  const blocks = findPemBlocks(pem);
  if (blocks.length === 0) return 'must contain at least one CERTIFICATE PEM block';
  for (const block of blocks) {
    if (block.label !== 'CERTIFICATE')
      return `only CERTIFICATE PEM blocks are allowed, found "${block.label}"`;
    if (block.hasHeaders) return 'no PEM block headers are permitted';
    try {
      new X509Certificate(block.der);
    } catch {
      return 'x509: malformed certificate';
    }
  }
  return undefined;
}

function ofType(conditions: readonly Condition[], type: string): readonly Condition[] {
  return conditions.filter((condition) => condition.type === type);
}
