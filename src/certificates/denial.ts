/**
 * Why a request was refused, as text that people read and programs can take apart: the message of its
 * Denied or Failed condition.
 */
export interface Denial {
  readonly reasons: readonly Reason[];
  /** What would be allowed, by rule. */
  readonly allowed: Readonly<Record<string, readonly string[]>>;
  /** Offending values beyond those listed. */
  readonly more: number;
}

export interface Reason {
  /** Of the rule, as docs/approval.md lists it. */
  readonly rule: string;
  /** What offends; undefined where no single value does. */
  readonly value: string | undefined;
  readonly why: string;
}

const maximumReasons = 20;
/** Of one value; a certificate's name has 253 characters at most, what is longer is shown in part. */
const maximumValue = 300;

/**
 * One line for each reason, `- RULE "VALUE": WHY`, and one for each rule that allows something,
 * `allowed RULE: "VALUE", "VALUE"`. Values are JSON strings; no other text has a line break.
 */
export function formatDenial(denial: Denial): string {
  const shown = denial.reasons.slice(0, maximumReasons);
  const more = denial.more + denial.reasons.length - shown.length;
  const rules = [...new Set(shown.map(({ rule }) => rule))];
  return [
    ...shown.map(({ rule, value, why }) => `- ${rule}${quoted(value)}: ${plain(why)}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
    ...rules.flatMap((rule) => allowedLine(rule, valuesOf(rule, denial.allowed))),
  ].join('\n');
}

/** Whatever a rule is called: `constructor`, say. */
function valuesOf(rule: string, allowed: Denial['allowed']): readonly string[] {
  return Object.hasOwn(allowed, rule) ? (allowed[rule] ?? []) : [];
}

function quoted(value: string | undefined): string {
  return value === undefined ? '' : ` ${asciiJson(shortened(value, maximumValue))}`;
}

/** A reason may quote a part of what was asked. */
function plain(why: string): string {
  return inAscii(shortened(why, 2 * maximumValue));
}

function shortened(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit)}...` : text;
}

function asciiJson(text: string): string {
  return inAscii(JSON.stringify(text));
}

/** With every character outside printable ASCII escaped as in JSON: names that only look alike cannot hide. */
export function inAscii(text: string): string {
  return text.replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function allowedLine(rule: string, values: readonly string[]): string[] {
  if (values.length === 0) return [];
  const shown = values.slice(0, maximumReasons).map(asciiJson).join(', ');
  const more = values.length > maximumReasons ? `, and ${values.length - maximumReasons} more` : '';
  return [`allowed ${rule}: ${shown}${more}`];
}

/** Takes such a message apart again; undefined when it is none of ours (a person wrote it, say). */
export function parseDenial(message: string): Denial | undefined {
  const reasons: Reason[] = [];
  const allowed = new Map<string, readonly string[]>();
  let more = 0;
  for (const line of message.split('\n')) {
    const part = parseLine(line);
    if (!part) return undefined;
    if ('more' in part) more = part.more;
    else if ('values' in part) allowed.set(part.rule, part.values);
    else reasons.push(part);
  }
  return reasons.length > 0 ? { reasons, allowed: Object.fromEntries(allowed), more } : undefined;
}

type Line =
  | Reason
  | { readonly more: number }
  | { readonly rule: string; readonly values: readonly string[] };

const jsonText = /"(?:[^"\\]|\\.)*"/g;

function parseLine(line: string): Line | undefined {
  const [, count] = /^- and (\d+) more$/.exec(line) ?? [];
  if (count !== undefined) return { more: Number(count) };
  const [, of, values] = /^allowed ([a-z0-9-]+): (".*)$/.exec(line) ?? [];
  try {
    if (of !== undefined && values !== undefined)
      return { rule: of, values: (values.match(jsonText) ?? []).map(textOf) };
    const [, rule, value, why] = /^- ([a-z0-9-]+)(?: ("(?:[^"\\]|\\.)*"))?: (.*)$/.exec(line) ?? [];
    if (rule === undefined || why === undefined) return undefined;
    return { rule, value: value === undefined ? undefined : textOf(value), why };
  } catch {
    // A backslash of somebody else's.
    return undefined;
  }
}

function textOf(json: string): string {
  return JSON.parse(json) as string;
}
