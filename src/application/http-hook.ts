import { type Attempted, type Hook } from './hook.ts';

export const callMethods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** `POST http://127.0.0.1:9090/-/reload`. */
export interface HttpCall {
  readonly method: (typeof callMethods)[number];
  /** Plain HTTP to a loopback address. */
  readonly url: string;
}

/**
 * Makes the call without a body and follows no redirection; resolves with the status once the answer
 * has ended. Rejects with the system's error (`code`), or when `timeoutMs` is over or `stop` aborted.
 */
export type CallLoopback = (
  call: HttpCall,
  limits: { readonly timeoutMs: number; readonly stop: AbortSignal },
) => Promise<number>;

/** Makes the call; an answer of 2xx means that the application has reloaded. */
export function httpHook(call: HttpCall, timeoutMs: number, callLoopback: CallLoopback): Hook {
  return {
    name: 'http',
    async attempt(overtaken) {
      try {
        return judged(call, await callLoopback(call, { timeoutMs, stop: overtaken }));
      } catch (error) {
        return unanswered(call, error as NodeJS.ErrnoException);
      }
    },
  };
}

/** Without the query, which may hold what is not for logs. */
function shown({ method, url }: HttpCall): string {
  return `${method} ${url.replace(/\?.*$/, '')}`;
}

function judged(call: HttpCall, status: number): Attempted {
  if (status >= 200 && status < 300)
    return { kind: 'done', what: `${shown(call)} answered ${status}` };
  return {
    kind: 'failed',
    why: `Cannot have the application reload by ${shown(call)}: it answered ${status}`,
    hint: "Its own log may say why. PODSEAL_HOOK_HTTP needs method and path of the application's reload call.",
  };
}

function unanswered(call: HttpCall, { code, message }: NodeJS.ErrnoException): Attempted {
  const isAbsent = code === 'ECONNREFUSED';
  return {
    kind: isAbsent ? 'absent' : 'failed',
    why: `Cannot have the application reload by ${shown(call)}: ${isAbsent ? 'nobody listens there' : (code ?? message)}`,
    hint: 'Does it listen on the address of PODSEAL_HOOK_HTTP, inside the pod?',
  };
}
