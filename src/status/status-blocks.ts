import { inAscii } from '../certificates/denial.ts';
import { mendOf } from './mend.ts';
import { isFine, type PodStatus } from './pod-status.ts';
import { whyOf } from './why.ts';

/** Blocks for people: more than that is for programs. */
const mostBlocks = 20;
const mostLines = 40;
const longestLine = 600;
const mostNames = 3;

/** Under the table: why each pod that is not fine is not, and what to do. Pods with the same trouble share a block. */
export function statusBlocks(statuses: readonly PodStatus[], now: Date): string {
  const troubles = new Map<string, PodStatus[]>();
  for (const status of statuses.filter((each) => !isFine(each))) {
    const text = trouble(status, now);
    troubles.set(text, [...(troubles.get(text) ?? []), status]);
  }
  const all = [...troubles];
  const shown = all.slice(0, mostBlocks).map(([text, of]) => `\n${namesOf(of)}: ${text}`);
  const rest = all.slice(mostBlocks).flatMap(([, of]) => of).length;
  return [...shown, ...(rest > 0 ? [`\nand ${rest} more: -o json tells why\n`] : [])].join('');
}

function trouble(status: PodStatus, now: Date): string {
  const why = whyOf(status, now);
  const more = why.length - mostLines;
  return [
    status.state,
    ...why.slice(0, mostLines).map((line) => `  ${line.slice(0, longestLine)}`),
    ...(more > 0 ? [`  and ${more} more lines`] : []),
    ...mendOf(status).map((step, index) => `  ${index === 0 ? 'mend:' : '     '} ${step}`),
  ]
    .map((line) => `${inAscii(line)}\n`)
    .join('');
}

function namesOf(statuses: readonly PodStatus[]): string {
  const names = statuses.map(({ pod }) => `${pod.namespace}/${pod.name}`);
  const more = names.length - mostNames;
  return more > 1 ? `${names.slice(0, mostNames).join(', ')} and ${more} more` : names.join(', ');
}

/** What could not be looked at. */
export function notesText(notes: readonly string[]): string {
  return notes.map((note) => `note: ${inAscii(note.slice(0, longestLine))}\n`).join('');
}
