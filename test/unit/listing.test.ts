import { deepEqual, equal, rejects } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Change } from '../../src/controller/list-watch.ts';
import { PodsealError } from '../../src/errors.ts';
import { type ApiCalls } from '../../src/kubernetes/api-calls.ts';
import { type Json, textOf } from '../../src/kubernetes/json.ts';
import { listingOf } from '../../src/kubernetes/listing.ts';

const stop = new AbortController().signal;

/** Things of interest have a colour. */
function listing(twin: Partial<ApiCalls>, fieldSelector?: string) {
  const unexpected = (): Promise<never> => Promise.reject(new Error('not called'));
  return listingOf<string>(
    { call: unexpected, watch: unexpected, ...twin },
    {
      what: 'things',
      resource: 'things',
      path: '/apis/example.com/v1/things',
      rbacFile: 'examples/rbac/approver.yaml',
      read: (object) => textOf(object['colour']),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    },
  );
}

/** The page sizes that are asked for, for so many pages; `answer` may refuse. */
async function sizes(pages: number, answer: (size: number) => void): Promise<number[]> {
  const asked: number[] = [];
  const things = listing({
    call({ path }) {
      const size = Number(new URL(path, 'https://api').searchParams.get('limit'));
      asked.push(size);
      answer(size);
      return Promise.resolve({ metadata: { resourceVersion: '7', continue: 'more' }, items: [] });
    },
  });
  for (let i = 0; i < pages; i++)
    await things.list(i === 0 ? undefined : 'more').catch((error: unknown) => {
      if (!(error instanceof PodsealError)) throw error;
    });
  return asked;
}

const change = (type: string, object: Json): Promise<Change<string>[]> => {
  const changes: Change<string>[] = [];
  const things = listing({
    watch(_, onLine) {
      onLine({ type, object });
      return Promise.resolve();
    },
  });
  return things.watch('1', (each) => changes.push(each), stop).then(() => changes);
};

describe('listingOf()', () => {
  test('lists page by page, and keeps what is of interest', async () => {
    const paths: string[] = [];
    const things = listing(
      {
        call({ method, path }) {
          paths.push(`${method} ${path}`);
          const metadata = path.includes('continue')
            ? { resourceVersion: '7' }
            : { resourceVersion: '7', continue: 'a/b=' };
          return Promise.resolve({ metadata, items: [{ colour: 'red' }, {}, 'nonsense'] });
        },
      },
      'spec.signerName=a.b/c',
    );
    deepEqual(await things.list(undefined), { items: ['red'], resourceVersion: '7', next: 'a/b=' });
    deepEqual(await things.list('a/b='), { items: ['red'], resourceVersion: '7', next: undefined });
    const all = 'GET /apis/example.com/v1/things?fieldSelector=spec.signerName%3Da.b%2Fc&limit=100';
    deepEqual(paths, [all, `${all}&continue=a%2Fb%3D`]);
  });

  test('a page that is too large is asked for smaller at once, then larger again', async () => {
    const refuse = (size: number): void => {
      if (size > 20) throw new PodsealError('API_TOO_LARGE', 'too large');
    };
    deepEqual(await sizes(5, refuse), [100, 25, 6, 12, 24, 6, 12, 24, 6]);
    const always = await sizes(1, () => refuse(100));
    deepEqual(always, [100, 25, 6, 1], 'not without end');
  });

  test('one that is too slow is asked for smaller the next time', async () => {
    const asked = await sizes(5, (size) => {
      if (size > 20) throw new PodsealError('API_UNREACHABLE', 'too slow');
    });
    deepEqual(asked, [100, 25, 6, 12, 24]);
    deepEqual(await sizes(3, () => undefined), [100, 100, 100]);
  });

  test('an answer that is no list', async () => {
    for (const answer of [undefined, 'text', [], {}, { metadata: {} }])
      await rejects(listing({ call: () => Promise.resolve(answer) }).list(undefined), {
        code: 'API_UNREACHABLE',
      });
  });

  test('asks for what a label selects, and for its metadata alone', async () => {
    const asked: string[] = [];
    const call: ApiCalls['call'] = ({ path, accept }) => {
      asked.push(path, accept ?? '');
      return Promise.resolve({ metadata: { resourceVersion: '7' }, items: [] });
    };
    const things = listingOf<never>(
      { call, watch: () => Promise.resolve() },
      {
        what: 'things',
        resource: 'things',
        path: '/things',
        rbacFile: '',
        labelSelector: 'colour!=red',
        metadataOnly: true,
        read: () => undefined,
      },
    );
    await things.list(undefined);
    deepEqual(asked, [
      '/things?labelSelector=colour%21%3Dred&limit=100',
      'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json',
    ]);
  });

  test('watches from where it is told, with bookmarks', async () => {
    let asked = '';
    const things = listing({
      watch({ method, path }) {
        asked = `${method} ${path}`;
        return Promise.resolve();
      },
    });
    await things.watch('7', () => undefined, stop);
    equal(
      asked,
      'GET /apis/example.com/v1/things?watch=true&allowWatchBookmarks=true&resourceVersion=7',
    );
  });

  test('every type of event', async () => {
    const object = { metadata: { resourceVersion: '8' }, colour: 'red' };
    const present = { kind: 'present', item: 'red', resourceVersion: '8' };
    const bookmark = { kind: 'bookmark', resourceVersion: '8' };
    deepEqual(await change('ADDED', object), [present]);
    deepEqual(await change('MODIFIED', object), [present]);
    deepEqual(await change('DELETED', object), [{ ...present, kind: 'gone' }]);
    deepEqual(await change('BOOKMARK', object), [bookmark]);
    const { metadata } = object;
    deepEqual(await change('ADDED', { metadata }), [bookmark], 'of no interest, yet seen');
  });

  test('an event of an error is the error', async () => {
    const status = { kind: 'Status', reason: 'Expired', message: 'too old', code: 410 };
    await rejects(change('ERROR', status), { code: 'API_EXPIRED' });
    const busy = { code: 429, details: { retryAfterSeconds: 7 } };
    await rejects(change('ERROR', busy), { code: 'API_UNREACHABLE', retryAfterMs: 7_000 });
    await rejects(change('ERROR', {}), { code: 'API_UNREACHABLE', retryAfterMs: undefined });
  });

  test('an event that says not where to resume, or is of an unknown type, is none of the API server', async () => {
    for (const type of ['ADDED', 'BOOKMARK', 'SOMETHING', ''])
      await rejects(change(type, { colour: 'red' }), { code: 'API_UNREACHABLE' });
  });
});
