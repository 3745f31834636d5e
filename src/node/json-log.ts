import { type Log, logLevels, type LogLevel } from '../telemetry/log.ts';

/** One JSON line per event on the given stream, from `minimum` on. */
export function jsonLog(write: (line: string) => void, minimum: LogLevel): Log {
  const floor = logLevels.indexOf(minimum);
  return (level, event, message, fields) => {
    if (logLevels.indexOf(level) < floor) return;
    write(
      `${JSON.stringify({ time: new Date().toISOString(), level, event, message, ...fields })}\n`,
    );
  };
}
