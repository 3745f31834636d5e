import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';

/** What the viewer sees: lines that stay, and on a terminal one living line below them. */
export interface Screen {
  title(text: string): void;
  line(text: string): void;
  good(text: string): void;
  bad(text: string): void;
  detail(text: string): void;
  /** Replaces the living line; nothing where output is not a terminal. */
  living(text: string): void;
  /** Gives a viewer time to read; nobody waits where there is none. */
  pause(): Promise<void>;
}

type Style = Parameters<typeof styleText>[0];

/** Coloured on a terminal that wants it (NO_COLOR is honoured), plain lines otherwise. */
export function terminalScreen(stream: NodeJS.WriteStream): Screen {
  const isTerminal = stream.isTTY;
  const styled = (style: Style, text: string): string => styleText(style, text, { stream });
  let living = '';
  const write = (text: string): void => {
    if (isTerminal && living !== '') stream.write('\r\x1b[2K');
    stream.write(`${text}\n`);
    if (isTerminal && living !== '') stream.write(living);
  };
  return {
    title: (text) => write(`\n${styled('bold', text)}`),
    line: (text) => write(`  ${text}`),
    good: (text) => write(`  ${styled('green', '✔')} ${text}`),
    bad: (text) => write(`  ${styled('red', '✘')} ${text}`),
    detail: (text) => write(styled('dim', text.replace(/^/gm, '    '))),
    living(text) {
      if (!isTerminal) return;
      living =
        text === '' ? '' : `  ${styled('cyan', text.slice(0, Math.max(20, stream.columns - 4)))}`;
      stream.write(`\r\x1b[2K${living}`);
    },
    pause: () => sleep(isTerminal ? 1_000 : 0),
  };
}
