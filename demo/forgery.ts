import { type SubjectNames } from '../src/identity/subject-names.ts';
import {
  conditionOf,
  readRequest,
  requestFor,
  sendRequest,
  type StoredRequest,
} from '../test/support/asking.ts';
import { requester } from '../test/support/requester.ts';
import { until } from '../test/support/until.ts';
import { type DemoApi, type DemoPod } from './api.ts';

/** What became of a request that nobody should get a certificate for. */
export interface Denied {
  readonly name: string;
  /** The lines of its condition. */
  readonly reasons: readonly string[];
}

/** A pod asks, with a key and a token of its own, for names that are not its own. Throws when it gets them. */
export async function forge(
  api: DemoApi,
  pod: DemoPod,
  signerName: string,
  names: Partial<SubjectNames>,
): Promise<Denied> {
  const asking = requester(api.serverUrl, api.caPem, '');
  try {
    const request = requestFor(names);
    const name = await sendRequest(
      asking,
      { token: pod.token },
      { signerName },
      { request, name: `podseal-${pod.uid}-forged` },
    );
    const decided = await until('a verdict on the forged request', async () => {
      const found = await readRequest(api.client, name);
      return found?.status.conditions?.length ? found : undefined;
    });
    return { name, reasons: denialOf(decided).split('\n') };
  } finally {
    asking.close();
  }
}

function denialOf(request: StoredRequest): string {
  const message = conditionOf(request, 'Denied');
  if (message === undefined || request.status.certificate !== undefined)
    throw new Error(`The forged request ${request.metadata.name} was not denied`);
  return message;
}
