import env from 'env-var';
import { agentSettings, type SettingName } from './settings.ts';

/**
 * Reads settings and collects what is wrong with them, so that a person sees every problem at once.
 * After a problem a setting reads as its fallback; `problems` decides whether the values may be used.
 */
export interface SettingsReader {
  readonly problems: string[];
  /** Undefined when the variable is not set; an empty value counts as not set unless `keepEmpty`. */
  text(name: string, options?: { readonly keepEmpty: boolean }): string | undefined;
  /** The value or fallback, through `parse`; `parse` throws an Error whose message says what is expected. */
  read<T>(name: SettingName, parse: (text: string) => T): T;
  /** A comma-separated list without blanks and empty members; undefined when not set. */
  list(name: SettingName): readonly string[] | undefined;
  oneOf<T extends string>(name: SettingName, allowed: readonly T[]): T;
  /** Members of `allowed`, in its order. */
  someOf<T extends string>(name: SettingName, allowed: readonly T[]): readonly T[];
  flag(name: SettingName): boolean;
}

export function settingsReader(environment: NodeJS.ProcessEnv): SettingsReader {
  const problems: string[] = [];
  const given = env.from(environment);
  const text: SettingsReader['text'] = (name, options) => {
    const value = given.get(name).asString()?.trim();
    return value === '' && !options?.keepEmpty ? undefined : value;
  };
  const fallbackOf = (name: SettingName): string => agentSettings[name];
  const settled = <T>(name: SettingName, read: (source: typeof given) => T): T => {
    try {
      return read(text(name) === undefined ? env.from({ [name]: fallbackOf(name) }) : given);
    } catch (error) {
      const why = error instanceof Error ? error.message.replace(/^env-var: /, '') : String(error);
      problems.push(
        why.startsWith(`"${name}"`) ? why.replaceAll('"', '').replace(name, `${name}:`) : why,
      );
      return read(env.from({ [name]: fallbackOf(name) }));
    }
  };
  return {
    problems,
    text,
    read: (name, parse) =>
      settled(name, (source) => {
        const value = source.get(name).required().asString().trim();
        try {
          return parse(value);
        } catch (error) {
          throw new Error(
            `${name}: ${JSON.stringify(value)} ${error instanceof Error ? error.message : String(error)}`,
            { cause: error },
          );
        }
      }),
    list(name) {
      if (text(name, { keepEmpty: true }) === undefined) return undefined;
      const members = given.get(name).default('').asArray();
      return members.map((member) => member.trim()).filter((member) => member !== '');
    },
    oneOf(name, allowed) {
      const value = text(name);
      const found = allowed.find((each) => each.toLowerCase() === value?.toLowerCase());
      if (found !== undefined) return found;
      return settled(name, (source) =>
        source
          .get(name)
          .required()
          .asEnum([...allowed]),
      );
    },
    someOf(name, allowed) {
      const asked = this.list(name) ?? [];
      for (const member of asked)
        if (!allowed.includes(member as (typeof allowed)[number]))
          problems.push(`${name}: ${JSON.stringify(member)} is none of ${allowed.join(', ')}`);
      return allowed.filter((each) => asked.includes(each));
    },
    flag: (name) => settled(name, (source) => source.get(name).required().asBoolStrict()),
  };
}
