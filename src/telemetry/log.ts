export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Values of a log line: never a key, a token or a PEM block. */
export type LogFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

/** One line per event. `event` is a stable dotted name for programs, `message` is for people. */
export type Log = (level: LogLevel, event: string, message: string, fields?: LogFields) => void;
