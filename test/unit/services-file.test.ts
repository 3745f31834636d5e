import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type LiveService } from '../../src/identity/live-service.ts';
import { parseServiceLine, type Service } from '../../src/identity/service.ts';
import {
  maximumFileBytes,
  servicesFile,
  tooLargeMessage,
} from '../../src/injector/services-file.ts';
import { readServices } from '../../src/node/pod-files.ts';
import { service } from '../support/publishing-twins.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const value = fc.oneof(
  label,
  fc.constant(''),
  fc.stringMatching(/^[A-Z0-9][A-Za-z0-9_.-]{0,8}[a-z]$/),
);
const address = fc.oneof(fc.ipV4(), fc.constantFrom('fd00::1', '2001:db8::8:800:200c:417a'));
const services: fc.Arbitrary<readonly LiveService[]> = fc.uniqueArray(
  fc.record({
    namespace: fc.constant('shop'),
    name: label,
    selector: fc.dictionary(fc.oneof(label, fc.constant('app.kubernetes.io/name')), value, {
      noNullPrototype: true,
    }),
    clusterIPs: fc.array(address, { maxLength: 2 }),
    headless: fc.boolean(),
    isExternalName: fc.boolean(),
    isBeingDeleted: fc.boolean(),
  }),
  { selector: ({ name }) => name, maxLength: 8 },
);

const proving = ({ selector, isExternalName, isBeingDeleted }: LiveService): boolean =>
  Object.keys(selector).length > 0 && !isExternalName && !isBeingDeleted;
const plain = ({ name, selector, clusterIPs, headless }: Service): Service => ({
  name,
  selector,
  clusterIPs,
  headless,
});
const byName = (a: Service, b: Service): number => (a.name < b.name ? -1 : 1);
/** Another order of the same: of the Services, and of the keys of their selectors. */
const shuffled = (all: readonly LiveService[]): readonly LiveService[] =>
  all
    .map((each) => ({
      ...each,
      selector: Object.fromEntries(Object.entries(each.selector).reverse()),
    }))
    .reverse();

describe('servicesFile()', () => {
  test('is read line by line as what it was made of', () => {
    fc.assert(
      fc.property(services, (all) => {
        const read = servicesFile(all)
          .split('\n')
          .flatMap((line) => parseServiceLine(line) ?? []);
        assert.deepEqual(read, all.filter(proving).map(plain).sort(byName));
      }),
    );
  });

  test('is JSON, a Service a line, and the same bytes whatever the order was', () => {
    fc.assert(
      fc.property(services, (all) => {
        const text = servicesFile(all);
        const count = all.filter(proving).length;
        assert.equal((JSON.parse(text) as unknown[]).length, count);
        assert.equal(text.split('\n').length, count + 3);
        assert.match(text, /^\[\n([^]*\n)?\]\n$/);
        assert.equal(servicesFile(shuffled(all)), text);
      }),
    );
  });

  test('is found in by the agent, by the labels of its pod', (t) => {
    const path = join(temporaryDirectory(t), 'services.json');
    fc.assert(
      fc.property(services, fc.dictionary(label, value), (all, more) => {
        writeFileSync(path, servicesFile(all));
        const first = all.find(proving);
        const labels = new Map(Object.entries({ ...more, ...first?.selector }));
        const read = readServices(path, labels, []);
        const expected = all
          .filter(proving)
          .filter(({ selector }) =>
            Object.entries(selector).every(([key, each]) => labels.get(key) === each),
          );
        assert.deepEqual(read, { kind: 'read', services: expected.map(plain).sort(byName) });
      }),
      { numRuns: 50 },
    );
  });

  test('of no Services is an empty list', () => {
    assert.equal(servicesFile([]), '[\n]\n');
    assert.equal(servicesFile([service('shop', 'all', { selector: {} })]), '[\n]\n');
  });

  test('leaves out a name that nobody could read', () => {
    const all = [service('shop', 'web'), service('shop', 'no.label')];
    assert.equal((JSON.parse(servicesFile(all)) as unknown[]).length, 1);
  });

  test('is as the contract writes it', () => {
    assert.equal(
      servicesFile([
        service('shop', 'web', { selector: { tier: 'b', app: 'web' } }),
        service('shop', 'db', { clusterIPs: [], headless: true }),
      ]),
      '[\n{"name":"db","selector":{"app":"db"},"clusterIPs":[],"headless":true},\n' +
        '{"name":"web","selector":{"app":"web","tier":"b"},"clusterIPs":["10.96.0.5"],"headless":false}\n]\n',
    );
  });
});

test('tooLargeMessage() names namespace, size and limit', () => {
  assert.equal(tooLargeMessage('shop', maximumFileBytes), undefined);
  assert.match(
    tooLargeMessage('shop', maximumFileBytes + 1) ?? '',
    /shop make 1000001 bytes, more than 1000000/,
  );
});
