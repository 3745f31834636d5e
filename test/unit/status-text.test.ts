import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { mendOf } from '../../src/status/mend.ts';
import { type PodStatus } from '../../src/status/pod-status.ts';
import { notesText, statusBlocks } from '../../src/status/status-blocks.ts';
import { statusJson } from '../../src/status/status-json.ts';
import { statusTable } from '../../src/status/status-table.ts';
import { whyOf } from '../../src/status/why.ts';
import {
  agent,
  bareReport,
  clues,
  ended,
  errorReported,
  event,
  initAgent,
  noon,
  pod,
  read,
  report,
  request,
  statusOf,
  unasked,
  unread,
} from '../support/status-builders.ts';

const plain = { withNamespace: false, isWide: false };
const denial =
  '- dns-names "www.example.com": no Service gives this name\nallowed dns-names: "web.shop.svc"';
const deniedRequest = request({
  standing: 'denied',
  reason: 'PodsealDenied',
  message: denial,
});
const deniedStatus = statusOf({
  reading: read(
    bareReport({
      lastError: errorReported(
        'SIGNING_REQUEST_DENIED',
        `Cannot get a certificate from signing request "x": it was denied (PodsealDenied): ${denial}`,
      ),
    }),
  ),
  clues: clues({ request: deniedRequest }),
});
const crashed = statusOf({
  pod: pod({
    name: 'job-x',
    uid: 'j',
    agents: [initAgent({ state: { kind: 'ended', ...ended(78, 'error: bad\nhint: mend') } })],
  }),
  reading: unasked,
});
const notInjected = (name: string, controller = pod().controller): PodStatus =>
  statusOf({
    pod: pod({ name, uid: name, agents: [], isMarked: false, controller }),
    reading: unasked,
  });

describe('statusTable()', () => {
  test('a row for each pod, and - for what is not known', () => {
    const statuses = [statusOf(), deniedStatus, crashed, notInjected('web-1')];
    equal(
      statusTable(statuses, plain, noon),
      `NAME    STATE          LEFT   NAMES             LAST ERROR
web-0   ready          23h    web.shop.svc +2   -
web-0   denied         -      -                 SIGNING_REQUEST_DENIED (5m ago)
job-x   crashed        -      -                 exit 78 (5m ago)
web-1   not injected   -      -                 -
`,
    );
  });

  test('with the namespace, and with what only some want to know', () => {
    equal(
      statusTable([statusOf()], { withNamespace: true, isWide: true }, noon),
      `NAMESPACE   NAME    STATE   LEFT   NAMES             LAST ERROR   ISSUER          SERIAL   RENEWAL   APPLICATION   VERSION
shop        web-0   ready   23h    web.shop.svc +2   -            CN=Podseal CA   0a       in 12h    unknown       0.1.0
`,
    );
  });

  test('an expired certificate has nothing left, one that is due says so', () => {
    const { certificate } = report();
    ok(certificate);
    const late = report({ certificate: { ...certificate, renewalAt: noon } });
    const later = new Date(certificate.notAfter.getTime() + 1);
    const wide = { ...plain, isWide: true };
    match(statusTable([statusOf({ reading: read(late) })], wide, later), / 0s .* due for 23h /);
  });

  test('the last error where the agent says nothing', () => {
    const last = (status: PodStatus): string =>
      statusTable([status], plain, noon).trimEnd().split(/ {3,}/).at(-1) ?? '';
    const waiting = (reason: string) =>
      pod({ agents: [agent({ isReady: false, state: { kind: 'waiting', reason, message: '' } })] });
    const of = (reason: string, found = {}): string =>
      last(statusOf({ pod: waiting(reason), reading: unasked, clues: clues(found) }));
    equal(of('ImagePullBackOff'), 'ImagePullBackOff');
    equal(of('PodInitializing'), '-');
    equal(of('ContainerCreating', { unmounted: event('FailedMount') }), 'FailedMount (5m ago)');
    const said = { said: event('CertificateFailed') };
    equal(of('PodInitializing', said), 'SIGNING_REQUEST_FAILED (5m ago)');
    equal(of('PodInitializing', { ...said, request: request() }), '-');
    equal(of('PodInitializing', { request: deniedRequest }), 'SIGNING_REQUEST_DENIED');
  });
});

describe('statusBlocks()', () => {
  test('nothing about pods that are fine', () => equal(statusBlocks([statusOf()], noon), ''));

  test('why, and what to do, with names that can be copied', () => {
    equal(
      statusBlocks([deniedStatus], noon),
      `
shop/web-0: denied
  it says: no usable certificate: there is none
  its hint: Do this.
  it is tried again in 1m
  request podseal-uid-of-web-0-1 was denied (PodsealDenied):
    - dns-names "www.example.com": no Service gives this name
    allowed dns-names: "web.shop.svc"
  mend: kubectl get csr podseal-uid-of-web-0-1 -o yaml > request.yaml; podseal approver --explain request.yaml   # docs/approval.md
`,
    );
    equal(
      statusBlocks([crashed], noon),
      `
shop/job-x: crashed
  container podseal-init ended with exit code 78 (Error) 5m ago:
    error: bad
    hint: mend
  mend: kubectl logs job-x -n shop -c podseal-init
`,
    );
  });

  test('pods with the same trouble share a block', () => {
    const many = Array.from({ length: 40 }, (_, i) => notInjected(`web-${i}`));
    equal(
      statusBlocks(many, noon),
      `
shop/web-0, shop/web-1, shop/web-2 and 37 more: not injected
  its namespace is labelled podseal.dev/inject: enabled, and it has no agent
  mend: kubectl rollout restart deployment/web -n shop   # the injector sees a pod only while it is created
`,
    );
  });

  test('twenty troubles at most, and how many pods are left', () => {
    const many = Array.from({ length: 33 }, (_, i) =>
      notInjected(`web-${i}`, { kind: 'StatefulSet', name: `set-${i}` }),
    );
    const text = statusBlocks(many, noon);
    equal(text.match(/not injected/g)?.length, 20);
    match(text, /\nand 13 more: -o json tells why\n$/);
  });

  test('a text of another pod is shown in part', () => {
    const reasons = Array.from({ length: 250 }, () => 'x'.repeat(500));
    const text = statusBlocks([statusOf({ reading: read(report({ reasons })) })], noon);
    match(text, /\n {2}and 210 more lines\n/);
    const message = `${'y'.repeat(8_000)}\nmore`;
    const failing = report({ lastError: errorReported('API_REFUSED', message) });
    const lines = statusBlocks([statusOf({ reading: read(failing) })], noon).split('\n');
    ok(lines.every((line) => line.length < 1_000));
  });
});

describe('whyOf()', () => {
  const why = (...args: Parameters<typeof statusOf>): string =>
    whyOf(statusOf(...args), noon).join('\n');

  test('a fine pod has no why', () => equal(why({ reading: unread }), ''));

  test('an agent that cannot be read, and what others say instead', () => {
    const notReady = pod({ agents: [agent({ isReady: false })] });
    const text = why({
      pod: notReady,
      reading: unread,
      clues: clues({
        said: event('CertificateWaiting'),
        request: request(),
        unmounted: event('FailedMount'),
      }),
    });
    equal(
      text,
      `its status cannot be read: connection refused
request podseal-uid-of-web-0-1 has not been approved, for 5m
Event CertificateWaiting, 5m ago:
  what CertificateWaiting says`,
    );
  });

  test('a volume that is not there, as long as the container does not run', () => {
    const creating = { kind: 'waiting', reason: 'ContainerCreating', message: '' } as const;
    const text = why({
      pod: pod({ agents: [agent({ state: creating })] }),
      reading: unasked,
      clues: clues({ unmounted: event('FailedMount') }),
    });
    equal(
      text,
      `container podseal waits: ContainerCreating
Event FailedMount, 5m ago:
  what FailedMount says`,
    );
  });

  test('what the scheduler says', () =>
    match(
      why({
        pod: pod({ agents: [agent({ state: { kind: 'unseen' } })], unscheduled: '0/3 nodes' }),
        reading: unasked,
      }),
      /^no node takes it: 0\/3 nodes$/,
    ));

  test('a denial is told once', () => {
    const told = whyOf(deniedStatus, noon).filter((line) => line.includes('www.example.com'));
    equal(told.length, 1);
    const withoutRequest = statusOf({ reading: deniedStatus.reading });
    match(whyOf(withoutRequest, noon).join('\n'), /it says: .*www\.example\.com/);
    const found = clues({ said: event('CertificateDenied'), request: deniedRequest });
    doesNotMatch(why({ reading: deniedStatus.reading, clues: found }), /Event/);
  });

  test('a request that was approved and not signed', () => {
    const approved = clues({ request: request({ standing: 'approved' }) });
    match(why({ reading: read(bareReport()), clues: approved }), /is approved and not signed/);
  });

  test('a request that only the agent knows of', () => {
    const pending = { request: 'podseal-9', since: noon };
    match(
      why({ reading: read(bareReport({ pending })) }),
      /it waits for request podseal-9 since 0s/,
    );
    doesNotMatch(
      why({ reading: read(bareReport({ pending })), clues: clues({ request: request() }) }),
      /podseal-9/,
    );
  });

  test('a label without a container', () =>
    match(why({ pod: pod({ agents: [] }), reading: unasked }), /labelled .* no container podseal/));
});

describe('mendOf()', () => {
  const bare = { agents: [], isMarked: false };
  const mend = (changes: Parameters<typeof pod>[0], isWanted = true): readonly string[] =>
    mendOf(statusOf({ pod: pod({ ...bare, ...changes }), reading: unasked, isWanted }));

  test('a pod is made anew by whoever makes it', () => {
    const of = (kind: string): string =>
      mend({ controller: { kind, name: 'x' } })[0]?.split('   #')[0] ?? '';
    equal(of('Deployment'), 'kubectl rollout restart deployment/x -n shop');
    equal(of('StatefulSet'), 'kubectl rollout restart statefulset/x -n shop');
    equal(of('DaemonSet'), 'kubectl rollout restart daemonset/x -n shop');
    equal(of('Job'), 'kubectl delete pod web-0 -n shop');
    match(
      mend({ controller: undefined })[0] ?? '',
      /^kubectl get pod web-0 -n shop -o yaml \| kubectl replace --force -f - /,
    );
  });

  test('a pod that nobody asked about is opted in first', () => {
    deepEqual(mend({}, false), [
      'kubectl label namespace shop podseal.dev/inject=enabled',
      'kubectl rollout restart deployment/web -n shop',
    ]);
    match(
      mend({ inject: 'false' }, false)[0] ?? '',
      /kubectl label pod web-0 -n shop podseal\.dev\/inject-/,
    );
  });

  test('no word of an agent is in a command', () => {
    const evil = '"; rm -rf ~; "';
    const told = bareReport({
      reasons: [evil],
      signerName: evil,
      application: 'other',
      pending: { request: evil, since: noon },
      lastError: errorReported(evil, evil),
    });
    for (const reading of [read(told), read({ ...told, certificate: report().certificate })])
      for (const standing of ['pending', 'approved', 'denied', 'failed'] as const) {
        const found = clues({ request: request({ standing, message: evil, reason: evil }) });
        const steps = mendOf(statusOf({ reading, clues: found }));
        ok(steps.length > 0);
        doesNotMatch(steps.join('\n'), /rm -rf/);
      }
  });

  test('a request that nobody approved can be approved, one that nobody signed leads to the signer', () => {
    const of = (standing: 'pending' | 'approved'): string =>
      mendOf(
        statusOf({ reading: read(bareReport()), clues: clues({ request: request({ standing }) }) }),
      ).join('\n');
    match(of('pending'), /kubectl certificate approve podseal-uid-of-web-0-1 /);
    match(of('approved'), /deployment\/podseal-signer .*podseal\.dev\/serving/);
  });

  test('a container that runs again has its last words in its previous log', () => {
    const waiting = { kind: 'waiting', reason: 'CrashLoopBackOff', message: '' } as const;
    const restarted = statusOf({
      pod: pod({ agents: [agent({ state: waiting, lastEnd: ended(78) })] }),
      reading: unasked,
    });
    match(mendOf(restarted)[0] ?? '', / -c podseal --previous$/);
  });
});

describe('statusJson()', () => {
  test('an object for each pod, with the denial taken apart', () => {
    const [record] = JSON.parse(statusJson([deniedStatus], noon)) as [Record<string, unknown>];
    const { why, mend, agent: told, ...rest } = record;
    deepEqual(rest, {
      namespace: 'shop',
      name: 'web-0',
      uid: 'uid-of-web-0',
      state: 'denied',
      fine: false,
      secondsLeft: null,
      lastError: 'SIGNING_REQUEST_DENIED',
      request: {
        name: 'podseal-uid-of-web-0-1',
        standing: 'denied',
        denial: {
          reasons: [
            { rule: 'dns-names', value: 'www.example.com', why: 'no Service gives this name' },
          ],
          allowed: { 'dns-names': ['web.shop.svc'] },
          more: 0,
        },
      },
      unread: null,
    });
    ok(Array.isArray(why) && Array.isArray(mend));
    deepEqual((told as Record<string, unknown>)['certificate'], null);
  });

  test('what is known of a pod that is fine', () => {
    const [record] = JSON.parse(statusJson([statusOf()], noon)) as [Record<string, unknown>];
    equal(record['secondsLeft'], 23 * 3600);
    deepEqual([record['why'], record['mend'], record['request']], [[], [], null]);
  });
});

test('whatever others say, only printable ASCII is printed', () => {
  const text = fc.string({ unit: 'binary', maxLength: 60 });
  fc.assert(
    fc.property(text, text, text, (a, b, c) => {
      const told = bareReport({
        reasons: [a],
        version: b,
        application: c,
        lastError: errorReported(a, `${b}\n${c}`),
        hooks: [{ hook: a, outcome: 'failed', why: b }],
      });
      const certified = { ...told, certificate: report().certificate };
      const found = clues({
        request: request({ standing: 'denied', reason: a, message: b }),
        said: event('CertificateWaiting', { message: c }),
      });
      const statuses = [read(told), read(certified), { kind: 'unread', why: c } as const].map(
        (reading) =>
          statusOf({ reading, clues: found, pod: pod({ agents: [agent({ isReady: false })] }) }),
      );
      const printed =
        statusTable(statuses, { withNamespace: true, isWide: true }, noon) +
        statusBlocks(statuses, noon) +
        statusJson(statuses, noon) +
        notesText([a, b, c]);
      match(printed, /^[ -~\n]*$/);
      // No line of theirs begins where lines of ours begin.
      for (const line of printed.split('\n'))
        match(
          line,
          /^(shop|NAMESPACE|note: | {4}|$|[[\]]| {2}(mend:|[{}]|it|its|the|renewal|request|Event) ?)/,
        );
    }),
  );
});
