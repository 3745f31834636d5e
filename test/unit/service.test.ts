import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseServiceLine } from '../../src/identity/service.ts';
import { readServices } from '../../src/node/pod-files.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

describe('parseServiceLine()', () => {
  test('reads a Service, with its comma and the brackets around the list', () => {
    const service = {
      name: 'web',
      selector: { app: 'web' },
      clusterIPs: ['10.96.0.5', 'fd00::5'],
      headless: false,
    };
    const text = JSON.stringify({ ...service, clusterIPs: ['10.96.0.5', 'FD00:0::5'] });
    for (const line of [text, `${text},`, `[${text},`, `${text}]`, `  ${text}  `])
      assert.deepEqual(parseServiceLine(line), service);
  });

  test('takes what is left out as nothing', () => {
    assert.deepEqual(parseServiceLine('{"name":"db","clusterIPs":["None"],"headless":true}'), {
      name: 'db',
      selector: {},
      clusterIPs: [],
      headless: true,
    });
  });

  for (const line of ['[', ']', '', '[]'])
    test(`finds no Service in ${JSON.stringify(line)}`, () => {
      assert.equal(parseServiceLine(line), undefined);
    });

  for (const [line, why] of [
    ['{"name":', /JSON/],
    ['null', /JSON object/],
    ['"web"', /JSON object/],
    ['{"name":"web.shop"}', /no name of a Service/],
    ['{"name":1}', /no name of a Service/],
    ['{"name":"web","selector":["app"]}', /selector is no map/],
    ['{"name":"web","selector":{"app":1}}', /a value that is no text/],
    ['{"name":"web","clusterIPs":"10.96.0.5"}', /clusterIPs is no list/],
    ['{"name":"web","clusterIPs":["web"]}', /cluster IP "web"/],
  ] as const)
    test(`refuses ${line}`, () => {
      assert.throws(() => parseServiceLine(line), why);
    });
});

describe('readServices()', () => {
  const labels = new Map([['app', 'web']]);
  const list = [
    '{"name":"web","selector":{"app":"web"},"clusterIPs":["10.96.0.5"],"headless":false}',
    '{"name":"db","selector":{"app":"db"},"clusterIPs":[],"headless":true}',
    '{"name":"web-all","selector":{},"clusterIPs":[],"headless":false}',
  ];
  const whole = `[\n${list.join(',\n')}\n]\n`;

  test('gives the Services that select the pod or are named', (t) => {
    const path = join(temporaryDirectory(t), 'services.json');
    writeFileSync(path, whole);
    const found = readServices(path, labels, ['web-all']);
    assert.ok(found.kind === 'read');
    assert.deepEqual(
      found.services.map((service) => service.name),
      ['web', 'web-all'],
    );
  });

  test('finds one Service among thousands, wherever it stands', (t) => {
    const path = join(temporaryDirectory(t), 'services.json');
    const others = Array.from(
      { length: 3000 },
      (_, index) =>
        `{"name":"s${index}","selector":{"app":"s${index}"},"clusterIPs":["10.97.0.1"]}`,
    );
    for (const at of [0, 1, 1499, 2999, 3000]) {
      writeFileSync(path, `[\n${others.toSpliced(at, 0, list[0] ?? '').join(',\n')}\n]`);
      const found = readServices(path, labels, []);
      assert.ok(found.kind === 'read');
      assert.deepEqual(
        found.services.map((service) => service.name),
        ['web'],
      );
    }
  });

  test('says that no file is given', () => {
    assert.deepEqual(readServices(undefined, labels, []), { kind: 'none' });
  });

  test('says that the file does not exist yet', (t) => {
    const found = readServices(join(temporaryDirectory(t), 'services.json'), labels, []);
    assert.ok(found.kind === 'unreadable');
    assert.match(found.why, /services\.json" cannot be used: it does not exist yet/);
  });

  for (const [what, text] of [
    ['empty', ''],
    ['cut off between two lines', whole.slice(0, whole.indexOf('{"name":"db"'))],
    ['cut off in a line', whole.slice(0, -30)],
    ['no list', 'web'],
  ] as const)
    test(`answers unreadable, not none, for a file that is ${what}`, (t) => {
      const path = join(temporaryDirectory(t), 'services.json');
      writeFileSync(path, text);
      assert.equal(readServices(path, labels, []).kind, 'unreadable');
    });

  test('answers unreadable for a line of ours that is broken', (t) => {
    const path = join(temporaryDirectory(t), 'services.json');
    writeFileSync(path, '[\n{"name":"web","selector":{"app":"web"},"clusterIPs":7}\n]\n');
    const found = readServices(path, labels, []);
    assert.ok(found.kind === 'unreadable');
    assert.match(found.why, /its clusterIPs is no list/);
  });

  test('answers unreadable for a directory in place of the file', (t) => {
    assert.equal(readServices(temporaryDirectory(t), labels, []).kind, 'unreadable');
  });
});
