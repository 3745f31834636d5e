import { PodsealError } from '../errors.ts';

/**
 * Reading the API server's JSON: what is missing or of another type reads as undefined or empty, so that
 * a newer API never breaks us; what nothing works without is asked for with `needed`.
 */
export type Json = Readonly<Record<string, unknown>>;

export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function textsOf(value: unknown): readonly string[] {
  return listOf(value).filter((each): each is string => typeof each === 'string');
}

/** What JSON has in base64, and protobuf as it is. At most `maximumBytes` of it, when they are said. */
export function bytesOf(value: unknown, maximumBytes = Infinity): Buffer | undefined {
  if (Buffer.isBuffer(value)) return value.length > 0 ? value.subarray(0, maximumBytes) : undefined;
  // Four characters of base64 are three bytes.
  const base64 = textOf(value)?.slice(0, Math.ceil(maximumBytes / 3) * 4);
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64');
}

/** Labels, selectors: text by text. */
export function textMapOf(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(objectOf(value));
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

export function timeOf(value: unknown): Date {
  const time = new Date(textOf(value) ?? 0);
  return Number.isNaN(time.getTime()) ? new Date(0) : time;
}

/** Throws API_UNREACHABLE, as for any answer that is not the API server's. */
export function needed(value: unknown, what: string): string {
  const text = textOf(value);
  if (text !== undefined) return text;
  throw new PodsealError(
    'API_UNREACHABLE',
    `Cannot read the answer of the API server: it has no ${what}`,
    { hint: 'Is there a proxy between this program and the API server?' },
  );
}
