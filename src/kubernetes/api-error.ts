import { PodsealError, type ErrorCode } from '../errors.ts';

/** What was tried, for the message. */
export interface Attempted {
  /** As RBAC writes it: `create`, `get`. */
  readonly verb: string;
  /** As RBAC writes it: `certificatesigningrequests`. */
  readonly resource: string;
  /** As people say it: `signing request "podseal-…"`. */
  readonly what: string;
  /** Who should be allowed to, and by which file. */
  readonly rbac: string;
}

/** An answer of the API server that is no success. */
export interface Refusal {
  readonly status: number;
  /** As it came: it may be a proxy's page. */
  readonly body: unknown;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** No answer at all: network, TLS, time limit. */
export function unreachable(serverUrl: string, cause: unknown): PodsealError {
  if (cause instanceof PodsealError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const isTls = typeof code === 'string' && /CERT|SIGNATURE|ERR_TLS|ERR_SSL/.test(code);
  return new PodsealError(
    'API_UNREACHABLE',
    `Cannot reach the API server ${JSON.stringify(serverUrl)}: ${code ?? message}`,
    {
      hint: isTls
        ? 'The ca.crt beside the service account token does not verify the API server; is it the right cluster, and is the file current?'
        : 'It is tried again. Do DNS, routes and network policies of the pod allow the API server?',
      cause,
    },
  );
}

/** The refusal as an error of ours: status and reason, never headers or the body as it came. */
export function refusalError(refusal: Refusal, attempted: Attempted): PodsealError {
  const { verb, resource, what, rbac } = attempted;
  const { status } = refusal;
  const message = `Cannot ${verb} ${what}: the API server answered ${status}${reasonOf(refusal.body)}`;
  const fail = (code: ErrorCode, hint: string): PodsealError => {
    const retryAfterMs = retryAfter(refusal.headers);
    return new PodsealError(code, message, {
      hint,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  };
  switch (status) {
    case 401:
      return fail(
        'API_FORBIDDEN',
        'The token is not accepted: was the pod or its service account deleted, or is the token of another cluster or audience?',
      );
    case 403:
      return fail('API_FORBIDDEN', `The service account may not ${verb} ${resource}: ${rbac}`);
    case 404:
      return fail('API_NOT_FOUND', 'It was deleted, or the API server does not serve its kind.');
    case 409:
      return fail('API_CONFLICT', 'Somebody wrote first; it is read again.');
    case 410:
      return fail(
        'API_EXPIRED',
        'The API server has forgotten so old a state; everything is listed anew.',
      );
    case 408:
    case 429:
      return fail('API_UNREACHABLE', 'The API server is busy; it is asked again as it says.');
    default:
      // etcd's own limit, which the API server reports as a fault of its own.
      return status >= 500 && !reasonOf(refusal.body).includes('request is too large')
        ? fail('API_UNREACHABLE', 'The API server has a problem of its own; it is asked again.')
        : fail(
            'API_REFUSED',
            'The API server does not accept the request as it is; compare the settings with its answer.',
          );
  }
}

/** `(Reason: message)` of a Status answer; nothing for a body of another kind, which a proxy may have made. */
function reasonOf(body: unknown): string {
  const status = typeof body === 'string' ? parsed(body) : body;
  if (typeof status !== 'object' || status === null) return '';
  const { reason, message } = status as { reason?: unknown; message?: unknown };
  if (typeof reason !== 'string') return '';
  return typeof message === 'string' ? ` (${reason}: ${message.slice(0, 500)})` : ` (${reason})`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Seconds or an HTTP date (RFC 9110 10.2.3); only seconds are used by Kubernetes. */
function retryAfter(headers: Refusal['headers']): number | undefined {
  const seconds = Number(headers['retry-after']);
  // A wrong or hostile value must not put us to sleep for a day.
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 120) * 1000 : undefined;
}
