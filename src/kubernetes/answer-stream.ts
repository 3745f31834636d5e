import { type IncomingMessage } from 'node:http';

/** Takes an answer that goes on apart into what comes one after the other in it. */
export interface Splitter {
  /** Throws an Error when what comes is none of it, or too large. */
  take(chunk: Buffer): void;
  /** Whether something has begun and not ended. */
  readonly isInside: boolean;
}

/**
 * Reads an answer that goes on, as a watch does. Resolves at its end; rejects when it broke off, ended inside
 * a part, and with what the splitter throws. What is read is never part of a message: it may be anybody's page.
 */
export function readStream(incoming: IncomingMessage, splitter: Splitter): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      incoming.removeListener('data', onData);
      incoming.destroy();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    function onData(chunk: Buffer): void {
      try {
        splitter.take(chunk);
      } catch (error) {
        fail(error);
      }
    }
    incoming.on('data', onData);
    incoming.on('error', fail);
    incoming.on('close', () => fail(new Error('the answer broke off')));
    incoming.on('end', () => {
      if (splitter.isInside || !incoming.complete) fail(new Error('the answer broke off'));
      else resolve();
    });
  });
}

const newline = 0x0a;

/** One JSON value a line; a line of more than `maximumBytes` or one that is no JSON is refused. */
export function jsonLines(maximumBytes: number, onValue: (value: unknown) => void): Splitter {
  let begun: Buffer[] = [];
  let begunBytes = 0;
  const add = (part: Buffer): void => {
    begun.push(part);
    begunBytes += part.length;
    if (begunBytes > maximumBytes) throw new Error(`a line is larger than ${maximumBytes} bytes`);
  };
  const line = (): string => {
    const line = Buffer.concat(begun).toString('utf8');
    begun = [];
    begunBytes = 0;
    return line;
  };
  return {
    take(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        add(chunk.subarray(start, end));
        start = end + 1;
        const whole = line();
        if (whole.trim() !== '') onValue(parsed(whole));
      }
      add(chunk.subarray(start));
    },
    get isInside() {
      return begunBytes > 0;
    },
  };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    throw new Error('the answer has a line that is no JSON');
  }
}

/** Frames with their length before them, four bytes (apimachinery/pkg/util/framer); one of more than `maximumBytes` is refused. */
export function frames(maximumBytes: number, onFrame: (frame: Buffer) => void): Splitter {
  let rest: Buffer = Buffer.alloc(0);
  return {
    take(chunk) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (rest.length >= 4) {
        const end = 4 + rest.readUInt32BE(0);
        if (end > maximumBytes) throw new Error(`a frame is larger than ${maximumBytes} bytes`);
        if (rest.length < end) return;
        const frame = rest.subarray(4, end);
        rest = rest.subarray(end);
        onFrame(frame);
      }
    },
    get isInside() {
      return rest.length > 0;
    },
  };
}
