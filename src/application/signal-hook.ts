import { type Attempted, type Hook } from './hook.ts';

/**
 * Signals that make applications reload, with their Linux numbers (signal(7)). A process without a handler
 * ends on them: `isMeantToEnd` says where that is what is asked for.
 */
const signals = {
  HUP: { number: 1, isMeantToEnd: false },
  INT: { number: 2, isMeantToEnd: true },
  QUIT: { number: 3, isMeantToEnd: true },
  USR1: { number: 10, isMeantToEnd: false },
  USR2: { number: 12, isMeantToEnd: false },
  TERM: { number: 15, isMeantToEnd: true },
  WINCH: { number: 28, isMeantToEnd: false },
} as const;

export type SignalName = keyof typeof signals;
export const signalNames = Object.keys(signals) as readonly SignalName[];

/** `nginx:HUP`. */
export interface SignalTarget {
  readonly processName: string;
  readonly signal: SignalName;
}

/** A process as the kernel describes it. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** At most 15 bytes (TASK_COMM_LEN). */
  readonly comm: string;
  /** The first word of its command line; some programs write a title there. */
  readonly command: string;
  readonly isZombie: boolean;
  /** Its real user id. */
  readonly user: number;
  /** The signals that it has handlers for: bit n-1 stands for signal n. */
  readonly handled: bigint;
}

/** The processes that can be seen: with a shared process namespace those of all containers of the pod. */
export interface Processes {
  readonly own: { readonly pid: number; readonly user: number };
  list(): readonly Process[];
  /** Throws the system's error with its `code`. */
  send(pid: number, signal: SignalName): void;
}

/**
 * The processes of that name that reload the others: those whose parent is none of them. The workers of
 * nginx, say, are left to their master. Never the agent itself, never the first process of a namespace.
 */
export function receivers(
  processes: readonly Process[],
  name: string,
  ownPid: number,
): readonly Process[] {
  const called = processes.filter((each) => !each.isZombie && isCalled(name, each));
  const pids = new Set(called.map(({ pid }) => pid));
  return called.filter(({ pid, parent }) => pid !== 1 && pid !== ownPid && !pids.has(parent));
}

function isCalled(name: string, { comm, command }: Process): boolean {
  const base = command.slice(command.lastIndexOf('/') + 1);
  if (base === name) return true;
  const kept = Buffer.from(name).subarray(0, 15).toString();
  // Of a longer name the kernel keeps what another program may begin with too.
  return comm === kept && (kept === name || !base.startsWith(kept));
}

/** Sends the signal to all receivers, or to none while one of them would only end on it. */
export function signalHook(target: SignalTarget, processes: Processes): Hook {
  return {
    name: 'signal',
    attempt: () => Promise.resolve().then(() => sendToAll(target, processes)),
  };
}

function sendToAll(target: SignalTarget, processes: Processes): Attempted {
  const { own } = processes;
  const found = receivers(processes.list(), target.processName, own.pid);
  if (found.length === 0) return nobody(target, own.pid);
  const deaf = found.find((each) => !copesWith(each, target.signal));
  if (deaf) return unhandled(target, deaf);
  const told: number[] = [];
  for (const each of found) {
    const sent = send(target, each, processes);
    if (typeof sent !== 'string') return sent;
    if (sent === 'sent') told.push(each.pid);
  }
  if (told.length === 0) return nobody(target, own.pid);
  const which = told.length === 1 ? 'process' : 'processes';
  return { kind: 'done', what: `sent SIG${target.signal} to ${which} ${told.join(', ')}` };
}

function copesWith({ handled }: Process, signal: SignalName): boolean {
  const { number, isMeantToEnd } = signals[signal];
  return isMeantToEnd || ((handled >> BigInt(number - 1)) & 1n) === 1n;
}

function nobody({ processName }: SignalTarget, ownPid: number): Attempted {
  const why = `Cannot find a process ${JSON.stringify(processName)}`;
  // In a shared process namespace the first process is the pod's own.
  if (ownPid === 1)
    return {
      kind: 'failed',
      why: `${why}: the agent sees no process but its own`,
      hint: 'Set shareProcessNamespace: true in the spec of the pod.',
    };
  return {
    kind: 'absent',
    why,
    hint: 'PODSEAL_HOOK_SIGNAL takes the name that "ps -e" prints, or that of the file that was started. Is shareProcessNamespace: true in the spec of the pod?',
  };
}

function unhandled({ signal }: SignalTarget, { pid, comm }: Process): Attempted {
  return {
    kind: 'failed',
    why: `Cannot send SIG${signal} to process ${JSON.stringify(comm)} (${pid}): it has no handler for it and would end, or not notice`,
    hint: 'It may be starting still. If it stays so, it does not reload on this signal: name another in PODSEAL_HOOK_SIGNAL, or use PODSEAL_HOOK_HTTP.',
  };
}

function send(
  { signal }: SignalTarget,
  { pid, comm, user }: Process,
  processes: Processes,
): 'sent' | 'gone' | Attempted {
  try {
    processes.send(pid, signal);
    return 'sent';
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return 'gone';
    const why = `Cannot send SIG${signal} to process ${JSON.stringify(comm)} (${pid})`;
    if (code !== 'EPERM')
      return { kind: 'failed', why: `${why}: ${code ?? message}`, hint: 'It is tried again.' };
    const own = processes.own.user;
    return {
      kind: 'failed',
      why: `${why}: it runs as user ${user}, and the agent as user ${own}, who may not`,
      hint: `Set runAsUser: ${user} in the securityContext of the agent's container, or use PODSEAL_HOOK_HTTP.`,
    };
  }
}
