import { type Change, type Listing, type Page } from '../controller/list-watch.ts';
import { PodsealError } from '../errors.ts';
import { type ApiCalls } from './api-calls.ts';
import { type Refusal, refusalError } from './api-error.ts';
import { type Json, listOf, needed, objectOf, textOf } from './json.ts';
import { listShape, type Shape } from './protobuf.ts';

export interface ListingOptions<T> {
  /** For people, plural: `Services`. */
  readonly what: string;
  /** As RBAC writes it. */
  readonly resource: string;
  /** Without a query. */
  readonly path: string;
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
  /** The metadata of each object is all that is asked for; of lists, not of watches. */
  readonly metadataOnly?: true;
  /** File of examples/rbac that grants it. */
  readonly rbacFile: string;
  /** For a kind that comes in bursts: how its objects are read from protobuf, which costs the API server less. */
  readonly shape?: Shape;
  /** Keeps what is needed of each object; undefined: of no interest. */
  readonly read: (object: Json) => T | undefined;
}

/** Objects a page: a list must not stand in memory whole, nor in etcd's answer. */
const usualPageSize = 100;

const metadataForm =
  'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/** A kind of object as list and watch calls; only what `read` keeps of each object stays in memory. */
export function listingOf<T>(calls: ApiCalls, options: ListingOptions<T>): Listing<T> {
  const { what, resource, path, fieldSelector, labelSelector, read, shape } = options;
  const selector: Readonly<Record<string, string>> = {
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
    ...(labelSelector === undefined ? {} : { labelSelector }),
  };
  const form = options.metadataOnly ? { accept: metadataForm } : {};
  const attempted = (verb: string) => ({
    verb,
    resource,
    what,
    rbac: `apply ${options.rbacFile}.`,
  });
  const query = (parameters: Readonly<Record<string, string>>): string =>
    `${path}?${new URLSearchParams({ ...selector, ...parameters }).toString()}`;
  const ofList = shape ? { shape: listShape(shape) } : {};
  let pageSize = usualPageSize;
  /** A page that is too large is asked for again, smaller; one that is too slow, at the next list. */
  const askForPage = async (page: string | undefined): Promise<Json> => {
    const size = pageSize;
    const parameters = { limit: String(size), ...(page === undefined ? {} : { continue: page }) };
    pageSize = Math.max(1, Math.floor(size / 4));
    try {
      const call = { path: query(parameters), attempted: attempted('list'), ...form };
      const answer = objectOf(await calls.call({ method: 'GET', ...call, ...ofList }));
      pageSize = Math.min(usualPageSize, size * 2);
      return answer;
    } catch (error) {
      const isTooLarge = error instanceof PodsealError && error.code === 'API_TOO_LARGE';
      if (!isTooLarge || size === 1) throw error;
      return askForPage(page);
    }
  };
  return {
    what,
    async list(page): Promise<Page<T>> {
      const answer = await askForPage(page);
      const metadata = objectOf(answer['metadata']);
      return {
        items: listOf(answer['items']).flatMap((item) => {
          const kept = read(objectOf(item));
          return kept === undefined ? [] : [kept];
        }),
        resourceVersion: needed(metadata['resourceVersion'], 'resourceVersion'),
        next: textOf(metadata['continue']),
      };
    },
    async watch(from, onChange, stop) {
      const parameters = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion: from };
      const call = {
        method: 'GET',
        path: query(parameters),
        attempted: attempted('watch'),
      } as const;
      await calls.watch(
        shape ? { ...call, shape } : call,
        (line) => {
          onChange(readChange(objectOf(line), read, call.attempted));
        },
        stop,
      );
    },
  };
}

function readChange<T>(
  line: Json,
  read: (object: Json) => T | undefined,
  attempted: Parameters<typeof refusalError>[1],
): Change<T> {
  const object = objectOf(line['object']);
  const version = (): string =>
    needed(objectOf(object['metadata'])['resourceVersion'], 'metadata.resourceVersion');
  switch (line['type']) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      const item = read(object);
      const resourceVersion = version();
      if (item === undefined) return { kind: 'bookmark', resourceVersion };
      return { kind: line['type'] === 'DELETED' ? 'gone' : 'present', item, resourceVersion };
    }
    case 'BOOKMARK':
      return { kind: 'bookmark', resourceVersion: version() };
    case 'ERROR':
      // A Status: 410 when what we resume from is forgotten.
      throw refusalError(statusOf(object), attempted);
    default:
      throw new PodsealError(
        'API_UNREACHABLE',
        `Cannot read the watch of ${attempted.what}: it has an event of type ${JSON.stringify(line['type'])}`,
        { hint: 'Is there a proxy between this program and the API server?' },
      );
  }
}

/** A Status in a watch, as if it had come as an answer. */
function statusOf(object: Json): Refusal {
  const { code, details } = object;
  const { retryAfterSeconds } = objectOf(details);
  const retryAfter = typeof retryAfterSeconds === 'number' ? String(retryAfterSeconds) : undefined;
  return {
    status: typeof code === 'number' ? code : 500,
    body: object,
    headers: { 'retry-after': retryAfter },
  };
}
