import { type Log, logLevels, type LogLevel } from '../telemetry/log.ts';

/** Names come from others: what is no printable ASCII is escaped, so that no terminal obeys or misreads it. */
function inAscii(line: string): string {
  return line.replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** One JSON line per event on the given stream, from `minimum` on. */
export function jsonLog(write: (line: string) => void, minimum: LogLevel): Log {
  const floor = logLevels.indexOf(minimum);
  return (level, event, message, fields) => {
    if (logLevels.indexOf(level) < floor) return;
    const line = JSON.stringify({
      time: new Date().toISOString(),
      level,
      event,
      message,
      ...fields,
    });
    write(`${inAscii(line)}\n`);
  };
}
