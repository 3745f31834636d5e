import env from 'env-var';

/**
 * Reads settings and collects what is wrong with them, so that a person sees every problem at once.
 * After a problem a setting reads as its fallback; `problems` decides whether the values may be used.
 */
export interface SettingsReader<Name extends string = string> {
  readonly problems: string[];
  /** The value without blanks around it; undefined when the variable is not set or empty. */
  text(name: string): string | undefined;
  /** The value or fallback, through `parse`; `parse` throws an Error whose message says what is expected. */
  read<T>(name: Name, parse: (text: string) => T): T;
  /** A comma-separated list without blanks and empty members; undefined when not set. */
  list(name: Name): readonly string[] | undefined;
  /** One of the allowed words, in whatever case. */
  oneOf<T extends string>(name: Name, allowed: readonly T[]): T;
  /** Members of `allowed`, in its order. */
  someOf<T extends string>(name: Name, allowed: readonly T[]): readonly T[];
  flag(name: Name): boolean;
}

/** `defaults` is the table of the settings that the command knows. */
export function settingsReader<Name extends string>(
  environment: NodeJS.ProcessEnv,
  defaults: Readonly<Record<Name, string>>,
): SettingsReader<Name> {
  const problems: string[] = [];
  const text = (name: string): string | undefined => {
    const value = environment[name]?.trim();
    return value === '' ? undefined : value;
  };
  const read = <T>(name: Name, parse: (value: string) => T): T => {
    const fallback = defaults[name];
    const value = text(name);
    if (value === undefined) return parse(fallback);
    try {
      return parse(value);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      problems.push(`${name}: ${JSON.stringify(withoutUser(value))} ${why}`);
      return parse(fallback);
    }
  };
  // One variable at a time: each call of env-var builds all of its twenty-odd accessors.
  const variable = (value: string) => env.from({ value }).get('value').required();
  const list = (name: Name): readonly string[] | undefined => {
    if (environment[name] === undefined) return undefined;
    if (text(name) === undefined) return [];
    const members = variable(environment[name]).asArray();
    return members.map((member) => member.trim()).filter((member) => member !== '');
  };
  return {
    problems,
    text,
    read,
    list,
    oneOf: (name, allowed) =>
      read(name, (value) => {
        const same = allowed.find((each) => each.toLowerCase() === value.toLowerCase());
        return (
          same ??
          worded(() => variable(value).asEnum([...allowed]), `is none of ${allowed.join(', ')}`)
        );
      }),
    someOf(name, allowed) {
      const asked = list(name) ?? [];
      for (const member of asked)
        if (!allowed.includes(member as (typeof allowed)[number]))
          problems.push(`${name}: ${JSON.stringify(member)} is none of ${allowed.join(', ')}`);
      return allowed.filter((each) => asked.includes(each));
    },
    flag: (name) =>
      read(name, (value) =>
        worded(() => variable(value).asBoolStrict(), 'is neither true nor false'),
      ),
  };
}

/** Whoever puts a password into a URL does not want to find it in a log. */
function withoutUser(text: string): string {
  return text.replace(/:\/\/[^/\s]*@/, '://...@');
}

/** env-var's finding in our own words: its text names a variable that is not the reader's. */
function worded<T>(parse: () => T, why: string): T {
  try {
    return parse();
  } catch (cause) {
    throw new Error(why, { cause });
  }
}
