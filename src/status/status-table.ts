import { inAscii } from '../certificates/denial.ts';
import { formatDuration } from '../runtime/duration.ts';
import { newestError } from './newest-error.ts';
import { type PodStatus, reportOf } from './pod-status.ts';
import { age } from './why.ts';

export interface TableOptions {
  /** Several namespaces are shown: each row names its own. */
  readonly withNamespace: boolean;
  /** Also what only some want to know. */
  readonly isWide: boolean;
}

interface Column {
  readonly title: string;
  readonly cell: (status: PodStatus, now: Date) => string;
  readonly when?: keyof TableOptions;
}

const columns: readonly Column[] = [
  { title: 'NAMESPACE', cell: ({ pod }) => pod.namespace, when: 'withNamespace' },
  { title: 'NAME', cell: ({ pod }) => pod.name },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'LEFT', cell: timeLeft },
  { title: 'NAMES', cell: (status) => namesInShort(reportOf(status)?.certificate?.names) },
  { title: 'LAST ERROR', cell: lastError },
  {
    title: 'ISSUER',
    cell: (status) => reportOf(status)?.certificate?.issuer ?? '',
    when: 'isWide',
  },
  {
    title: 'SERIAL',
    cell: (status) => reportOf(status)?.certificate?.serial ?? '',
    when: 'isWide',
  },
  { title: 'RENEWAL', cell: renewal, when: 'isWide' },
  { title: 'APPLICATION', cell: (status) => reportOf(status)?.application ?? '', when: 'isWide' },
  { title: 'VERSION', cell: (status) => reportOf(status)?.version ?? '', when: 'isWide' },
];

/** One row for each pod, as kubectl prints tables; `-` for what is not known. */
export function statusTable(
  statuses: readonly PodStatus[],
  options: TableOptions,
  now: Date,
): string {
  const shown = columns.filter(({ when }) => when === undefined || options[when]);
  const rows = [
    shown.map(({ title }) => title),
    ...statuses.map((status) =>
      shown.map(({ cell }) => inAscii(cell(status, now).slice(0, longestCell)) || '-'),
    ),
  ];
  const widths = shown.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('   '))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

/** A pod's name has 253 characters at most. */
const longestCell = 253;

function timeLeft(status: PodStatus, now: Date): string {
  const certificate = reportOf(status)?.certificate;
  if (!certificate) return '';
  const ms = certificate.notAfter.getTime() - now.getTime();
  return ms > 0 ? formatDuration(ms).replace(' ', '') : '0s';
}

function namesInShort(names: readonly string[] = []): string {
  const [first = '', ...more] = names;
  return more.length > 0 ? `${first} +${more.length}` : first;
}

function renewal(status: PodStatus, now: Date): string {
  const at = reportOf(status)?.certificate?.renewalAt;
  if (!at) return '';
  return at > now ? `in ${age(now, at)}` : `due for ${age(at, now)}`;
}

function lastError(status: PodStatus, now: Date): string {
  const { code, at } = newestError(status) ?? {};
  if (code === undefined) return '';
  return at === undefined ? code : `${code} (${age(at, now)} ago)`;
}
