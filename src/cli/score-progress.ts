// The progress bar of `treeline score`: one line on standard error that is written over, by bytes read, and only where a
// person looks at it.

import type { WriteStream } from 'node:tty';

const REDRAW_MS = 100;
const BAR_WIDTH = 30;

export interface Progress {
  add(bytes: number): void;
  /** Takes the line away. */
  end(): void;
}

export function createProgress(
  terminal: Pick<WriteStream, 'isTTY' | 'write'>,
  { bytesTotal, now }: { bytesTotal: number; now: () => number },
): Progress {
  if (terminal.isTTY !== true) return { add() {}, end() {} };
  const begin = now();
  let done = 0;
  let drawn = begin;
  return {
    add(bytes) {
      done += bytes;
      const at = now();
      if (at - drawn < REDRAW_MS) return;
      drawn = at;
      terminal.write(`\r${lineOf(done, bytesTotal, at - begin)}\u001b[K`);
    },
    end() {
      if (drawn !== begin) terminal.write('\r\u001b[K');
    },
  };
}

export function lineOf(done: number, total: number, elapsedMs: number): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const filled = Math.round(share * BAR_WIDTH);
  const bar = '#'.repeat(filled) + '-'.repeat(BAR_WIDTH - filled);
  const leftS = share > 0 ? Math.ceil((elapsedMs * (1 / share - 1)) / 1000) : 0;
  const left = leftS < 60 ? `${leftS} s` : `${Math.ceil(leftS / 60)} min`;
  return `[${bar}] ${Math.floor(100 * share)} %, ${(done / 1e6).toFixed(0)} MB read, ${left} left`;
}
