import { readdirSync, readFileSync } from 'node:fs';
import { type Process, type Processes } from '../application/signal-hook.ts';

/** The processes of this process namespace, as /proc describes them (proc_pid_status(5)). */
export function systemProcesses(): Processes {
  return {
    own: { pid: process.pid, user: process.geteuid?.() ?? -1 },
    list: () =>
      readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .flatMap((name) => processOf(Number(name)) ?? []),
    send: (pid, signal) => {
      process.kill(pid, `SIG${signal}`);
    },
  };
}

/** Undefined when it ended meanwhile. */
function processOf(pid: number): Process | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const field = (name: string): string =>
      new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1] ?? '';
    const [command = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return {
      pid,
      parent: Number(field('PPid')),
      comm: Buffer.from(field('Name'), 'latin1').toString('utf8'),
      command,
      isZombie: /^[ZX]/.test(field('State')),
      user: parseInt(field('Uid'), 10),
      handled: BigInt(`0x${field('SigCgt')}`),
    };
  } catch {
    return undefined;
  }
}
