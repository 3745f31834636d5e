import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Service } from '../../src/identity/service.ts';
import { ownServices, type ServiceSources } from '../../src/identity/service-source.ts';

const web: Service = {
  name: 'web',
  selector: { app: 'web' },
  clusterIPs: ['10.96.0.5'],
  headless: false,
};
const db: Service = { name: 'db', selector: { app: 'db' }, clusterIPs: [], headless: true };
const everything: Service = { name: 'everything', selector: {}, clusterIPs: [], headless: false };

const nothingGiven: ServiceSources = {
  setting: undefined,
  annotation: undefined,
  labels: new Map([
    ['app', 'web'],
    ['tier', 'front'],
  ]),
  file: { kind: 'none' },
};

const file = (...services: readonly Service[]) => ({ kind: 'read', services }) as const;
const unreadable = { kind: 'unreadable', why: 'line 3 is broken' } as const;

const namesIn = (sources: Partial<ServiceSources>) => {
  const own = ownServices({ ...nothingGiven, ...sources });
  assert.equal(own.kind, 'known');
  return { source: own.source, names: own.services.map((service) => service.name) };
};

const unknownIn = (sources: Partial<ServiceSources>) => {
  const own = ownServices({ ...nothingGiven, ...sources });
  assert.equal(own.kind, 'unknown');
  return { why: own.why, unconfigured: own.unconfigured };
};

describe('ownServices()', () => {
  test('takes the setting first, whatever the other sources say', () => {
    assert.deepEqual(namesIn({ setting: ['db'], annotation: ['api'], file: file(web) }), {
      source: 'PODSEAL_SERVICES',
      names: ['db'],
    });
  });

  test('takes an empty setting as the answer "none"', () => {
    const own = namesIn({ setting: [], annotation: ['web'], file: file(web) });
    assert.deepEqual(own, { source: 'PODSEAL_SERVICES', names: [] });
  });

  test('takes the setting even while the file is broken', () => {
    assert.deepEqual(namesIn({ setting: ['web'], file: unreadable }).names, ['web']);
  });

  test('adds to a Service of the setting what the file knows of it', () => {
    const own = ownServices({ ...nothingGiven, setting: ['web', 'other'], file: file(web) });
    assert.ok(own.kind === 'known');
    assert.deepEqual(own.services, [web, { name: 'other', clusterIPs: [], headless: undefined }]);
  });

  test('takes the annotation before the selectors', () => {
    const own = namesIn({
      annotation: ['web'],
      file: file(web, { ...db, selector: { app: 'web' } }),
    });
    assert.deepEqual(own, { source: 'annotation podseal.dev/services', names: ['web'] });
  });

  test('takes the annotation at its word when there is no file to prove it', () => {
    assert.deepEqual(namesIn({ annotation: ['web'] }).names, ['web']);
  });

  test('waits for a Service that the annotation promises and nobody made yet', () => {
    const { why, unconfigured } = unknownIn({ annotation: ['web', 'api'], file: file(web) });
    assert.match(why, /promises "api", and no Service of that name selects the pod yet/);
    assert.equal(unconfigured, false);
  });

  test('waits for a promised Service that does not select the pod', () => {
    assert.match(unknownIn({ annotation: ['db'], file: file(db) }).why, /promises "db"/);
  });

  test('selects by labels, all of which must fit', () => {
    const both: Service = { ...db, name: 'both', selector: { app: 'web', tier: 'front' } };
    const half: Service = { ...db, name: 'half', selector: { app: 'web', tier: 'back' } };
    assert.deepEqual(namesIn({ file: file(web, db, both, half) }), {
      source: 'selectors in services.json',
      names: ['web', 'both'],
    });
  });

  test('lets an empty selector select nothing', () => {
    assert.deepEqual(namesIn({ file: file(everything) }).names, []);
    assert.match(unknownIn({ annotation: ['everything'], file: file(everything) }).why, /promises/);
  });

  for (const [what, sources, why, unconfigured] of [
    ['no source at all', {}, /no source of Service names is configured/, true],
    ['a broken file', { file: unreadable }, /line 3 is broken/, false],
    [
      'a broken file beside an annotation',
      { annotation: ['web'], file: unreadable },
      /line 3/,
      false,
    ],
    [
      'a broken file beside an empty annotation',
      { annotation: [], file: unreadable },
      /line 3/,
      false,
    ],
    ['labels that are not there yet', { labels: undefined, file: file(web) }, /labels/, false],
    [
      'labels that are not there yet beside an annotation',
      { annotation: ['web'], labels: undefined, file: file(web) },
      /labels/,
      false,
    ],
  ] as const)
    test(`answers unknown, not none, for ${what}`, () => {
      const own = unknownIn(sources);
      assert.match(own.why, why);
      assert.equal(own.unconfigured, unconfigured);
    });
});
