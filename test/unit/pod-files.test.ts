import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  clusterDomainOf,
  hostAndSubdomainOf,
  parseDownwardMap,
} from '../../src/identity/pod-files.ts';

describe('clusterDomainOf()', () => {
  for (const { when, text, expected } of [
    {
      when: 'the kubelet wrote it for ClusterFirst',
      text: 'search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n',
      expected: 'cluster.local',
    },
    {
      when: 'it has capitals and a final dot',
      text: 'search shop.svc.K8s.Example.com.\n',
      expected: 'k8s.example.com',
    },
    {
      when: 'the search list is separated by tabs and comes after the server',
      text: 'nameserver 10.96.0.10\nsearch\tlan\tshop.svc.corp\n',
      expected: 'corp',
    },
    {
      when: 'two search lines stand there, of which the last one counts',
      text: 'search shop.svc.old\nsearch shop.svc.new\n',
      expected: 'new',
    },
    { when: 'the pod uses the DNS of its node', text: 'search lan\n', expected: undefined },
    {
      when: 'the entry is of another namespace',
      text: 'search prod-shop.svc.cluster.local prod.svc.cluster.local\n',
      expected: undefined,
    },
    {
      when: 'the line is a comment',
      text: '# search shop.svc.cluster.local\n',
      expected: undefined,
    },
    { when: 'the file is empty', text: '', expected: undefined },
  ])
    test(`gives ${expected ?? 'nothing'} when ${when}`, () => {
      assert.equal(clusterDomainOf(text, 'shop'), expected);
    });
});

describe('hostAndSubdomainOf()', () => {
  const kubelet =
    '# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n';

  test('reads what the kubelet writes for a pod of a StatefulSet', () => {
    const text = `${kubelet}10.0.0.7\tweb-0.web.shop.svc.cluster.local\tweb-0\n`;
    assert.deepEqual(hostAndSubdomainOf(text, 'shop'), { hostname: 'web-0', subdomain: 'web' });
  });

  for (const { when, line } of [
    { when: 'the pod has no subdomain', line: '10.0.0.7\tweb-0' },
    {
      when: 'the line is of another namespace',
      line: '10.0.0.7 web-0.web.prod.svc.cluster.local web-0',
    },
    { when: 'the short name differs', line: '10.0.0.7 web-0.web.shop.svc.cluster.local web-1' },
    { when: 'the line is a comment', line: '# 10.0.0.7 web-0.web.shop.svc.cluster.local web-0' },
    { when: 'the name has no svc', line: '10.0.0.7 web-0.web.shop.example.com web-0' },
  ])
    test(`gives nothing when ${when}`, () => {
      assert.equal(hostAndSubdomainOf(`${kubelet}${line}\n`, 'shop'), undefined);
    });
});

describe('parseDownwardMap()', () => {
  test('reads one key="value" per line', () => {
    const text = 'app="web"\napp.kubernetes.io/name="shop"\nempty=""\n';
    assert.deepEqual(
      [...parseDownwardMap(text)],
      [
        ['app', 'web'],
        ['app.kubernetes.io/name', 'shop'],
        ['empty', ''],
      ],
    );
  });

  test("undoes the quoting of Go's strconv.Quote", () => {
    const text = String.raw`a="say \"hi\" \\ \n \t \r \a \b \f \v \x7f \u2028 \U000e0001 = é 世"`;
    const expected = 'say "hi" \\ \n \t \r \x07 \b \f \v \x7f \u2028 \u{e0001} = é 世';
    assert.equal(parseDownwardMap(text).get('a'), expected);
  });

  test('leaves an escaped backslash before a letter alone', () => {
    assert.equal(parseDownwardMap(String.raw`path="C:\\new\\x41"`).get('path'), 'C:\\new\\x41');
  });

  test('gives an empty map for an empty file', () => {
    assert.equal(parseDownwardMap('').size, 0);
  });

  for (const line of [
    'app',
    'app=web',
    'app="web',
    'app="web" ',
    '="web"',
    'app="we"b"',
    'app="\\"',
  ])
    test(`refuses ${line} and says which line it is`, () => {
      assert.throws(() => parseDownwardMap(`ok="yes"\n${line}\n`), /line 2 is not key="value"/);
    });
});
