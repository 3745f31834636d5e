import { type IncomingMessage } from 'node:http';

const newline = 0x0a;

/**
 * Reads an answer that goes on, one JSON value a line, as a watch does. Resolves at its end; rejects when
 * it broke off, ended inside a line, has a line of more than `maximumBytes` or one that is no JSON, and with
 * what `onValue` throws. What is read is never part of a message: it may be anybody's page.
 */
export function readJsonLines(
  incoming: IncomingMessage,
  maximumBytes: number,
  onValue: (value: unknown) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let begun: Buffer[] = [];
    let begunBytes = 0;
    const add = (part: Buffer): void => {
      begun.push(part);
      begunBytes += part.length;
      if (begunBytes > maximumBytes) throw new Error(`a line is larger than ${maximumBytes} bytes`);
    };
    const take = (): string => {
      const line = Buffer.concat(begun).toString('utf8');
      begun = [];
      begunBytes = 0;
      return line;
    };
    const read = (chunk: Buffer): void => {
      let start = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        add(chunk.subarray(start, end));
        start = end + 1;
        const line = take();
        if (line.trim() !== '') onValue(parsed(line));
      }
      add(chunk.subarray(start));
    };
    const fail = (error: unknown): void => {
      incoming.removeListener('data', onData);
      incoming.destroy();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    function onData(chunk: Buffer): void {
      try {
        read(chunk);
      } catch (error) {
        fail(error);
      }
    }
    incoming.on('data', onData);
    incoming.on('error', fail);
    incoming.on('close', () => fail(new Error('the answer broke off')));
    incoming.on('end', () => {
      if (begunBytes > 0 || !incoming.complete) fail(new Error('the answer broke off'));
      else resolve();
    });
  });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    throw new Error('the answer has a line that is no JSON');
  }
}
