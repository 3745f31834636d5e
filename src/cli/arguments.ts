import { PodsealError } from '../errors.ts';

/** What the arguments say. */
export interface Arguments {
  /** Undefined: none is named. */
  readonly command: string | undefined;
  /** What follows the command and is no option. */
  readonly positionals: readonly string[];
  readonly options: Options;
}

export interface Options {
  readonly help?: boolean;
  readonly version?: boolean;
  readonly output?: string;
  /** The file of `approver --explain`. */
  readonly explain?: string;
  readonly namespace?: string;
  readonly 'all-namespaces'?: boolean;
  readonly selector?: string;
}

const known = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
  output: { type: 'string', short: 'o' },
  explain: { type: 'string' },
  namespace: { type: 'string', short: 'n' },
  'all-namespaces': { type: 'boolean', short: 'A' },
  selector: { type: 'string', short: 'l' },
} as const;

/** The commands that take an option; every command takes the others. */
const takers: Readonly<Partial<Record<keyof Options, readonly string[]>>> = {
  output: ['approver', 'inspect', 'names', 'status'],
  explain: ['approver'],
  namespace: ['status'],
  'all-namespaces': ['status'],
  selector: ['status'],
};

/** How many positionals commands take; the others none. */
const mostPositionals: Readonly<Record<string, number>> = {
  help: 1,
  inspect: 1,
  status: Infinity,
};

/** Throws USAGE when they cannot be read. */
export async function readArguments(args: readonly string[]): Promise<Arguments> {
  const { values, positionals } = await parsed(args);
  const [command, ...rest] = positionals;
  return { command, positionals: rest, options: values };
}

/** Throws USAGE for what does not belong to the command. */
export function refuseForeign(command: string, { positionals, options }: Arguments): void {
  const limit = mostPositionals[command] ?? 0;
  if (positionals.length > limit)
    throw usageError(
      `Cannot run ${command}: unexpected argument ${JSON.stringify(positionals[limit])}`,
    );
  for (const name of Object.keys(options) as (keyof Options)[])
    if (takers[name]?.includes(command) === false)
      throw usageError(
        `Cannot run ${command} with --${name}: it belongs to ${takers[name].join(', ')}`,
      );
  refuseUnknownForm(command, options.output);
}

function refuseUnknownForm(command: string, form: string | undefined): void {
  const forms = command === 'status' ? ['json', 'wide'] : ['json'];
  if (form !== undefined && !forms.includes(form))
    throw usageError(
      `Cannot print as ${JSON.stringify(form)}: other forms of ${command} are ${forms.join(', ')}`,
    );
}

export function usageError(message: string): PodsealError {
  return new PodsealError('USAGE', message, { hint: 'podseal --help shows the commands.' });
}

async function parsed(
  args: readonly string[],
): Promise<{ readonly values: Options; readonly positionals: readonly string[] }> {
  // What containers say, without options: the parser alone would be a tenth of init's start.
  if (!args.some((arg) => arg.startsWith('-'))) return { values: {}, positionals: args };
  const { parseArgs } = await import('node:util');
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options: known });
  } catch (error) {
    throw usageError(
      `Cannot read the arguments: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
