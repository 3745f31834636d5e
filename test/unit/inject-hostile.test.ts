import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inject, type Injection, type InjectionSettings } from '../../src/injector/inject.ts';
import { type PodObject } from '../../src/injector/pod-object.ts';
import { answerReview, readReview } from '../../src/injector/review.ts';
import { injected, injectionSettings, podWith } from '../support/injection-builders.ts';

/** Far above what a slow machine needs, far below the five seconds that the API server waits. */
const quicklyMs = 500;

/** While one pod is judged no other is, so no pod may take long. */
function quickly(pod: PodObject, settings: Partial<InjectionSettings> = {}): Injection {
  const startedMs = performance.now();
  const injection = inject(pod, { ...injectionSettings, ...settings });
  const tookMs = performance.now() - startedMs;
  ok(tookMs < quicklyMs, `took ${tookMs} ms`);
  return injection;
}

function problemsOf(injection: Injection): readonly string[] {
  return injection.kind === 'refused' ? injection.problems : [];
}

const namesOf = (count: number, prefix: string): readonly string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const containersOf = (count: number): readonly { readonly name: string }[] =>
  namesOf(count, 'c').map((name) => ({ name }));

describe('a pod that is made to keep the injector busy', { timeout: 60_000 }, () => {
  const slashes = `${'/'.repeat(50_000)}x`;

  test('an endless path in a mount', () => {
    const volumeMounts = [{ name: 'data', mountPath: slashes }];
    equal(quickly(podWith({ containers: [{ name: 'web', volumeMounts }] })).kind, 'injected');
  });

  test('an endless path in an annotation', () => {
    const [problem = ''] = problemsOf(quickly(podWith({}, { directory: slashes })));
    match(problem, /^podseal\.dev\/directory is longer than 16384 characters/);
    ok(problem.length < 200);
  });

  test('a value as long as it may be', () => {
    for (const name of ['directory', 'dns-names', 'ip-addresses', 'name-forms', 'formats'])
      for (const piece of ['/', 'a,', '.', ' ', '9', '-', 'a-'])
        quickly(podWith({}, { [name]: `${piece.repeat(16_000 / piece.length)}x` }));
  });

  test('tens of thousands of containers', () => {
    equal(quickly(podWith({ containers: containersOf(100_000) })).kind, 'injected');
  });

  test('thousands of containers that there are not, asked of thousands that there are', () => {
    const containers = namesOf(2_500, 'x').join();
    const problems = problemsOf(
      quickly(podWith({ containers: containersOf(5_000) }, { containers })),
    );
    equal(problems.length, 1);
    match(
      problems[0] ?? '',
      /no container "x0", "x1", .* and 2490 more; it has "c0", .* and 4990 more$/,
    );
  });

  test('tens of thousands of annotations that there are not', () => {
    const annotations = Object.fromEntries(namesOf(30_000, 'lifetime-').map((name) => [name, '']));
    const problems = problemsOf(quickly(podWith({}, annotations)));
    equal(problems.length, 11);
    match(problems[10] ?? '', /^29990 more annotations .* none of Podseal/);
  });

  test('an annotation with an endless name', () => {
    const [problem = ''] = problemsOf(quickly(podWith({}, { ['x'.repeat(1_000_000)]: '' })));
    ok(problem.length < 300, `${problem.length} characters`);
  });
});

describe('words that mean something elsewhere', () => {
  test('labels, annotations and fields called like the members of every object', () => {
    const words = '{"__proto__":"a","constructor":"b","hasOwnProperty":"c","a/b~1c":"d"}';
    const metadata = `{"labels":${words},"annotations":${words}}`;
    const spec = `{"__proto__":{"hostNetwork":true},"containers":[{"name":"__proto__"}]}`;
    const pod = JSON.parse(`{"metadata":${metadata},"spec":${spec}}`) as PodObject;
    const { pod: after } = injected(pod);
    const { 'podseal.dev/agent': added, ...kept } = after.metadata.labels ?? {};
    equal(added, 'injected');
    equal(JSON.stringify(kept), words);
    equal(JSON.stringify(after.metadata.annotations), words);
    equal(
      JSON.stringify(Object.getOwnPropertyDescriptor(after.spec, '__proto__')?.value),
      '{"hostNetwork":true}',
    );
  });

  test('the kubelet hands on what was checked, and expands nothing in it', () => {
    const url = 'http://127.0.0.1:80/$(POD_UID)/$$';
    const { pod } = injected(podWith({}, { 'hook-http': `GET ${url}` }));
    const [agent] = pod.spec.initContainers ?? [];
    const { env } = agent as unknown as { env: { name: string; value?: string }[] };
    // $$ is how the kubelet is told one $ (third_party/forked/golang/expansion).
    equal(
      env.find(({ name }) => name === 'PODSEAL_HOOK_HTTP')?.value,
      'GET http://127.0.0.1:80/$$(POD_UID)/$$$$',
    );
  });
});

describe('a review that the API server would not send', () => {
  const review = (changes: object, spec: object = {}): string =>
    JSON.stringify({
      apiVersion: 'admission.k8s.io/v1',
      request: {
        uid: 'u',
        namespace: 'shop',
        operation: 'CREATE',
        kind: { group: '', version: 'v1', kind: 'Pod' },
        object: { metadata: {}, spec: { containers: [], ...spec } },
        ...changes,
      },
    });

  test('names a namespace or service account that there cannot be', () => {
    for (const serviceAccountName of ['a.b', '7', '1.2.3.4', 'x'.repeat(253)])
      equal(readReview(review({}, { serviceAccountName })).namespace, 'shop');
    equal(readReview(review({})).namespace, 'shop');
    for (const namespace of ['', 'a/b', '..', 'x'.repeat(64), 'Shop', 7])
      throws(() => readReview(review({ namespace })), /request\.namespace/);
    for (const serviceAccountName of ['a:b', 'x'.repeat(254), '__proto__', {}])
      throws(() => readReview(review({}, { serviceAccountName })), /serviceAccountName/);
  });
});

/** The annotations that the pod is created with; undefined: as it came. */
async function annotationsAfter(
  pod: PodObject,
  warnings: readonly string[],
): Promise<Readonly<Record<string, string>> | undefined> {
  const request = { uid: 'u', namespace: 'shop', isDryRun: false, pod };
  const { body } = await answerReview(request, {
    settings: { ...injectionSettings, wrongAnnotations: 'warn' },
    prepare: () => Promise.resolve(warnings),
    askingWarnings: () => Promise.resolve([]),
  });
  const { response } = body as { response: { patch: string } };
  const patch = JSON.parse(Buffer.from(response.patch, 'base64').toString()) as {
    path: string;
    value: Record<string, string>;
  }[];
  return patch.find(({ path }) => path === '/metadata/annotations')?.value;
}

test('thousands of problems make no answer of megabytes', async () => {
  const request = {
    ...{ uid: 'u', namespace: 'shop', isDryRun: false },
    pod: podWith({}, { 'dns-names': '_,'.repeat(8_000) }),
  };
  for (const wrongAnnotations of ['refuse', 'warn'] as const) {
    const { body } = await answerReview(request, {
      settings: { ...injectionSettings, wrongAnnotations },
      prepare: () => Promise.resolve([]),
      askingWarnings: () => Promise.resolve([]),
    });
    const text = JSON.stringify(body);
    match(text, /8000 problems: |ignored: /);
    ok(text.length < 50_000, `${text.length} characters`);
  }
});

describe('the annotation with the warnings', () => {
  test('never makes a pod larger than the API takes', async () => {
    const annotations = { 'dns-names': '_,'.repeat(8_000), directory: `${'/a'.repeat(8_000)}:` };
    const warnings = namesOf(10_000, 'the pod waits for Service ');
    const after = await annotationsAfter(podWith({}, annotations), warnings);
    const told = after?.['podseal.dev/warnings'] ?? '';
    ok(told.length > 1000 && told.length <= 4096, `${told.length} characters`);
    equal(Object.keys(after ?? {}).length, 3);
  });

  test('is taken away where it was copied from another pod', async () => {
    const annotations = { lifetime: '12h', warnings: 'of another' };
    deepEqual(await annotationsAfter(podWith({}, annotations), []), {
      'podseal.dev/lifetime': '12h',
    });
    equal(await annotationsAfter(podWith({}, { lifetime: '12h' }), []), undefined);
  });
});
